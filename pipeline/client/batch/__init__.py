"""``arxiv-classify batch``: scores parquet files with a SavedModel into a folder of parts.

The defaults are here because the command line shows them without importing Beam.
"""

# The fastest of 64 to 1024, also for the model alone (benchmarks/batch.py).
BATCH_SIZE = 256
# What each worker keeps in memory, and at most loses if it is killed.
ROWS_PER_PART = 8192
