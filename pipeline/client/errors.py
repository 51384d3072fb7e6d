"""What can go wrong between a text and its answer: one line each, and an exit code."""

from typing import ClassVar

from components.errors import UserError

_LONGEST_MESSAGE = 400


class ClientError(UserError):
    """A classification failed; the message is one line.

    Attributes:
        exit_code: of ``arxiv-classify``.
        transient: whether the same request may succeed a moment later.
        retry_after: seconds after which the server asks to be tried again; None where it does not.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self, message: str, *, transient: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.transient = transient
        self.retry_after = retry_after


class ServerError(ClientError):
    """The server answered with an error that is none of the others."""


class UnavailableError(ClientError):
    """The server is not reachable, is overloaded, or did not answer within the deadline."""

    exit_code = 3


class ModelNotLoadedError(ClientError):
    """The server, or the folder, has no such model or version."""

    exit_code = 4


class WrongSignatureError(ClientError):
    """The model does not take texts, or does not give labels and scores."""

    exit_code = 5


class TextTooLongError(ClientError):
    """A text is longer than the limit, or a request larger than the server takes."""

    exit_code = 6


class BadInputError(ClientError):
    """An input file, or a row of it, cannot be read."""

    exit_code = 7


class DeniedError(ClientError):
    """The server refuses the credentials, or its certificate is not trusted."""

    exit_code = 8


def one_line(message: str) -> str:
    """Returns a text without line breaks and control characters, cut where it is long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in message).split())
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 3] + "..."
