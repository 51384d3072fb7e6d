"""Texts from arguments, standard input and files, one at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from pipeline.client.api import check_length, encode
from pipeline.client.errors import BadInputError, ClientError, TextTooLongError

ARGUMENTS = "arguments"
STDIN = "stdin"

AUTO = "auto"
LINES = "lines"
WHOLE = "whole"
JSONL = "jsonl"
PARQUET = "parquet"
FORMATS = (AUTO, LINES, WHOLE, JSONL, PARQUET)

_BY_SUFFIX = {".jsonl": JSONL, ".ndjson": JSONL, ".parquet": PARQUET}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# A JSON line may hold other fields beside the text, and six bytes for one of it ("\u0041").
_JSON_LINE_FACTOR = 8
_PARQUET_ROWS = 256


class Row(NamedTuple):
    """A text and where it stands.

    Attributes:
        text: UTF-8, valid or not.
        source: a file's path, ``stdin`` or ``arguments``.
        number: of the line or row in its source, from 1.
        identifier: value of the id field; None where none was asked for.
    """

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
        identifier: field or column to copy to the output; None for none.
        longest: limit of a text, bytes.
        reject: what becomes of a row that cannot be used: it raises the error, or returns to go on
            with the next row.
    """

    text: str
    identifier: str | None
    longest: int
    reject: Callable[[ClientError], None] = _raise


def format_of(path: str, asked: str) -> str:
    """Returns the format of a file: what was asked, or what its suffix says, or lines."""
    return _BY_SUFFIX.get(Path(path).suffix.lower(), LINES) if asked == AUTO else asked


def read_arguments(texts: Iterable[str], fields: Fields) -> Iterator[Row]:
    """Yields each argument as a row.

    Raises:
        TextTooLongError: an argument is over the limit.
    """
    for number, text in enumerate(texts, 1):
        where = f"{ARGUMENTS}, text {number}"
        yield Row(check_length(encode(text), where, fields.longest), ARGUMENTS, number)


def read_file(path: str, form: str, fields: Fields) -> Iterator[Row]:
    """Yields the rows of a file in constant memory.

    Args:
        path: of the file.
        form: one of :data:`FORMATS`.
        fields: what to read.

    Raises:
        BadInputError: the file or a row cannot be read.
        TextTooLongError: a text is over the limit.
    """
    form = format_of(path, form)
    try:
        if form == PARQUET:
            yield from _read_parquet(path, fields)
            return
        with Path(path).open("rb") as stream:
            yield from read_stream(stream, path, form, fields)
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read ({error.strerror or error})") from None


def read_stream(stream: IO[bytes], source: str, form: str, fields: Fields) -> Iterator[Row]:
    """Yields the rows of a stream; see :func:`read_file`.

    Args:
        stream: binary, read from where it stands.
        source: its name in messages and output.
        form: lines, whole or jsonl (auto means lines).
        fields: what to read.
    """
    if form == PARQUET:
        raise BadInputError(
            f"{source}: parquet is read from files only, since its index is at the end"
        )
    if form == WHOLE:
        content = stream.read(fields.longest + 1).removeprefix(_BYTE_ORDER_MARK)
        yield Row(check_length(content, source, fields.longest), source, 1)
        return
    longest = fields.longest * (_JSON_LINE_FACTOR if form == JSONL else 1)
    for number, line in enumerate(_lines(stream, source, longest), 1):
        if form != JSONL:
            yield Row(line, source, number)
        elif line.strip():
            try:
                text, identifier = _parse(line, f"{source}, row {number}", fields)
            except ClientError as error:
                fields.reject(error)
            else:
                yield Row(text, source, number, identifier)


def _lines(stream: IO[bytes], source: str, longest: int) -> Iterator[bytes]:
    """Lines without their ends, none read beyond the limit."""
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


def _parse(line: bytes, where: str, fields: Fields) -> tuple[bytes, object]:
    """Text and id of a JSON line."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise BadInputError(f"{where}: not JSON ({reason})") from None
    if not isinstance(row, dict):
        raise BadInputError(f"{where}: not a JSON object with a field {fields.text!r}")
    for name in (fields.text, *([fields.identifier] if fields.identifier else [])):
        if name not in row:
            raise BadInputError(f"{where}: no field {name!r}; there are {_listed(row)}")
    text = row[fields.text]
    if not isinstance(text, str):
        raise BadInputError(f"{where}: field {fields.text!r} is not a string but {_kind(text)}")
    identifier = row[fields.identifier] if fields.identifier else None
    return check_length(encode(text), where, fields.longest), identifier


def _read_parquet(path: str, fields: Fields) -> Iterator[Row]:
    from components.arrow import UnreadableFileError, open_parquet, pa

    columns = list(dict.fromkeys([fields.text, fields.identifier or fields.text]))
    try:
        with open_parquet(path) as file:
            schema = file.schema_arrow
            for name in columns:
                if name not in schema.names:
                    raise BadInputError(
                        f"{path}: no column {name!r}; there are {_listed(schema.names)}"
                    )
            kind = schema.field(fields.text).type
            if not _is_text(pa, kind):
                raise BadInputError(f"{path}: column {fields.text!r} holds {kind}, not text")
            number = 0
            for batch in file.iter_batches(_PARQUET_ROWS, columns=columns):
                texts = batch.column(batch.schema.get_field_index(fields.text)).to_pylist()
                identifiers: list[Any] = [None] * len(texts)
                if fields.identifier:
                    index = batch.schema.get_field_index(fields.identifier)
                    identifiers = batch.column(index).to_pylist()
                for text, identifier in zip(texts, identifiers, strict=True):
                    number += 1
                    where = f"{path}, row {number}"
                    if text is None:
                        fields.reject(BadInputError(f"{where}: column {fields.text!r} is null"))
                        continue
                    try:
                        checked = check_length(encode(text), where, fields.longest)
                    except ClientError as error:
                        fields.reject(error)
                    else:
                        yield Row(checked, path, number, identifier)
    except UnreadableFileError as error:
        raise BadInputError(str(error)) from None
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path}: holds text that is no UTF-8 ({error.reason})") from None


def _is_text(pa: Any, kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = ("is_string", "is_large_string", "is_binary", "is_large_binary")
    return any(getattr(pa.types, test)(kind) for test in tests)


def _listed(names: Iterable[str], most: int = 12) -> str:
    """Names for a message, the first few of many."""
    found = [repr(name) for name in names]
    more = [f"and {len(found) - most} more"] if len(found) > most else []
    return ", ".join([*found[:most], *more]) or "none"


def _kind(value: object) -> str:
    """What JSON calls the type of a value."""
    names = {type(None): "null", bool: "a boolean", list: "an array", dict: "an object"}
    return names.get(type(value), "a number")
