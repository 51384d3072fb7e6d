"""The common part of TF Serving's two interfaces: TLS, retries, and the mapping of errors."""

from __future__ import annotations

import contextlib
import math
import os
import random
import socket
import ssl
import threading
import time
import urllib.request
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar
from urllib.parse import SplitResult, urlsplit

from components.contracts import features
from components.errors import UserError, one_line
from components.scoring.text_inputs import filled
from pipeline.client.errors import (
    ClientError,
    DeniedError,
    ModelNotLoadedError,
    ServerError,
    TextTooLongError,
    UnavailableError,
    WrongSignatureError,
)
from pipeline.client.transports.base import Client
from pipeline.client.types import Address, Options, VersionStatus, split_url

Answer = TypeVar("Answer")

# Seconds. Full jitter, so that clients that failed together do not retry together:
# https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
_SHORTEST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
# Without a connection, waiting for the deadline helps only where a server is starting.
_UNREACHED_RETRIES = 3
_CONNECT_SECONDS = 1.0
# Of one client, among all its threads; those that wait to be retried count.
_MOST_IN_FLIGHT = 32
# https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
_FAULTS = {
    9: "is not valid yet",
    10: "has expired",
    62: "is another host's",
    64: "is another host's",
}
# In the names of TLS alerts by which a server refuses a client certificate, or the lack of one.
_CLIENT_CERTIFICATE_WORDS = ("CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE_FAILURE")
# Parts of TF Serving's messages about the signature, not the request: by REST
# (tensorflow_serving/util/json_tensor.cc), then by gRPC (servables/tensorflow/predict_util.cc).
_SIGNATURE_WORDS = (
    *("signature", "named input", "multiple input tensors", "not of expected type"),
    *("tensor alias", "expects", "expected to be", "equal 0th-dimension size"),
)
# In gRPC's message about too many bytes, and in TF Serving's about too many rows in a batch.
_TOO_LARGE = "larger than max"


class ServerClient(Client):
    """Client of a server (``interface`` is REST or gRPC); retries transient failures."""

    interface: ClassVar[str]

    def __init__(self, address: Address, options: Options) -> None:
        self._proxy = _find_proxy(address)
        host = self._proxy.netloc.rpartition("@")[2] if self._proxy else ""
        super().__init__(f"{address} through the proxy {host}" if host else str(address), options)
        self._address = address
        self._tls = self._tls_context() if address.tls else None
        self._slots = threading.BoundedSemaphore(_MOST_IN_FLIGHT)
        self._names: tuple[str, ...] = (features.ABSTRACT,)

    def _ask(self, send: Callable[[float], Answer]) -> Answer:
        """Calls ``send`` with the seconds that remain, and again after transient failures."""
        ends, retries = time.monotonic() + self.options.deadline, self.options.retries
        if not self._slots.acquire(timeout=self.options.deadline):
            raise self._too_slow()
        attempt, longest = 0, _SHORTEST_PAUSE
        try:
            while True:
                attempt, longest = attempt + 1, min(2 * longest, _LONGEST_PAUSE)
                try:
                    return send(max(ends - time.monotonic(), 0.001))
                except ClientError as error:
                    most = _UNREACHED_RETRIES if error.retry_after is None else math.inf
                    spent = attempt > (most if retries is None else retries)
                    asked = error.retry_after or 0
                    remaining = ends - time.monotonic() - asked
                    # On top of what is asked: 0 is no hot loop, and clients that were told the
                    # same do not return together. The last attempts come closer to the deadline.
                    backoff = min(random.uniform(_SHORTEST_PAUSE, longest), remaining / 2)
                    if not error.transient or spent or backoff < _SHORTEST_PAUSE:
                        raise
                time.sleep(asked + backoff)
        finally:
            self._slots.release()

    def _outputs(self, texts: Sequence[bytes]) -> Mapping[str, Any]:
        # Another thread may learn the names meanwhile.
        asked = self._names
        try:
            return self._predict(filled(asked, texts))
        except WrongSignatureError:
            names = self._learned_names()
            if not names or set(names) == set(asked):
                raise
        # A model of other texts than arXiv's.
        self._names = names
        return self._predict(filled(names, texts))

    def text_columns(self) -> tuple[str, ...]:
        names = self._learned_names()
        # The order in which several are joined is not known here.
        return () if len(names) > 1 else names or self._names

    def _learned_names(self) -> tuple[str, ...]:
        with contextlib.suppress(ClientError, KeyError, TypeError):
            return self._input_names()
        return ()

    @abstractmethod
    def _predict(self, inputs: Mapping[str, Sequence[bytes]]) -> Mapping[str, Any]:
        """Scores one batch, given the signature's inputs by name; see :meth:`Client._outputs`."""

    @abstractmethod
    def _input_names(self) -> tuple[str, ...]:
        """Returns the names of the signature's inputs, from the model's metadata."""

    def _versions(self, found: Iterable[tuple[Any, Any, Any]]) -> list[VersionStatus]:
        """Returns statuses from version, state and message, newest first."""
        statuses = (
            VersionStatus(int(number), one_line(str(state)), one_line(str(message)))
            for number, state, message in found
        )
        return sorted(statuses, key=lambda one: -one.version)

    def _too_slow(self) -> ClientError:
        return UnavailableError(
            f"{self._where}: no answer within the deadline of {self.options.deadline:g} s"
        )

    def _too_long(self) -> ClientError:
        return ServerError(
            f"{self._where}: the reply is longer than {self.options.max_reply_bytes:,} bytes; "
            "is it TF Serving?"
        )

    def _unreached(self, reason: str, *, transient: bool = True) -> ClientError:
        """Returns the error for a request without a reply.

        Opens a plain connection to the server, or to its proxy, to learn the reason, which gRPC
        does not tell.
        """
        peer = self._proxy or urlsplit(str(self._address))
        port = peer.port or (443 if peer.scheme == "https" else 80)
        try:
            with socket.create_connection((peer.hostname, port), _CONNECT_SECONDS) as plain:
                if self._tls and not self._proxy:
                    with self._tls.wrap_socket(plain, server_hostname=peer.hostname) as secure:
                        # By TLS 1.3 a client's certificate is refused after the handshake.
                        if not secure.recv(1):
                            reason = "closed at once; does it ask for another certificate?"
        except ssl.SSLCertVerificationError as error:
            fault = _FAULTS.get(error.verify_code, "is not trusted; give its authority")
            return DeniedError(
                f"{self._where}: the server's certificate {fault} ({error.verify_message})"
            )
        except ssl.SSLError as error:
            reason = str(error)
            if "ALERT" in reason and any(word in reason for word in _CLIENT_CERTIFICATE_WORDS):
                return DeniedError(
                    f"{self._where}: it asks for another client certificate ({reason})"
                )
        except OSError as error:
            reason = error.strerror or reason
        hint = "is the server running there?"
        if self._proxy:
            hint = "see to the proxy, or add the host to NO_PROXY"
        return UnavailableError(
            f"{self._where}: not reachable ({one_line(reason)}); {hint}", transient=transient
        )

    def _refusal(
        self, code: str, message: str, status: str, retry_after: float = 0.0
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
            return WrongSignatureError(f"{where}: {model} takes no texts ({message})")
        if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
            return DeniedError(f"{where}: {status}, the credentials are refused ({message})")
        if code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED"):
            return UnavailableError(
                f"{where}: {status} {message}", transient=True, retry_after=retry_after
            )
        hint = f"; is it TF Serving's {self.interface} port?" if code == "UNIMPLEMENTED" else ""
        return ServerError(f"{where}: {status} {message}{hint}")

    def _tls_context(self) -> ssl.SSLContext:
        """Returns the TLS settings: the trusted authorities and the client's own certificate.

        Raises:
            DeniedError: the key is encrypted and cannot be opened.
            UserError: a file cannot be read, is not PEM, or key and certificate do not match.
        """
        options = self.options
        try:
            context = ssl.create_default_context(cafile=options.ca_file)
        except OSError as error:
            raise UserError(f"{options.ca_file}: not a readable PEM file ({error})") from None
        if not options.cert_file:
            return context
        files = " and ".join(str(file) for file in (options.cert_file, options.key_file) if file)

        def password() -> str:
            # OpenSSL itself would read it from standard input, which may hold the texts.
            if options.key_password is None or self.interface == "gRPC":
                raise DeniedError(
                    f"{files}: the key is encrypted; give the file of its pass phrase "
                    "(https:// only; --key-password-file), or decrypt it with openssl pkey"
                )
            return options.key_password

        try:
            context.load_cert_chain(options.cert_file, options.key_file, password)
        except DeniedError:
            raise
        except (OSError, ValueError) as error:
            kind = UserError if options.key_password is None else DeniedError
            raise kind(
                f"{files}: not a readable certificate and its key, or another pass phrase ({error})"
            ) from None
        return context


def _find_proxy(address: Address) -> SplitResult | None:
    """Returns the proxy that the environment names for a server; None for this machine itself.

    Raises:
        UserError: the proxy's URL is malformed, or of a kind that is not supported.
    """
    if address.loopback or urllib.request.proxy_bypass(address.host):
        return None
    if address.scheme.startswith("grpc"):
        # https://grpc.github.io/grpc/core/md_doc_environment_variables.html
        named = [os.environ.get(f"{name}_proxy") for name in ("grpc", "https", "http")]
        schemes = ["http"]
    else:
        named = [urllib.request.getproxies().get(name) for name in (address.scheme, "all")]
        schemes = ["http", "https"]
    url = next(filter(None, named), None)
    if url is None:
        return None
    with contextlib.suppress(ValueError):
        proxy = split_url(url if "://" in url else f"http://{url}")
        if proxy.scheme in schemes:
            return proxy
    # The URL is not repeated in the message, since it may hold a password.
    raise UserError(
        f"{address}: the environment names a proxy that is not {schemes[-1]}://HOST:PORT; SOCKS is "
        f"not supported: unset that variable, or add {address.host} to NO_PROXY"
    )
