"""Reads rows from CSV and JSON-lines files, plain or packed, in bounded memory."""

from __future__ import annotations

import codecs
import contextlib
import functools
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import orjson

from components.csv_rows import read_csv
from components.data_format import binary_kind
from components.errors import UserError
from components.input_files import check_columns
from components.packed_files import Source, unpacked

BLOCK = 8 << 20  # bytes, unpacked
MAX_LINE = 8 << 20
_MOST_ROWS = 1 << 14  # at a time
_FIRST_LINES = 3

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


@contextlib.contextmanager
def opened(path: Path, track: Callable[[BinaryIO], BinaryIO] = lambda raw: raw) -> Iterator[Source]:
    """Opens a file for :func:`rows`; see `packed_files.unpacked`.

    Raises:
        UserError: it is of another format, or cannot be opened or unpacked.
    """
    with unpacked(path, track=track) as source:
        if kind := binary_kind(source.stream.peek(16)):
            raise UserError(
                f"{path}: is {kind}; give CSV or JSON lines in UTF-8, plain, .gz, .xz or .zip (the "
                "pipeline reads a parquet as it is)"
            )
        yield source


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
            check_columns(wanted, known, source.name, "its first lines have")
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
    def whole() -> Iterator[tuple[int, Row]]:
        lines = iter(functools.partial(source.stream.readline, MAX_LINE), b"")
        for line, row in read_csv(lines, wanted, source.name, MAX_LINE):
            if isinstance(row, str):
                raise UserError(f"{source.name}:{line}: {row}")
            yield line, row

    found = whole()
    while part := list(itertools.islice(found, _MOST_ROWS)):
        tally.rows += len(part)
        yield part
