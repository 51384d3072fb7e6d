"""A gate between a push and a stop: no push begins after a stop, and none is cut in half.

The launcher makes the gate before it forks the process that runs the nodes. The Pusher holds it
from the moment before a version appears until ML Metadata knows the version. A stop takes it first,
so a push that has begun is completed, and one that has not waits in vain.

The gate is a POSIX record lock on a file without a name: the kernel releases it when its holder
dies. Without a launcher, as in a unit test, there is no gate to hold.
"""

from __future__ import annotations

import fcntl
import os

_gate: int | None = None


def make() -> None:
    """Makes the gate, open; a fork inherits it."""
    global _gate
    if _gate is not None:
        os.close(_gate)
    _gate = os.memfd_create("push-gate")


def hold() -> None:
    """Holds the gate for a push; after a stop has taken it, waits until this process is ended."""
    if _gate is not None:
        fcntl.lockf(_gate, fcntl.LOCK_EX)


def release() -> None:
    """Releases the gate after a push, if this process holds it."""
    if _gate is not None:
        fcntl.lockf(_gate, fcntl.LOCK_UN)


def take() -> bool:
    """Takes the gate for a stop; returns False while a push holds it."""
    if _gate is None:
        return True
    try:
        fcntl.lockf(_gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
