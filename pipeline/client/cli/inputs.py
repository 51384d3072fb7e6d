"""Texts from arguments, standard input and files, one at a time."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from components.csv_rows import read_csv
from components.data_format import BYTE_ORDER_MARK, HEAD, NAMES, check_text, recognize
from components.errors import UserError, listed
from components.input_files import check_columns, find_files
from components.packed_files import unpacked
from pipeline.client.errors import BadInputError, ClientError, TextTooLongError
from pipeline.client.texts import encode

ARGUMENTS = "arguments"
STDIN = "stdin"

Format = Literal["auto", "lines", "whole", "jsonl", "json", "csv", "parquet"]
# A record may have other fields, and JSON six bytes for one of the text's ("\u0041").
_RECORD_FACTOR = 8
_PARQUET_ROWS = 256
# Bytes. Reading an array takes three to four times as much memory.
LARGEST_ARRAY = 256 << 20


class Row(NamedTuple):
    """A text (UTF-8, valid or not), its source, its number (from 1), and its id if requested."""

    text: bytes
    source: str
    number: int
    identifier: object = None


def _raise(error: ClientError) -> None:
    raise error


class _Fault(str):
    """Why a row cannot be read."""


class Fields(NamedTuple):
    """How rows are read.

    Attributes:
        text: JSON fields or columns of the text; several are joined by newlines, as in training.
        identifier: field or column to copy to the output; None means none.
        longest: maximum length of a text, bytes.
        reject: gets the error of an unusable row; raises it, or returns to skip the row.
    """

    text: tuple[str, ...]
    identifier: str | None
    longest: int
    reject: Callable[[ClientError], None] = _raise

    def names(self) -> list[str]:
        return list(dict.fromkeys([*self.text, self.identifier or self.text[0]]))

    @property
    def shown(self) -> str:
        """The text's name in messages."""
        return " + ".join(self.text)

    def text_of(self, row: Mapping[str, Any]) -> Any:
        """Returns a row's text; what is no text, or nothing, as it is."""
        values = [row.get(name) for name in self.text]
        given = [value for value in values if value not in (None, "", b"")]
        strange = [value for value in given if not isinstance(value, str | bytes)]
        if len(given) < 2 or strange:
            return next(iter([*strange, *given, *values]))
        return b"\n".join(encode(value, self.shown, self.longest) for value in given)


def read_arguments(texts: Iterable[str], fields: Fields) -> Iterator[Row]:
    """Yields each argument as a row.

    Raises:
        TextTooLongError: a text is over the limit.
    """
    for number, text in enumerate(texts, 1):
        where = f"{ARGUMENTS}, text {number}"
        yield Row(encode(text, where, fields.longest), ARGUMENTS, number)


def with_ids(rows: Iterable[Row], source: str, fields: Fields) -> Iterator[Row]:
    """Yields the rows.

    Raises:
        BadInputError: at the end, if ids are asked for and all of them are null.
    """
    count, named = 0, fields.identifier is None
    for row in rows:
        count += 1
        named = named or row.identifier is not None
        yield row
    if count and not named:
        raise BadInputError(f"{source}: {fields.identifier!r} is null in all {count:,} rows")


def read_file(path: str, form: Format, fields: Fields) -> Iterator[Row]:
    """Yields the rows of a file, or of the files that a folder or glob names.

    Takes constant memory, but for JSON arrays.

    Args:
        path: see ``input_files.find_files``.
        form: ``auto`` recognizes it by content and suffix.
        fields: what to read of each row.

    Raises:
        BadInputError: a file or a row cannot be read.
        TextTooLongError: a text is over the limit.
    """
    with _bad_input():
        for file in find_files(path, NAMES):
            try:
                yield from _read_file(file, form, fields)
            except OSError as error:
                raise UserError(f"{file}: cannot be read ({error.strerror or error})") from None


def read_stream(stream: IO[bytes], source: str, form: Format, fields: Fields) -> Iterator[Row]:
    """Yields the rows of a stream, each as soon as it is there; see :func:`read_file`.

    Args:
        stream: binary, read from its current position.
        source: its name in messages and output.
        form: lines, whole, jsonl, json or csv (auto means lines).
        fields: what to read.
    """
    with _bad_input():
        yield from _read_stream(stream, source, form, fields)


@contextlib.contextmanager
def _bad_input() -> Iterator[None]:
    try:
        yield
    except ClientError:
        raise
    except UserError as error:
        raise BadInputError(str(error)) from None


def _read_file(path: str, form: Format, fields: Fields) -> Iterator[Row]:
    with unpacked(Path(path)) as file:
        if form == "auto":
            form = recognize(file.stream.peek(HEAD)[:HEAD], file.inner)
        if form != "parquet":
            yield from _read_stream(file.stream, path, form, fields)
            return
    _check_fields(path, fields)
    if file.packed:
        raise BadInputError(f"{path}: is parquet within a packed file; unpack it first")
    yield from _read_parquet(path, fields)


def _read_stream(stream: IO[bytes], source: str, form: Format, fields: Fields) -> Iterator[Row]:
    if form == "parquet":
        raise BadInputError(
            f"{source}: parquet is read from files only, since its index is at the end"
        )
    if form in ("jsonl", "json", "csv"):
        _check_fields(source, fields)
    if form == "whole":
        content = stream.read(fields.longest + 1).removeprefix(BYTE_ORDER_MARK)
        check_text(content[:HEAD], source)
        yield Row(encode(content, source, fields.longest), source, 1)
        return
    for number, value in _values(stream, source, form, fields):
        try:
            yield _row(value, source, number, fields)
        except ClientError as error:
            fields.reject(error)


def _check_fields(source: str, fields: Fields) -> None:
    if not fields.text:
        raise BadInputError(
            f"{source}: the model joins several columns; name each with --field, in their order "
            "in training"
        )


def _values(
    stream: IO[bytes], source: str, form: Format, fields: Fields
) -> Iterator[tuple[int, Any]]:
    """Yields the number of each row, and a text, an object with fields, or a `_Fault`."""
    if form == "json":
        for number, value in enumerate(_array(stream, source), 1):
            plain = isinstance(value, str) and fields.identifier is None
            yield number, value.encode("utf-8", "surrogatepass") if plain else value
        return
    longest = fields.longest * (_RECORD_FACTOR if form in ("jsonl", "csv") else 1)
    lines = _lines(stream, source, longest)
    if form == "csv":
        for number, (_, row) in enumerate(read_csv(lines, fields.names(), source, longest), 1):
            if isinstance(row, str):
                yield number, _Fault(row)
            else:
                yield number, {name: cell or None for name, cell in row.items()}
        return
    for number, line in enumerate(lines, 1):
        if form != "jsonl":
            text = line.removesuffix(b"\n").removesuffix(b"\r")
            yield number, _Fault("holds a NUL: not text") if b"\0" in text else text
        elif line.strip():
            yield number, _parsed(line)


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except UnicodeDecodeError:
        return _Fault("is not UTF-8")
    except json.JSONDecodeError as error:
        return _Fault(f"not JSON ({error})")
    except (ValueError, RecursionError) as error:
        return _Fault(f"not JSON ({type(error).__name__})")


def _array(stream: IO[bytes], source: str) -> list[Any]:
    content = stream.read(LARGEST_ARRAY + 1).removeprefix(BYTE_ORDER_MARK)
    if len(content) > LARGEST_ARRAY:
        raise BadInputError(
            f"{source}: is a JSON array of over {LARGEST_ARRAY >> 20} MiB; write one object a line "
            "(jq -c '.[]')"
        )
    check_text(content[:HEAD], source)
    found = _parsed(content)
    if isinstance(found, _Fault):
        raise BadInputError(f"{source}: {found}")
    if not isinstance(found, list):
        raise BadInputError(f"{source}: not a JSON array")
    return found


def _row(value: Any, source: str, number: int, fields: Fields) -> Row:
    """Returns the row of a text, or of an object with the fields."""
    where = f"{source}, row {number}"
    if isinstance(value, _Fault):
        raise BadInputError(f"{where}: {value}")
    if isinstance(value, bytes):
        return Row(encode(value, where, fields.longest), source, number)
    if not isinstance(value, dict):
        raise BadInputError(f"{where}: not a JSON object with a field {fields.shown!r}")
    absent = [name for name in fields.names() if name not in value]
    # Of several columns, training reads a missing one as empty.
    if len(fields.text) > 1 and not set(fields.text) <= set(absent):
        absent = [name for name in absent if name not in fields.text]
    if absent:
        raise BadInputError(f"{where}: no field {absent[0]!r}; there are {listed(value)}")
    text = fields.text_of(value)
    if text is None:
        raise BadInputError(f"{where}: there is no text in {fields.shown!r}")
    if not isinstance(text, str | bytes):
        kind = {bool: "a boolean", list: "an array", dict: "an object"}.get(type(text), "a number")
        raise BadInputError(f"{where}: field {fields.shown!r} is not a string but {kind}")
    identifier = value[fields.identifier] if fields.identifier else None
    return Row(encode(text, where, fields.longest), source, number, identifier)


def _lines(stream: IO[bytes], source: str, longest: int) -> Iterator[bytes]:
    """Yields lines with their line ends; never reads a line beyond the limit."""
    number = 0
    while line := stream.readline(longest + 2):
        number += 1
        if number == 1:
            check_text(line[:HEAD], source)
            line = line.removeprefix(BYTE_ORDER_MARK)
        if len(line.removesuffix(b"\n")) > longest:
            raise TextTooLongError(
                f"{source}, row {number}: the line has more than {longest:,} bytes; "
                "shorten it or raise the limit"
            )
        yield line


def _read_parquet(path: str, fields: Fields) -> Iterator[Row]:
    from components.arrow import is_text, open_parquet

    try:
        with open_parquet(path) as file:
            schema = file.schema_arrow
            check_columns(fields.names(), schema.names, path)
            for name in fields.text:
                if not is_text(kind := schema.field(name).type):
                    raise BadInputError(f"{path}: column {name!r} holds {kind}, not text")
            number = 0
            for batch in file.iter_batches(_PARQUET_ROWS, columns=fields.names()):
                for row in batch.to_pylist():
                    number += 1
                    try:
                        yield _row(row, path, number, fields)
                    except ClientError as error:
                        fields.reject(error)
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path}: holds text that is no UTF-8 ({error.reason})") from None
