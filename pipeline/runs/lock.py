"""Allows one run at a time per output folder, since ML Metadata's database allows one writer."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone

from filelock import FileLock, Timeout
from pydantic import BaseModel

from components import atomic
from components.errors import UserError
from pipeline.runs.layout import OutputFolder


class LockBusyError(UserError):
    """Another run kept the lock for longer than this one waits."""


class Holder(BaseModel):
    """The process that holds a lock, or held it when it was killed; ``since`` is in UTC."""

    pid: int
    host: str
    since: datetime


@contextlib.contextmanager
def exclusive(
    folder: OutputFolder, wait_seconds: float, say: Callable[[str], None]
) -> Iterator[None]:
    """Holds an output folder's lock; the kernel releases it however the process ends.

    Creates the folder if it is missing. If it has to wait, it says who holds the lock, since when.

    Raises:
        LockBusyError: the lock was still taken after ``wait_seconds``.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        using = f"using {folder.metadata_file}"
        if wait_seconds > 0:
            say(f"{_describe(folder)} is {using}; waiting up to {wait_seconds:g} s for it")
        try:
            lock.acquire(timeout=wait_seconds, poll_interval=0.2)
        except Timeout:
            raise LockBusyError(
                f"{_describe(folder)} is still {using}; "
                "wait for it to end, or name another output folder in the configuration"
            ) from None
    try:
        since = datetime.now(timezone.utc).replace(microsecond=0)
        own = Holder(pid=os.getpid(), host=socket.gethostname(), since=since)
        atomic.write_text(folder.holder_file, own.model_dump_json())
        yield
    finally:
        # Removed before the lock is released: afterwards the file may be the next holder's.
        with contextlib.suppress(OSError):
            folder.holder_file.unlink()
        lock.release()


def holder(folder: OutputFolder) -> Holder | None:
    """Returns the recorded holder of the lock; None if there is none.

    It does not try the lock: a run that starts at that moment would find it taken.
    """
    try:
        return Holder.model_validate_json(folder.holder_file.read_bytes())
    except (OSError, ValueError):
        return None


def _describe(folder: OutputFolder) -> str:
    """Describes the holder; retries, since one that just started may not have recorded itself."""
    for _ in range(5):
        found = holder(folder)
        if found is not None:
            since = found.since.astimezone().isoformat()
            return f"another run (process {found.pid} on {found.host}, since {since})"
        time.sleep(0.1)
    return "another run"
