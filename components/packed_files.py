"""Opens files that are plain, or packed by gzip, xz or zip, whatever their names."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import lzma
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from components.data_format import GZIP, XZ, ZIP
from components.errors import UserError, listed
from components.input_files import check_file

_BUFFER = 1 << 18


class Source(NamedTuple):
    """An open file.

    Attributes:
        name: the path, for messages.
        inner: the path, with the member of a zip archive.
        stream: the content, unpacked.
        packed: whether the file is packed.
    """

    name: str
    inner: str
    stream: io.BufferedReader
    packed: bool

    def starts_with(self, characters: bytes) -> bool:
        """Returns whether the first character that is no white space is one of these."""
        head = self.stream.peek(64).removeprefix(codecs.BOM_UTF8).lstrip()[:1]
        return bool(head) and head in characters


def _only(names: list[str]) -> str:
    if len(names) != 1:
        raise UserError(f"holds {len(names)} files ({listed(names, 5)}); unpack the one to read")
    return names[0]


@contextlib.contextmanager
def unpacked(
    path: Path,
    choose: Callable[[list[str]], str] = _only,
    track: Callable[[BinaryIO], BinaryIO] = lambda raw: raw,
) -> Iterator[Source]:
    """Opens a file; its first bytes tell how it is packed.

    Args:
        path: the file.
        choose: returns which of a zip's members to read, or raises a `UserError` that says what the
            archive holds. Takes one only by default.
        track: returns a reader around the file's own bytes, for a progress bar.

    Raises:
        UserError: it is no regular file, damaged or encrypted, or the member cannot be told; also
            raised inside the ``with``.
    """
    check_file(str(path))
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("rb", 0))
        raw: Any = stack.enter_context(io.BufferedReader(track(file), _BUFFER))  # type: ignore
        head, inner = raw.peek(len(XZ)), path
        content: Any = None
        if head.startswith(GZIP):
            content = gzip.GzipFile(fileobj=raw)
        elif head.startswith(XZ):
            content = lzma.LZMAFile(raw)  # noqa: SIM115
        elif head.startswith(ZIP):
            with _in_one_line(path):
                archive = stack.enter_context(zipfile.ZipFile(raw))
                names = [name for name in archive.namelist() if not name.endswith("/")]
                # macOS puts a hidden companion beside each file of an archive.
                member = choose([n for n in names if not re.search(r"(^|/)(\.|__MACOSX/)", n)])
                inner, content = path / member, archive.open(member)
        stream = io.BufferedReader(_Unpacked(path, content), _BUFFER) if content else raw
        yield Source(str(path), str(inner), stream, content is not None)


@contextlib.contextmanager
def _in_one_line(path: Path) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    # zipfile and the decompressors raise a dozen kinds, ValueError and OSError among them.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path}: damaged, cut short or encrypted ({reason}); fetch it again, or unpack it "
            "yourself"
        ) from None


class _Unpacked(io.RawIOBase):
    """Reads from a decompressor; each of its errors is one line."""

    def __init__(self, path: Path, stream: Any) -> None:
        self._path, self._stream = path, stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _in_one_line(self._path):
            data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
