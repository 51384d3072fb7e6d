"""The client's interface: what is asked, what is answered, and with which options."""

from __future__ import annotations

import ipaddress
import math
import os
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

from components.errors import UserError
from pipeline.client.errors import TextTooLongError, WrongSignatureError

DEFAULT_URL = "http://127.0.0.1:8501"
DEFAULT_MODEL_NAME = "arxiv"
_GRPC_PORT = 8500
_PLAIN_SCHEMES = ("http", "grpc")
_TLS_SCHEMES = ("https", "grpcs")

# A batch is sent once it has this many bytes: half of gRPC's default message size.
MAX_BATCH_BYTES = 2 * 1024 * 1024

Item = TypeVar("Item")


@dataclass(frozen=True)
class Classification:
    """The answer for one text.

    Attributes:
        label: the subject with the highest score.
        scores: probability of each subject, in the model's order; float32 values, summing to 1.
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
        version: its number.
        state: START, LOADING, AVAILABLE, UNLOADING or END, as in TF Serving's ModelVersionStatus;
            ON_DISK for a folder's.
        message: the server's error message; empty where all is well.
    """

    version: int
    state: str
    message: str = ""


@dataclass(frozen=True)
class Options:
    """How to ask.

    Attributes:
        model_name: name under which the server has the model; of no use for a folder.
        version: version of the model; by default the newest.
        version_label: such as ``stable``, instead of a version; servers only.
        deadline: seconds that the texts of one request may take, retries included.
        retries: how often a request is sent again after a transient failure. Scoring changes
            nothing on the server, so that sending it twice is safe.
        batch_size: texts in a request.
        max_text_bytes: longest text, in bytes of UTF-8.
        headers: further headers (REST) or metadata (gRPC) of each request.
        token: sent as ``Authorization: Bearer ...``.
        ca_file: PEM file of the authorities that are trusted; by default the system's.
        cert_file, key_file: PEM files of the client's certificate and its key; the key may be in
            ``cert_file`` too.
        insecure: whether credentials may go over plaintext to another host.
    """

    model_name: str = DEFAULT_MODEL_NAME
    version: int | None = None
    version_label: str | None = None
    deadline: float = 30.0
    retries: int = 3
    batch_size: int = 32
    max_text_bytes: int = 1_000_000
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    token: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    insecure: bool = False

    def __post_init__(self) -> None:
        """Refuses values that no request could be made with.

        Raises:
            UserError: an option is out of its range, or two exclude each other.
        """
        for name, lowest in (("batch_size", 1), ("max_text_bytes", 1), ("retries", 0)):
            if getattr(self, name) < lowest:
                raise UserError(f"{name} is {getattr(self, name)}; it must be {lowest} or more")
        if not 0 < self.deadline < math.inf:
            raise UserError(f"deadline is {self.deadline:g} s; it must be more than 0 and finite")
        if not self.model_name or set(self.model_name) & set("/:?# \t\r\n"):
            raise UserError(f"model name {self.model_name!r}: must be one word without / : ? #")
        if self.version is not None and not 0 <= self.version < 2**63:
            raise UserError(f"version {self.version}: must be 0 or more and fit 63 bits")
        if self.version is not None and self.version_label is not None:
            raise UserError("give a version or a version label, not both")
        if self.key_file and not self.cert_file:
            raise UserError("a client key needs its certificate too")
        for name, value in self.all_headers().items():
            if not (name.isascii() and value.isascii() and (name + value).isprintable()):
                raise UserError(f"header {name!r}: name and value must be printable ASCII")

    def all_headers(self) -> dict[str, str]:
        """Returns the headers with the token among them, names in lower case."""
        headers = {name.strip().lower(): value.strip() for name, value in self.headers.items()}
        if self.token is not None:
            headers["authorization"] = f"Bearer {self.token.strip()}"
        return headers


class Address(NamedTuple):
    """Where a server listens.

    Attributes:
        scheme: http, https, grpc or grpcs.
        host: name or IP address, without brackets.
        port: None for the scheme's own (REST only).
        path: what precedes ``/v1/models`` (REST only); without a final slash.
    """

    scheme: str
    host: str
    port: int | None
    path: str

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme in _TLS_SCHEMES

    @property
    def loopback(self) -> bool:
        """Whether the server is on this machine."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def target(self) -> str:
        """Host and port as in an address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.target}{self.path}"


def parse_address(url: str) -> Address:
    """Reads a server's address.

    Args:
        url: ``http://``, ``https://`` (REST), ``grpc://`` or ``grpcs://`` (gRPC; plaintext or TLS),
            host and port; for REST also a path that a proxy puts before ``/v1/models``.

    Raises:
        UserError: it is no such address.
    """
    forms = "such as http://HOST:8501, https://HOST, grpc://HOST:8500 or grpcs://HOST:8500"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UserError(f"address {url!r}: not an address; give one {forms}") from None
    if parts.username is not None or parts.password is not None:
        raise UserError("the address holds a password; credentials go into the token or a header")
    if parts.scheme not in (*_PLAIN_SCHEMES, *_TLS_SCHEMES) or not parts.hostname:
        raise UserError(f"address {url!r}: give one {forms}")
    path = parts.path.rstrip("/")
    grpc = parts.scheme.startswith("grpc")
    if parts.query or parts.fragment or "/v1/models" in path or (grpc and path):
        raise UserError(
            f"address {url!r}: give the server's address alone, and the model's name apart"
        )
    return Address(parts.scheme, parts.hostname, port or (_GRPC_PORT if grpc else None), path)


class Client(ABC):
    """Asks one model; safe to use from several threads.

    A context manager that closes its connections.
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    def classify(self, texts: Iterable[str | bytes]) -> list[Classification]:
        """Classifies texts.

        Args:
            texts: abstracts as their authors wrote them; bytes are taken as UTF-8, and need not be
                valid.

        Returns:
            One answer a text, in the same order.

        Raises:
            ClientError: one of its kinds (:mod:`pipeline.client.errors`).
        """
        return list(self.stream(texts))

    def stream(self, texts: Iterable[str | bytes]) -> Iterator[Classification]:
        """Classifies texts as they come, in constant memory; otherwise as :meth:`classify`."""
        encoded = (
            check_length(encode(text), f"text {number}", self.options.max_text_bytes)
            for number, text in enumerate(texts, 1)
        )
        for batch in batches(encoded, self.options.batch_size, len):
            yield from self._classify(batch)

    @abstractmethod
    def status(self) -> list[VersionStatus]:
        """Returns the model's versions, the newest first.

        Raises:
            ClientError: as :meth:`classify`.
        """

    @abstractmethod
    def close(self) -> None:
        """Closes the connections."""

    @abstractmethod
    def _classify(self, texts: Sequence[bytes]) -> list[Classification]:
        """Classifies the texts of one request."""

    def __enter__(self) -> Client:
        """Returns the client itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the connections."""
        self.close()


def connect(url: str = DEFAULT_URL, options: Options | None = None) -> Client:
    """Returns a client of a TF Serving server; the first request opens the connection.

    Args:
        url: see :func:`parse_address`.
        options: the defaults when None.

    Raises:
        UserError: address and options do not go together, or a certificate file cannot be read.
    """
    options = options or Options()
    address = parse_address(url)
    if not address.tls and (options.ca_file or options.cert_file):
        raise UserError(f"{address}: certificates need https:// or grpcs://")
    if not (address.tls or address.loopback or options.insecure) and options.all_headers():
        raise UserError(
            f"{address}: would send the credentials in plaintext; use https:// or grpcs://, "
            "or allow it (insecure)"
        )
    if address.scheme in ("http", "https"):
        from pipeline.client.rest import RestClient

        return RestClient(address, options)
    from pipeline.client.rpc import GrpcClient

    return GrpcClient(address, options)


def open_model(folder: str | os.PathLike[str], options: Options | None = None) -> Client:
    """Returns a client that scores in this process; imports TensorFlow and loads the model.

    Args:
        folder: a SavedModel, or a push folder of which the newest version (or the options') is
            taken.
        options: the defaults when None; what concerns servers is of no effect.

    Raises:
        ModelNotLoadedError: there is no SavedModel, or it cannot be loaded.
        WrongSignatureError: the model does not take texts.
    """
    from pipeline.client.local import LocalClient

    return LocalClient(Path(folder), options or Options())


def encode(text: str | bytes) -> bytes:
    """Returns a text's bytes; what no UTF-8 can express becomes the bytes it was read from."""
    if isinstance(text, bytes):
        return text
    try:
        # Arguments and file names that are not UTF-8 reach Python as lone surrogates.
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def check_length(text: bytes, where: str, limit: int) -> bytes:
    """Returns the text.

    Raises:
        TextTooLongError: it has more bytes than the limit.
    """
    if len(text) > limit:
        raise TextTooLongError(
            f"{where}: the text has {len(text):,} bytes, more than the limit of {limit:,}; "
            "shorten it or raise the limit"
        )
    return text


def batches(
    items: Iterable[Item], size: int, length: Callable[[Item], int]
) -> Iterator[list[Item]]:
    """Groups items as they come into lists of at most ``size`` items and some 2 MiB.

    Where the items end in an error, what came before is handed out first.

    Args:
        items: any number.
        size: longest list.
        length: bytes of an item; a longer one than the limit has a list of its own.
    """
    batch: list[Item] = []
    total = 0
    source = iter(items)
    while True:
        try:
            item = next(source)
        except StopIteration:
            break
        except Exception:
            if batch:
                yield batch
            raise
        if batch and total + length(item) > MAX_BATCH_BYTES:
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += length(item)
        if len(batch) == size:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


def assemble(
    labels: Sequence[str],
    scores: Sequence[Sequence[float]],
    classes: Sequence[Sequence[str]],
    expected: int,
    where: str,
) -> list[Classification]:
    """Makes answers of the signature's outputs.

    Args:
        labels: [n].
        scores: [n, k].
        classes: [n, k], the names of the scores.
        expected: n.
        where: the server or the folder, for the message.

    Raises:
        WrongSignatureError: the outputs do not fit each other or the question.
    """
    if not len(labels) == len(scores) == len(classes) == expected:
        raise WrongSignatureError(
            f"{where}: {expected} texts were asked, but the model gave {len(labels)} labels, "
            f"{len(scores)} rows of scores, {len(classes)} of classes"
        )
    answers = []
    for label, row, names in zip(labels, scores, classes, strict=True):
        # The same float32, whether it came as decimal digits or in binary.
        named = dict(zip(names, array("f", row), strict=False))
        if len(row) != len(named) or len(names) != len(named) or label not in named:
            raise WrongSignatureError(
                f"{where}: label {label!r} with {len(row)} scores of {len(names)} classes; "
                "is it an abstract classifier?"
            )
        answers.append(Classification(label, named))
    return answers
