"""Errors that are shown to the user who runs the pipeline."""

from __future__ import annotations

import re
from collections.abc import Iterable

# As the operating system and SQLite report it, within the exception of any library.
_DISK_FULL = re.compile(
    r"no space left on device|disk quota exceeded|database or disk is full", re.IGNORECASE
)
_MAKE_ROOM = "make room for run.output_dir, or name a folder on another disk"


def advised(line: str) -> str:
    """Adds to an error's line what to do about a full disk, if that is the cause."""
    return f"the disk is full ({line}): {_MAKE_ROOM}" if _DISK_FULL.search(line) else line


def printable(text: str) -> str:
    """Replaces unprintable characters except newlines by "?".

    Names of files and columns are untrusted: they must not send control codes to a terminal.
    """
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)


def one_line(text: str, most: int = 400) -> str:
    """Returns a text on one line without control characters, cut to ``most`` characters."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= most else line[: most - 3] + "..."


def listed(names: Iterable[str], most: int = 12) -> str:
    """Formats names for a message, only the first ``most`` of them."""
    found = [repr(name) for name in names]
    more = [f"and {len(found) - most} more"] if len(found) > most else []
    return ", ".join([*found[:most], *more]) or "none"


class UserError(ValueError):
    """A mistake the user can fix; the message is one line: what, where, what to do."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))
