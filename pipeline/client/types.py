"""Types for callers: addresses, options and predictions."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from components.errors import UserError

DEFAULT_URL = "http://127.0.0.1:8501"
_GRPC_PORT = 8500
# The state of a version in a folder.
ON_DISK = "ON_DISK"


@dataclass(frozen=True)
class Classification:
    """The prediction for one text.

    Attributes:
        label: the class with the highest score.
        scores: probability of each class, in the model's order; float32 values.
    """

    label: str
    scores: dict[str, float]

    @property
    def score(self) -> float:
        """The label's probability."""
        return self.scores[self.label]


@dataclass(frozen=True)
class VersionStatus:
    """One version of a model.

    Attributes:
        state: START, LOADING, AVAILABLE, UNLOADING or END, as in TF Serving's ModelVersionStatus;
            ON_DISK for one in a folder.
        message: the server's error message; empty if there is none.
    """

    version: int
    state: str
    message: str = ""


@dataclass(frozen=True)
class Options:
    """A client's options.

    Attributes:
        model_name: name of the model on the server; unused for a folder.
        version: version of the model; by default the newest.
        version_label: such as ``stable``, instead of a version; servers only.
        deadline: seconds that one request may take, including retries.
        retries: how often a request is sent again after a transient failure; this is safe, since
            scoring changes nothing on the server. By default until the deadline if the server
            answers that it is overloaded, and three times if it cannot be reached.
        batch_size: maximum texts per request.
        max_text_bytes: maximum length of a text, bytes of UTF-8.
        headers: additional headers (REST) or metadata (gRPC) of each request.
        token: sent as ``Authorization: Bearer ...``.
        ca_file: PEM file of the trusted authorities; by default the system's.
        cert_file: PEM file of the client's certificate, and of its key if there is no ``key_file``.
        key_file: PEM file of the certificate's key.
        key_password: pass phrase of an encrypted key (REST only).
        insecure: whether credentials may be sent in plaintext to another host.

    Raises:
        UserError: an option is out of range, or two exclude each other.
    """

    model_name: str = "arxiv"
    version: int | None = None
    version_label: str | None = None
    deadline: float = 30.0
    retries: int | None = None
    batch_size: int = 32
    max_text_bytes: int = 1_000_000
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    token: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password: str | None = field(default=None, repr=False)
    insecure: bool = False

    def __post_init__(self) -> None:
        for name, lowest in (("batch_size", 1), ("max_text_bytes", 1), ("retries", 0)):
            value = getattr(self, name)
            if value is not None and value < lowest:
                raise UserError(f"{name} is {value}; it must be {lowest} or more")
        if not 0 < self.deadline <= 1e6:
            raise UserError(f"deadline is {self.deadline:g} s; it must be in (0, 1e6]")
        if not self.model_name or set(self.model_name) & set("/:?# \t\r\n"):
            raise UserError(f"model name {self.model_name!r}: must be one word without / : ? #")
        if self.version is not None and not 0 <= self.version < 2**63:
            raise UserError(f"version {self.version}: must be 0 or more and fit 63 bits")
        if self.version is not None and self.version_label is not None:
            raise UserError("give a version or a version label, not both")
        if self.key_file and not self.cert_file:
            raise UserError("a client key needs its certificate too")
        for name, value in self.all_headers().items():
            # By gRPC's rules, which are narrower; values of names in -bin are bytes there.
            legal = re.fullmatch(r"[a-z0-9_.-]+(?<!-bin)", name)
            if not (legal and value.isascii() and value.isprintable()):
                raise UserError(f"header {name!r}: must be a plain name and printable ASCII")

    @property
    def max_reply_bytes(self) -> int:
        """Longest reply that is read, in bytes: 1 MiB, and 64 KiB for each text of a request."""
        return min(2**20 + self.batch_size * 2**16, 2**31 - 1)

    def all_headers(self) -> dict[str, str]:
        """Returns the headers, including the token's, with names in lower case."""
        headers = {name.strip().lower(): value.strip() for name, value in self.headers.items()}
        if self.token is not None:
            headers["authorization"] = f"Bearer {self.token.strip()}"
        return headers


class Address(NamedTuple):
    """A server's address.

    Attributes:
        scheme: http, https, grpc or grpcs.
        host: name or IP address, without brackets.
        port: None for the scheme's default (REST only).
        path: prefix of ``/v1/models`` (REST only); without a trailing slash.
    """

    scheme: str
    host: str
    port: int | None
    path: str

    @property
    def tls(self) -> bool:
        """Whether the connection uses TLS."""
        return self.scheme in ("https", "grpcs")

    @property
    def loopback(self) -> bool:
        """Whether the server is on this machine."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def target(self) -> str:
        """Host and port as in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.target}{self.path}"


def split_url(url: str) -> SplitResult:
    """Splits a URL; raises ValueError if it has no host, or a host or port that cannot be one."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host.encode("idna")
    if "[" in parts.netloc:
        ipaddress.ip_address(host)
    if not (host and parts.port != 0 and url.isprintable()):
        raise ValueError(url)
    return parts


def parse_address(url: str) -> Address:
    """Parses a server's address.

    Args:
        url: ``http://``, ``https://`` (REST), ``grpc://`` or ``grpcs://`` (gRPC; plaintext or TLS),
            host and port; for REST also a path that a proxy expects before ``/v1/models``.

    Raises:
        UserError: it is not such an address.
    """
    if "@" in url:
        # Not repeated in the message, since it may be a secret.
        raise UserError("the address holds a password; credentials go into the token or a header")
    try:
        parts = split_url(url)
    except ValueError:
        parts = urlsplit("")
    path, grpc = parts.path.rstrip("/"), parts.scheme in ("grpc", "grpcs")
    more = parts.query or parts.fragment or "/v1/models" in path or (grpc and path)
    if more or not (grpc or parts.scheme in ("http", "https")):
        raise UserError(
            f"address {url!r}: give one such as http://HOST:8501, https://HOST, grpc://HOST:8500 "
            "or grpcs://HOST:8500; the model's name is an option"
        )
    port = parts.port or (_GRPC_PORT if grpc else None)
    return Address(parts.scheme, parts.hostname or "", port, path)
