"""Reads CSV with a header, one row at a time, and tells which rows cannot be read."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Iterator, Sequence

from components.errors import UserError
from components.input_files import check_columns

_DELIMITERS = ",;\t|"


def read_csv(
    lines: Iterable[bytes], wanted: Sequence[str], name: str, longest: int
) -> Iterator[tuple[int, dict[str, str] | str]]:
    """Reads CSV in UTF-8; the header tells the delimiter: comma, semicolon, tab or bar.

    Args:
        lines: with their line ends; consumed one at a time.
        wanted: columns that the header must have.
        name: of the file, for messages.
        longest: limit of a field, characters.

    Yields:
        The line that a row begins in, from 1, and {column: value}, or why it cannot be read.

    Raises:
        UserError: a wanted column is missing or occurs twice, or a line is not UTF-8.
    """
    csv.field_size_limit(longest)
    texts = _decoded(lines, name)
    first = next(texts, "").removeprefix("\ufeff")
    try:
        headers = {one: next(csv.reader([first], delimiter=one), []) for one in _DELIMITERS}
        delimiter = max(
            headers, key=lambda one: (set(wanted) <= set(headers[one]), len(headers[one]))
        )
        reader = csv.reader(itertools.chain([first], texts), delimiter=delimiter, strict=True)
        header = next(reader, [])
    except csv.Error as error:
        raise UserError(f"{name}:1: {error}") from None
    check_columns(wanted, header, name, "its first line, which must name the columns, has")
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, f"not CSV ({error})"
            continue
        if len(cells) == len(header):
            yield line, dict(zip(header, cells, strict=True))
        elif cells:
            yield (
                line,
                f"the row has {len(cells)} fields, the header {len(header)}; put quotes around a "
                f"text that holds the delimiter {delimiter!r}",
            )


def _decoded(lines: Iterable[bytes], name: str) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        try:
            yield line.decode()
        except UnicodeDecodeError:
            raise UserError(f"{name}:{number}: not UTF-8; save the file as UTF-8") from None
