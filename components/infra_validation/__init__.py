"""Validates that the exported model can be served, before it may be pushed."""
