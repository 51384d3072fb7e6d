"""The one exception type whose message is meant for the person who runs the pipeline."""

from __future__ import annotations


def printable(text: str) -> str:
    """Returns the text with control and other unprintable characters as "?", line ends kept.

    File and column names come from outside: what they hold must not reach a terminal raw.
    """
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)


class UserError(ValueError):
    """A mistake the user can mend; its message is one line: what, where, what to do."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))
