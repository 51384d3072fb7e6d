"""The command line ``arxiv-classify``; imports nothing, for the sake of a quiet Ctrl-C."""
