"""The command line ``arxiv-pipeline``, also ``python -m pipeline``."""
