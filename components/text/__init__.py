"""Text operations that training and serving share."""
