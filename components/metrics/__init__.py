"""Metrics in NumPy, shared by all nodes and benchmarks."""
