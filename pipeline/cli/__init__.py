"""The command ``arxiv-pipeline``, which ``python -m pipeline`` is too."""
