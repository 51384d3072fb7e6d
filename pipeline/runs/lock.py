"""One run at a time for each metadata database, which allows one writer."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout


class LockBusyError(RuntimeError):
    """Another run held the lock for longer than this one would wait."""


@contextlib.contextmanager
def exclusive(database: Path, wait_seconds: float, say: Callable[[str], None]) -> Iterator[None]:
    """Holds the database's lock; the kernel frees it however the process ends.

    Args:
        database: the metadata database; ``<name>.lock`` and ``<name>.holder.json`` lie beside it.
        wait_seconds: how long to wait for another run; 0 does not wait.
        say: gets one line where there is a wait: who holds the lock, since when.

    Raises:
        LockBusyError: the lock was still taken after ``wait_seconds``.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(database.with_name(database.name + ".lock"))
    holder = _holder_file(database)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if wait_seconds > 0:
            say(f"{_describe(holder)} is using {database}; waiting up to {wait_seconds:g} s for it")
        try:
            lock.acquire(timeout=wait_seconds, poll_interval=0.2)
        except Timeout:
            raise LockBusyError(
                f"{_describe(holder)} is still using {database}; "
                f"wait for it to end, or name another output folder in the configuration"
            ) from None
    try:
        _describe_self(holder)
        yield
    finally:
        # Removed while the lock is held: after it, the file may be the next holder's.
        with contextlib.suppress(OSError):
            holder.unlink()
        lock.release()


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, or held it when its process was killed.

    Attributes:
        pid: of the process.
        host: that it runs on.
        since: ISO 8601.
    """

    pid: int
    host: str
    since: str


def holder(database: Path) -> Holder | None:
    """Returns who says that it holds the database's lock, without trying the lock itself.

    A run that starts meanwhile would find a lock that is tried to be taken.
    """
    return _read_holder(_holder_file(database))


def _holder_file(database: Path) -> Path:
    return database.with_name(database.name + ".holder.json")


def _read_holder(file: Path) -> Holder | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return Holder(int(content["pid"]), str(content["host"]), str(content["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _describe_self(holder: Path) -> None:
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    record = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
    scratch = holder.with_name(f"{holder.name}.{os.getpid()}")
    scratch.write_text(json.dumps(record), encoding="utf-8")
    scratch.replace(holder)


def _describe(holder: Path) -> str:
    """Says who holds the lock; a holder that has just started may not have written it yet."""
    for _ in range(5):
        found = _read_holder(holder)
        if found is not None:
            where = f"process {found.pid} on {found.host}"
            return f"another run ({where}, since {found.since})"
        time.sleep(0.1)
    return "another run"
