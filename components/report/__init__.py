"""The run report: one HTML page about a run and its results."""
