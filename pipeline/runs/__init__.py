"""What runs left behind: ML Metadata, records, and the folders of their outputs."""
