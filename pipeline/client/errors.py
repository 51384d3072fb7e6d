"""Errors of a classification, each with a one-line message and an exit code."""

from typing import ClassVar

from components.errors import UserError


class ClientError(UserError):
    """A classification failed; the message is one line.

    Attributes:
        exit_code: of ``arxiv-classify``.
        transient: whether the same request may succeed later.
        retry_after: seconds that the server asks to wait before a retry; 0 if it names none, None
            if it did not answer at all.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self, message: str, *, transient: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.transient = transient
        self.retry_after = retry_after


class ServerError(ClientError):
    """Any other error of the server."""


class UnavailableError(ClientError):
    """The server is unreachable, overloaded, or slower than the deadline."""

    exit_code = 3


class ModelNotLoadedError(ClientError):
    """The server or folder does not have the model or version."""

    exit_code = 4


class WrongSignatureError(ClientError):
    """The model does not take texts, or does not return labels and scores."""

    exit_code = 5


class TextTooLongError(ClientError):
    """A text is over the limit, or a request is too large for the server."""

    exit_code = 6


class BadInputError(ClientError):
    """An input file or row cannot be read."""

    exit_code = 7


class DeniedError(ClientError):
    """Credentials, a certificate or a key are refused, by the server or by this client."""

    exit_code = 8
