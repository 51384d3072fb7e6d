"""Writes files atomically: after a crash a file is complete or absent."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a scratch path beside ``path``; what is written there replaces ``path`` at the end.

    The data and the rename are synced to disk before the context ends. If the body raises, ``path``
    is unchanged and the scratch file is removed. A killed process leaves
    ``.<name>.<hex digits>.tmp``, which ``glob(".*.tmp")`` finds. Missing folders are created.

    Raises:
        OSError: the folder is not writable, or the body wrote nothing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield scratch
        sync(scratch)
        scratch.replace(path)
        sync(path.parent)
    finally:
        scratch.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes text as UTF-8; see :func:`replacing`."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Writes bytes; see :func:`replacing`."""
    with replacing(path) as scratch:
        scratch.write_bytes(content)


def sweep(path: Path) -> None:
    """Removes what killed writers of a file left behind; its caller must be the only writer."""
    for scratch in path.parent.glob(f".{path.name}.*.tmp"):
        scratch.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flushes a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot flush a folder.
        if not (path.is_dir() and error.errno in (errno.EINVAL, errno.EBADF)):
            raise
    finally:
        os.close(descriptor)
