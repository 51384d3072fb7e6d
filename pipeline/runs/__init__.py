"""Reads what runs wrote: ML Metadata, run records, and their output folders."""
