"""Text operations shared by training and serving."""
