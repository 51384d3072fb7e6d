"""Defaults of batch scoring, apart from it: the command line shows them before it imports Beam."""

# Fastest of 64 to 1024 on two cores with texts sorted by length (benchmarks/batch.py).
BATCH_SIZE = 256
# About 7 s of work on two cores, the most that a killed run loses, and 0.4 MB of parquet.
ROWS_PER_PART = 8192
