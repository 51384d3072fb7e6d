"""Scores parquet files with a SavedModel into a folder of parts: ``arxiv-classify batch``.

The defaults are here because the command line shows them before it imports Beam.
"""

# The fastest of 64 to 1024 for the bare call of the model, too (benchmarks/batch.py).
BATCH_SIZE = 256
# The most that each worker of a killed run loses, and what it holds in memory.
ROWS_PER_PART = 8192
