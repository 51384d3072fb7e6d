"""Texts from arguments, standard input and files, one at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Literal, NamedTuple

from pipeline.client.errors import BadInputError, ClientError, TextTooLongError
from pipeline.client.texts import encode

ARGUMENTS = "arguments"
STDIN = "stdin"

Format = Literal["auto", "lines", "whole", "jsonl", "parquet"]
_BY_SUFFIX: dict[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# A JSON line may have other fields, and six bytes for one of the text's ("\u0041").
_JSON_LINE_FACTOR = 8
_PARQUET_ROWS = 256


class Row(NamedTuple):
    """A text (UTF-8, valid or not), its source, its number (from 1), and its id if requested."""

    text: bytes
    source: str
    number: int
    identifier: object = None


def _raise(error: ClientError) -> None:
    raise error


class Fields(NamedTuple):
    """How rows are read.

    Attributes:
        text: JSON field or parquet column of the text.
        identifier: field or column to copy to the output; None means none.
        longest: maximum length of a text, bytes.
        reject: gets the error of an unusable row; raises it, or returns to skip the row.
    """

    text: str
    identifier: str | None
    longest: int
    reject: Callable[[ClientError], None] = _raise

    def names(self) -> list[str]:
        return list(dict.fromkeys([self.text, self.identifier or self.text]))


def read_arguments(texts: Iterable[str], fields: Fields) -> Iterator[Row]:
    """Yields each argument as a row.

    Raises:
        TextTooLongError: a text is over the limit.
    """
    for number, text in enumerate(texts, 1):
        where = f"{ARGUMENTS}, text {number}"
        yield Row(encode(text, where, fields.longest), ARGUMENTS, number)


def read_file(path: str, form: Format, fields: Fields) -> Iterator[Row]:
    """Yields the rows of a file in constant memory.

    Args:
        path: the file to read.
        form: ``auto`` decides by the suffix.
        fields: what to read of each row.

    Raises:
        BadInputError: the file or a row cannot be read.
        TextTooLongError: a text is over the limit.
    """
    if form == "auto":
        form = _BY_SUFFIX.get(Path(path).suffix.lower(), "lines")
    try:
        if form == "parquet":
            yield from _read_parquet(path, fields)
            return
        with Path(path).open("rb") as stream:
            yield from read_stream(stream, path, form, fields)
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read ({error.strerror or error})") from None


def read_stream(stream: IO[bytes], source: str, form: Format, fields: Fields) -> Iterator[Row]:
    """Yields the rows of a stream; see :func:`read_file`.

    Args:
        stream: binary, read from its current position.
        source: its name in messages and output.
        form: lines, whole or jsonl (auto means lines).
        fields: what to read.
    """
    if form == "parquet":
        raise BadInputError(
            f"{source}: parquet is read from files only, since its index is at the end"
        )
    if form == "whole":
        content = stream.read(fields.longest + 1).removeprefix(_BYTE_ORDER_MARK)
        yield Row(encode(content, source, fields.longest), source, 1)
        return
    longest = fields.longest * (_JSON_LINE_FACTOR if form == "jsonl" else 1)
    for number, line in enumerate(_lines(stream, source, longest), 1):
        if form != "jsonl":
            yield Row(line, source, number)
        elif line.strip():
            try:
                yield _parse(line, source, number, fields)
            except ClientError as error:
                fields.reject(error)


def _lines(stream: IO[bytes], source: str, longest: int) -> Iterator[bytes]:
    """Yields lines without their line ends; never reads a line beyond the limit."""
    number = 0
    while line := stream.readline(longest + 2):
        number += 1
        if number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        ended = line.removesuffix(b"\n")
        if len(ended) > longest:
            raise TextTooLongError(
                f"{source}, row {number}: the line has more than {longest:,} bytes; "
                "shorten it or raise the limit"
            )
        yield ended.removesuffix(b"\r")


def _parse(line: bytes, source: str, number: int, fields: Fields) -> Row:
    where = f"{source}, row {number}"
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise BadInputError(f"{where}: not JSON ({reason})") from None
    if not isinstance(row, dict):
        raise BadInputError(f"{where}: not a JSON object with a field {fields.text!r}")
    for name in fields.names():
        if name not in row:
            raise BadInputError(f"{where}: no field {name!r}; there are {_listed(row)}")
    text = row[fields.text]
    if not isinstance(text, str):
        names = {type(None): "null", bool: "a boolean", list: "an array", dict: "an object"}
        kind = names.get(type(text), "a number")
        raise BadInputError(f"{where}: field {fields.text!r} is not a string but {kind}")
    identifier = row[fields.identifier] if fields.identifier else None
    return Row(encode(text, where, fields.longest), source, number, identifier)


def _read_parquet(path: str, fields: Fields) -> Iterator[Row]:
    from components.arrow import UnreadableFileError, is_text, open_parquet

    try:
        with open_parquet(path) as file:
            schema = file.schema_arrow
            for name in fields.names():
                if schema.get_field_index(name) < 0:
                    found = "more than one" if name in schema.names else "no"
                    raise BadInputError(
                        f"{path}: {found} column {name!r}; there are {_listed(schema.names)}"
                    )
            kind = schema.field(fields.text).type
            if not is_text(kind):
                raise BadInputError(f"{path}: column {fields.text!r} holds {kind}, not text")
            number = 0
            for batch in file.iter_batches(_PARQUET_ROWS, columns=fields.names()):
                for row in batch.to_pylist():
                    number += 1
                    where, text = f"{path}, row {number}", row[fields.text]
                    try:
                        if text is None:
                            raise BadInputError(f"{where}: column {fields.text!r} is null")
                        identifier = row[fields.identifier] if fields.identifier else None
                        yield Row(encode(text, where, fields.longest), path, number, identifier)
                    except ClientError as error:
                        fields.reject(error)
    except UnreadableFileError as error:
        raise BadInputError(str(error)) from None
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path}: holds text that is no UTF-8 ({error.reason})") from None


def _listed(names: Iterable[str], most: int = 12) -> str:
    """Formats names for a message, only the first ``most`` of them."""
    found = [repr(name) for name in names]
    more = [f"and {len(found) - most} more"] if len(found) > most else []
    return ", ".join([*found[:most], *more]) or "none"
