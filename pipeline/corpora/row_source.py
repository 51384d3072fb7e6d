"""Reads rows from CSV and JSON-lines files, plain, gzipped or zipped, in bounded memory."""

from __future__ import annotations

import codecs
import contextlib
import csv
import difflib
import gzip
import io
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import orjson

from components.errors import UserError

BLOCK = 8 << 20  # bytes, unpacked
MAX_LINE = 8 << 20
_MOST_ROWS = 1 << 14  # at a time
_DELIMITERS = ",;\t|"
_FIRST_LINES = 3
_OTHER_FORMATS = (b"PAR1", b"BZh", b"\xfd7zXZ", b"(\xb5/\xfd")

Item = TypeVar("Item")
Row = dict[str, Any]
# Each row, {column: value}, with the line of the file that it begins in, from 1.
Rows = list[tuple[int, Row]]


@dataclass
class Tally:
    """Counts the rows of a file, blank lines apart, and those left out, by reason.

    Attributes:
        first_lines: the lines of the first rows that were left out, by reason.
        classes: the rows imported, by class.
    """

    rows: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    first_lines: dict[str, list[int]] = field(default_factory=dict)

    def leave_out(self, reason: str, lines: list[int]) -> None:
        if lines:
            self.left_out[reason] += len(lines)
            named = self.first_lines.setdefault(reason, [])
            named += lines[: _FIRST_LINES - len(named)]


class Source(NamedTuple):
    """An open file: its name for messages, and its content, unpacked."""

    name: str
    stream: io.BufferedReader

    def starts_with(self, characters: bytes) -> bool:
        """Returns whether the first character that is no white space is one of these."""
        head = self.stream.peek(64).removeprefix(codecs.BOM_UTF8).lstrip()[:1]
        return bool(head) and head in characters


@contextlib.contextmanager
def opened(path: Path, track: Callable[[BinaryIO], BinaryIO] = lambda raw: raw) -> Iterator[Source]:
    """Opens a file that is plain, gzipped or a zip of one member, whatever its name.

    Args:
        path: the file.
        track: returns a reader around the file's own bytes, for a progress bar.

    Raises:
        UserError: it is no regular file, of another format, or damaged, even inside the ``with``.
    """
    if not path.is_file():
        raise UserError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}")
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("rb", 0))
        raw: Any = stack.enter_context(io.BufferedReader(track(file), 1 << 18))  # type: ignore
        head = raw.peek(6)
        if head.startswith(_OTHER_FORMATS):
            raise UserError(
                f"{path}: is parquet, or packed by bzip2, xz or zstd; give CSV or JSON lines, "
                "plain, .gz or .zip (the pipeline reads a parquet as it is)"
            )
        if head.startswith(b"\x1f\x8b"):
            raw = io.BufferedReader(_Unpacked(path, gzip.GzipFile(fileobj=raw)))
        elif head.startswith(b"PK\x03\x04"):
            with _unpacking(path):
                archive = stack.enter_context(zipfile.ZipFile(raw))
                raw = io.BufferedReader(_Unpacked(path, archive.open(_only_member(path, archive))))
        yield Source(str(path), raw)


def _only_member(path: Path, archive: zipfile.ZipFile) -> str:
    names = [name for name in archive.namelist() if not name.endswith("/")]
    # macOS puts a hidden companion beside each file of an archive.
    shown = [name for name in names if not re.search(r"(^|/)(\.|__MACOSX/)", name)]
    if len(shown) != 1:
        listed = ", ".join(map(repr, shown[:5])) or "none"
        raise UserError(f"{path}: holds {len(shown)} files ({listed}); unpack the one to read")
    return shown[0]


@contextlib.contextmanager
def _unpacking(path: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
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
        with _unpacking(self._path):
            data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yields the items; a thread makes the next one while the caller works on this one."""
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(next, items, None)
        while (item := waiting.result()) is not None:
            waiting = thread.submit(next, items, None)
            yield item


def rows(source: Source, tally: Tally, wanted: Sequence[str] = ()) -> Iterator[Rows]:
    """Reads a CSV or JSON-lines file, by its content, some rows at a time; CSV has only strings.

    Args:
        source: the open file.
        tally: counts the rows, and lines of a JSON-lines file that are no objects.
        wanted: columns that the file must have.

    Raises:
        UserError: a column is missing or occurs twice, or a row of a CSV file is ragged.
    """
    if not source.starts_with(b"{["):
        yield from _csv_rows(source, tally, wanted)
        return
    for number, part in enumerate(json_rows(source, tally)):
        if number == 0:
            known = list(dict.fromkeys(name for _, row in part for name in row))
            _require(source.name, wanted, known, "its first lines have")
        yield part


def json_rows(source: Source, tally: Tally) -> Iterator[Rows]:
    """Reads JSON lines, one object a line, in UTF-8.

    Raises:
        UserError: the file is one JSON array.
    """
    if source.starts_with(b"["):
        raise UserError(f"{source.name}: is one JSON array; write one object a line (jq -c '.[]')")
    for first, lines in ahead(_line_blocks(source.stream)):
        part: Rows = []
        for number, line in enumerate(lines, first):
            value = _parsed(line)
            if isinstance(value, dict):
                part.append((number, value))
            elif line.strip():
                tally.rows += 1
                tally.leave_out(value, [number])
        tally.rows += len(part)
        yield part


def _line_blocks(stream: BinaryIO) -> Iterator[tuple[int, list[bytes]]]:
    """Yields lines and the number of the first; an overlong one is cut, and still too long."""
    number, rest = 1, b""
    while block := stream.read(BLOCK):
        lines = (rest + block).split(b"\n")
        rest = lines.pop()[: MAX_LINE + 1]
        if number == 1 and lines:
            lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
        for start in range(0, len(lines), _MOST_ROWS):
            yield number + start, lines[start : start + _MOST_ROWS]
        number += len(lines)
    yield number, [rest.removeprefix(codecs.BOM_UTF8)]


def _parsed(line: bytes) -> Row | str:
    """Returns the object, or why the line is none."""
    if len(line) > MAX_LINE:
        return f"over {MAX_LINE >> 20} MiB"
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return "not UTF-8" if re.search("UTF-8|surrogate", str(error)) else "not JSON"
    return value if isinstance(value, dict) else "no JSON object"


def _csv_rows(source: Source, tally: Tally, wanted: Sequence[str]) -> Iterator[Rows]:
    """Reads a CSV file with a header, in UTF-8; the header tells the delimiter."""
    csv.field_size_limit(MAX_LINE)
    lines = iter(lambda: source.stream.readline(MAX_LINE).decode(), "")
    number = 1
    try:
        first = next(lines, "").removeprefix("\ufeff")
        delimiter, header = max(
            ((one, next(csv.reader([first], delimiter=one), [])) for one in _DELIMITERS),
            key=lambda found: (set(wanted) <= set(found[1]), len(found[1])),
        )
        _require(source.name, wanted, header, "its first line, which must name the columns, has")
        number = 2
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        while True:
            part: Rows = []
            for fields in reader:
                if fields and len(fields) != len(header):
                    raise csv.Error(
                        f"the row has {len(fields)} fields, the header {len(header)}; put quotes "
                        f"around a text that holds the delimiter {delimiter!r}"
                    )
                if fields:
                    part.append((number, dict(zip(header, fields, strict=True))))
                number = reader.line_num + 2
                if len(part) == _MOST_ROWS:
                    break
            tally.rows += len(part)
            if not part:
                return
            yield part
    except UnicodeDecodeError:
        raise UserError(f"{source.name}:{number}: not UTF-8; save the file as UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{source.name}:{number}: {error}") from None


def _require(name: str, wanted: Sequence[str], known: list[str], where: str) -> None:
    missing = [one for one in wanted if one not in known]
    if missing:
        nearest = [difflib.get_close_matches(one, known, 1, 0.5) for one in missing]
        hints = [f" (is it {near[0]!r}?)" if near else "" for near in nearest]
        named = ", ".join(f"{one!r}{hint}" for one, hint in zip(missing, hints, strict=True))
        shown = ", ".join(repr(one[:40]) for one in known[:12]) or "nothing"
        raise UserError(f"{name}: no column {named}; {where} {shown}")
    for one in wanted:
        if known.count(one) > 1:
            raise UserError(f"{name}: column {one!r} occurs {known.count(one)} times; keep one")
