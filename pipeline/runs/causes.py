"""Extracts a failure's cause, in one line, from the exceptions that Beam and TFX wrap around it."""

import re

from components.errors import UserError, advised

_BEAM_STEP = re.compile(r"\s*\[while running '[^\n]*?'\]")
# ML Metadata appends the whole query to what SQLite says.
_QUERY = re.compile(r"(?<=Error when executing query: )(.*?) query: .*", re.DOTALL)
_EXCEPTION_LINE = re.compile(r"^(?P<type>[A-Za-z_][\w.]*): (?P<message>.*)$")
# ``UserError`` and its subclasses, as a traceback names them.
_USER_ERROR = re.compile(r"UserError|(components|pipeline)\.\S+Error")
# A ``UserError`` is never cut: what to do stands at its end.
_MAX_CHARS = 500


def one_line(error: BaseException) -> str:
    """Returns an exception's cause.

    That is a ``UserError`` anywhere in the chain, as it is; otherwise the root of the explicit
    chain (``raise ... from``), as ``Type: message``.
    """
    chain = _chain(error)
    for link in chain:
        if isinstance(link, UserError):
            return _tidy(str(link))
    root = chain[-1]
    text = str(root)
    # A Beam worker process passes its traceback on as the text of a RuntimeError.
    if "Traceback (most recent call last)" in text:
        return from_traceback(text)
    message = _tidy(text)
    name = type(root).__name__
    return advised(_cut(f"{name}: {message}" if message else name))


def from_traceback(text: str) -> str:
    """Returns the cause from one or more formatted tracebacks; a ``UserError`` wins, as it is."""
    last = ""
    for line in text.splitlines():
        found = _EXCEPTION_LINE.match(line)
        if not found:
            continue
        if _USER_ERROR.fullmatch(found["type"]):
            return _tidy(found["message"])
        last = f"{found['type'].rpartition('.')[2]}: {found['message']}"
    return advised(_cut(_tidy(last or text)))


def _chain(error: BaseException) -> list[BaseException]:
    """Returns the exception and its explicit causes, outermost first."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__
    return chain


def _tidy(text: str) -> str:
    return " ".join(_QUERY.sub(r"\1", _BEAM_STEP.sub("", text)).split())


def _cut(line: str) -> str:
    return line if len(line) <= _MAX_CHARS else line[: _MAX_CHARS - 3] + "..."
