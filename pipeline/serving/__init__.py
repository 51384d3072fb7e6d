"""TF Serving: its deployment files, starting it, and assigning version labels."""
