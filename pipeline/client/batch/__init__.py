"""``arxiv-classify batch``: scores parquet files with a SavedModel into a folder of parts."""
