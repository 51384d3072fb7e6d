"""The common part of TF Serving's two interfaces: TLS, retries, and the mapping of errors."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import ClassVar, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.stop import stop_before_delay
from tenacity.wait import wait_random_exponential

from components.errors import UserError
from pipeline.client.errors import (
    ClientError,
    DeniedError,
    ModelNotLoadedError,
    ServerError,
    TextTooLongError,
    UnavailableError,
    WrongSignatureError,
    one_line,
)
from pipeline.client.transports.base import Client
from pipeline.client.types import Address, Options

Answer = TypeVar("Answer")

# Seconds. Full jitter, so that clients that failed together do not retry together:
# https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
_backoff = wait_random_exponential(multiplier=0.1, max=5.0)
# Parts of TF Serving's messages about the signature, not the request: by REST
# (tensorflow_serving/util/json_tensor.cc), then by gRPC (servables/tensorflow/predict_util.cc).
_SIGNATURE_WORDS = (
    *("signature", "named input", "multiple input tensors", "not of expected type"),
    *("tensor alias", "expects", "expected to be"),
)
# In gRPC's message about too many bytes, and in TF Serving's about too many rows in a batch.
_TOO_LARGE = "larger than max"


class ServerClient(Client):
    """Client of a server (``interface`` is REST or gRPC); retries transient failures."""

    interface: ClassVar[str]

    def __init__(self, address: Address, options: Options) -> None:
        super().__init__(str(address), options)
        self._address = address

    def _ask(self, send: Callable[[float], Answer]) -> Answer:
        return retried(send, self.options.deadline, self.options.retries)

    def _too_slow(self) -> ClientError:
        return UnavailableError(
            f"{self._where}: no answer within the deadline of {self.options.deadline:g} s"
        )

    def _untrusted(self, reason: str) -> ClientError:
        return DeniedError(
            f"{self._where}: the server's certificate is not trusted ({reason}); "
            "give the authority that signed it"
        )

    def _refusal(
        self, code: str, message: str, status: str, retry_after: float | None = None
    ) -> ClientError:
        """Returns the error for an unsuccessful response.

        Args:
            code: name of the gRPC status code, or TOO_LARGE.
            message: the server's message.
            status: the code as this interface shows it.
            retry_after: seconds that the server asks to wait before a retry.
        """
        message = one_line(message)
        said, where = message.lower(), self._where
        model = f"model {self.options.model_name!r}"
        invalid = code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION")
        if code == "NOT_FOUND" or (invalid and "version label" in said):
            return ModelNotLoadedError(f"{where}: {model} is not loaded there ({message})")
        too_large = _TOO_LARGE in said and (invalid or code == "RESOURCE_EXHAUSTED")
        if code == "TOO_LARGE" or too_large:
            return TextTooLongError(f"{where}: the request is too large for the server ({message})")
        if invalid and any(words in said for words in _SIGNATURE_WORDS):
            return WrongSignatureError(f"{where}: {model} does not take abstracts ({message})")
        if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
            return DeniedError(f"{where}: {status}, the credentials are refused ({message})")
        if code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED"):
            return UnavailableError(
                f"{where}: {status} {message}", transient=True, retry_after=retry_after
            )
        hint = f"; is it TF Serving's {self.interface} port?" if code == "UNIMPLEMENTED" else ""
        return ServerError(f"{where}: {status} {message}{hint}")


def retried(
    send: Callable[[float], Answer],
    deadline: float,
    retries: int,
    sleep: Callable[[float], None] = time.sleep,
) -> Answer:
    """Calls ``send`` until it succeeds or fails permanently.

    Args:
        send: takes the remaining seconds; raises a ``ClientError``.
        deadline: seconds for all attempts and waits.
        retries: maximum further calls after transient failures.
        sleep: waits that many seconds.

    Raises:
        ClientError: the last failure.
    """
    ends = time.monotonic() + deadline
    attempts = Retrying(
        stop=stop_after_attempt(retries + 1) | stop_before_delay(deadline),
        wait=_wait,
        retry=retry_if_exception(lambda error: isinstance(error, ClientError) and error.transient),
        sleep=sleep,
        reraise=True,
    )
    return attempts(lambda: send(max(ends - time.monotonic(), 0.001)))


def _wait(state: RetryCallState) -> float:
    """Returns the seconds until the next attempt: as the server asks, or else the backoff."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, ClientError) else None
    return _backoff(state) if asked is None else asked


def make_tls_context(options: Options) -> ssl.SSLContext:
    """Returns the TLS settings: the trusted authorities and the client's own certificate.

    Raises:
        UserError: a file cannot be read, is not PEM, or key and certificate do not match.
    """
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except OSError as error:
        raise UserError(f"{options.ca_file}: not a readable PEM file ({error})") from None
    if options.cert_file:
        try:
            context.load_cert_chain(options.cert_file, options.key_file)
        except OSError as error:
            files = " and ".join(
                str(file) for file in (options.cert_file, options.key_file) if file
            )
            raise UserError(f"{files}: not a readable certificate and its key ({error})") from None
    return context
