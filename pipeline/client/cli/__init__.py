"""The command line ``arxiv-classify``; imports nothing, so that Ctrl-C is quiet at once."""
