"""What people should know of a model before they use it."""
