"""Metrics in NumPy: one definition of each, for every node and benchmark."""
