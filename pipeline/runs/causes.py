"""The cause of a failure in one line, out of the wrappings that Beam and TFX put around it."""

import re

from components.errors import UserError

_BEAM_STEP = re.compile(r"\s*\[while running '[^\n]*?'\]")
_EXCEPTION_LINE = re.compile(r"^(?P<type>[A-Za-z_][\w.]*): (?P<message>.*)$")
_USER_ERROR = f"{UserError.__module__}.{UserError.__qualname__}"
_MAX_CHARS = 500
# As the operating system and SQLite say it; the file may be one of any library's.
_DISK_FULL = re.compile(
    r"no space left on device|disk quota exceeded|database or disk is full", re.IGNORECASE
)
_MAKE_ROOM = "make room for run.output_dir, or name a folder on another disk"


def one_line(error: BaseException) -> str:
    """Says what an exception was about.

    A ``UserError`` anywhere in the chain is shown as it is: it was written for the reader.
    Otherwise it is the chain's explicit root (``raise ... from``), as ``Type: message``.

    Args:
        error: what a node or the runner raised.
    """
    chain = _chain(error)
    for link in chain:
        if isinstance(link, UserError):
            return _tidy(str(link))
    root = chain[-1]
    text = str(root)
    # A Beam worker process hands its traceback over as the text of a RuntimeError.
    if "Traceback (most recent call last)" in text:
        return from_traceback(text)
    message = _tidy(text)
    name = type(root).__name__
    return _advised(f"{name}: {message}" if message else name)


def from_traceback(text: str) -> str:
    """Says what a formatted traceback was about; a ``UserError`` in it is shown as it is.

    Args:
        text: one or several tracebacks, as ``traceback.format_exc`` writes them.
    """
    last = ""
    for line in text.splitlines():
        found = _EXCEPTION_LINE.match(line)
        if not found:
            continue
        if found["type"] in (_USER_ERROR, UserError.__name__):
            return _tidy(found["message"])
        last = f"{found['type'].rpartition('.')[2]}: {found['message']}"
    return _advised(_tidy(last or text))


def _advised(line: str) -> str:
    """Adds what to do where the error's own words do not say it."""
    return f"the disk is full ({line}): {_MAKE_ROOM}" if _DISK_FULL.search(line) else line


def _chain(error: BaseException) -> list[BaseException]:
    """The exception and its explicit causes, outermost first."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__
    return chain


def _tidy(text: str) -> str:
    line = " ".join(_BEAM_STEP.sub("", text).split())
    return line if len(line) <= _MAX_CHARS else line[: _MAX_CHARS - 3] + "..."
