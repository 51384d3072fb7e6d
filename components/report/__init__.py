"""The run report: what a run did and what came of it, on one page."""
