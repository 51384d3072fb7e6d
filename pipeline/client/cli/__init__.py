"""The command line ``arxiv-classify``; imports little, so that it starts fast."""
