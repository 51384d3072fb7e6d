"""Exit codes of the commands; after a signal, 128 plus the signal's number."""

COMPLETE = 0
NODE_FAILED = 1
USAGE = 2
NOT_BLESSED = 3
LOCK_BUSY = 4
