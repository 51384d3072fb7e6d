"""What TF Serving's two interfaces have in common: retries, and the meaning of an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeVar

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
from pipeline.client.transports import retry
from pipeline.client.transports.base import Client
from pipeline.client.types import Address, Options

Response = TypeVar("Response")

# Words of TF Serving's messages that blame the signature, not the request: by REST
# (tensorflow_serving/util/json_tensor.cc), then by gRPC (servables/tensorflow/predict_util.cc).
_SIGNATURE_WORDS = (
    "signature",
    *("named input", "multiple input tensors", "not of expected type"),
    *("tensor alias", "expects", "expected to be"),
)
# Of gRPC's message about too many bytes, and of TF Serving's batching about too many rows.
_TOO_LARGE = "larger than max"


class ServerClient(Client):
    """Asks a server, again where that may help.

    Attributes:
        interface: REST or gRPC.
    """

    interface: ClassVar[str]

    def __init__(self, address: Address, options: Options) -> None:
        super().__init__(str(address), options)
        self._address = address

    def _ask(self, send: Callable[[float], Response]) -> Response:
        """Calls ``send`` with the seconds that are left until it answers or fails for good."""
        return retry.call(send, deadline=self.options.deadline, retries=self.options.retries)

    def _too_slow(self) -> ClientError:
        return UnavailableError(
            f"{self._where}: no answer within the deadline of {self.options.deadline:g} s"
        )

    def _too_large(self, message: str) -> ClientError:
        return TextTooLongError(
            f"{self._where}: the request is too large for the server ({message})"
        )

    def _untrusted(self, reason: str) -> ClientError:
        return DeniedError(
            f"{self._where}: the server's certificate is not trusted ({reason}); "
            "give the authority that signed it"
        )

    def _refusal(
        self, code: str, message: str, status: str, retry_after: float | None = None
    ) -> ClientError:
        """Returns the error that an unsuccessful answer stands for.

        Args:
            code: name of the gRPC status code.
            message: the server's.
            status: the code as this interface shows it.
            retry_after: seconds after which the server asks to be tried again.
        """
        message = one_line(message)
        said, where = message.lower(), self._where
        model = f"model {self.options.model_name!r}"
        invalid = code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION")
        if code == "NOT_FOUND" or (invalid and "version label" in said):
            return ModelNotLoadedError(f"{where}: {model} is not loaded there ({message})")
        if _TOO_LARGE in said and (invalid or code == "RESOURCE_EXHAUSTED"):
            return self._too_large(message)
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
