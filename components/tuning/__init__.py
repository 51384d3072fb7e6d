"""Optional search for better settings, as a node of the pipeline."""
