"""The model card: what to know about a model before using it."""
