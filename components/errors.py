"""Errors that are shown to the user who runs the pipeline."""

from __future__ import annotations

from collections.abc import Iterable


def printable(text: str) -> str:
    """Replaces unprintable characters except newlines by "?".

    Names of files and columns are untrusted: they must not send control codes to a terminal.
    """
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)


def listed(names: Iterable[str], most: int = 12) -> str:
    """Formats names for a message, only the first ``most`` of them."""
    found = [repr(name) for name in names]
    more = [f"and {len(found) - most} more"] if len(found) > most else []
    return ", ".join([*found[:most], *more]) or "none"


class UserError(ValueError):
    """A mistake the user can fix; the message is one line: what, where, what to do."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))
