"""What runs inside a node of the pipeline."""
