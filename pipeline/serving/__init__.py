"""Serving with TF Serving: its files, and the commands that start it and assign its labels."""
