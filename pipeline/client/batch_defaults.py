"""Defaults of batch scoring, apart from it: the command line shows them before it imports Beam."""

# Also the fastest of 64 to 1024 for the bare call of the model (benchmarks/batch.py).
BATCH_SIZE = 256
# The most that each worker of a killed run loses, and what it holds in memory.
ROWS_PER_PART = 8192
