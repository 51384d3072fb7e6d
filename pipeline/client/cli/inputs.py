"""Texts from arguments, standard input and files, one at a time."""

from __future__ import annotations

import codecs
import csv
import gzip
import itertools
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from components.data_format import BYTE_ORDER_MARK, GZIP, HEAD, NAMES, check_text, recognize
from components.errors import UserError, listed
from components.input_files import find_files, missing
from pipeline.client.errors import BadInputError, ClientError, TextTooLongError
from pipeline.client.texts import encode

ARGUMENTS = "arguments"
STDIN = "stdin"

Format = Literal["auto", "lines", "whole", "jsonl", "json", "csv", "parquet"]
# A record may have other fields, and JSON six bytes for one of the text's ("\u0041").
_RECORD_FACTOR = 8
_PARQUET_ROWS = 256
_CHUNK = 1 << 16
_DELIMITERS = ",;\t|"


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
    """Yields the rows of a file, or of the files that a folder or glob names, in constant memory.

    Args:
        path: see ``input_files.find_files``.
        form: ``auto`` recognizes it by content and suffix.
        fields: what to read of each row.

    Raises:
        BadInputError: a file or a row cannot be read.
        TextTooLongError: a text is over the limit.
    """
    try:
        for file in find_files(path, NAMES):
            yield from _read_one(file, form, fields)
    except ClientError:
        raise
    except UserError as error:
        raise BadInputError(str(error)) from None


def _read_one(path: str, form: Format, fields: Fields) -> Iterator[Row]:
    try:
        with Path(path).open("rb") as raw:
            stream: Any = raw
            head = raw.peek(HEAD)[:HEAD]
            if head.startswith(GZIP):
                stream = gzip.GzipFile(fileobj=raw)
                head = stream.peek(HEAD)[:HEAD]
            if form == "auto":
                form = recognize(head, path)
            if form != "parquet":
                yield from read_stream(stream, path, form, fields)
                return
            _check_fields(path, fields)
        if stream is not raw:
            raise BadInputError(f"{path}: is parquet within gzip; decompress it first")
        yield from _read_parquet(path, fields)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadInputError(f"{path}: the gzip data are damaged or cut short ({error})") from None
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read ({error.strerror or error})") from None


def read_stream(stream: IO[bytes], source: str, form: Format, fields: Fields) -> Iterator[Row]:
    """Yields the rows of a stream; see :func:`read_file`.

    Args:
        stream: binary, read from its current position.
        source: its name in messages and output.
        form: lines, whole, jsonl, json or csv (auto means lines).
        fields: what to read.
    """
    if form == "parquet":
        raise BadInputError(
            f"{source}: parquet is read from files only, since its index is at the end"
        )
    longest = fields.longest * (1 if form in ("auto", "lines") else _RECORD_FACTOR)
    if form in ("jsonl", "json", "csv"):
        _check_fields(source, fields)
    if form == "whole":
        content = stream.read(fields.longest + 1).removeprefix(BYTE_ORDER_MARK)
        _check_text(content[:HEAD], source)
        yield Row(encode(content, source, fields.longest), source, 1)
    elif form == "json":
        yield from _read_array(stream, source, longest, fields)
    elif form == "csv":
        yield from _read_csv(_lines(stream, source, longest), source, fields)
    else:
        for number, raw in enumerate(_lines(stream, source, longest), 1):
            line = raw.removesuffix(b"\n").removesuffix(b"\r")
            try:
                if form != "jsonl":
                    if b"\0" in line:
                        raise BadInputError(f"{source}, row {number}: holds a NUL: not text")
                    yield Row(line, source, number)
                elif line.strip():
                    yield _parse(line, source, number, fields)
            except ClientError as error:
                fields.reject(error)


def _check_fields(source: str, fields: Fields) -> None:
    if not fields.text:
        raise BadInputError(
            f"{source}: the model joins several columns; name each with --field, in their order "
            "in training"
        )


def _check_text(head: bytes, source: str) -> None:
    try:
        check_text(head, source)
    except UserError as error:
        raise BadInputError(str(error)) from None


def _lines(stream: IO[bytes], source: str, longest: int) -> Iterator[bytes]:
    """Yields lines with their line ends; never reads a line beyond the limit."""
    number = 0
    while line := stream.readline(longest + 2):
        number += 1
        if number == 1:
            _check_text(line[:HEAD], source)
            line = line.removeprefix(BYTE_ORDER_MARK)
        if len(line.removesuffix(b"\n")) > longest:
            raise TextTooLongError(
                f"{source}, row {number}: the line has more than {longest:,} bytes; "
                "shorten it or raise the limit"
            )
        yield line


def _parse(line: bytes, source: str, number: int, fields: Fields) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{source}, row {number}: not JSON ({_json_reason(error)})") from None
    return _from_json(row, source, number, fields)


def _json_reason(error: Exception) -> str:
    return str(error) if isinstance(error, json.JSONDecodeError) else type(error).__name__


def _from_json(row: Any, source: str, number: int, fields: Fields) -> Row:
    where = f"{source}, row {number}"
    if not isinstance(row, dict):
        raise BadInputError(f"{where}: not a JSON object with a field {fields.shown!r}")
    absent = [name for name in fields.names() if name not in row]
    # Of several columns, training reads a missing one as empty.
    if len(fields.text) > 1 and not set(fields.text) <= set(absent):
        absent = [name for name in absent if name not in fields.text]
    if absent:
        raise BadInputError(f"{where}: no field {absent[0]!r}; there are {listed(row)}")
    text = fields.text_of(row)
    if not isinstance(text, str | bytes):
        names = {type(None): "null", bool: "a boolean", list: "an array", dict: "an object"}
        kind = names.get(type(text), "a number")
        raise BadInputError(f"{where}: field {fields.shown!r} is not a string but {kind}")
    identifier = row[fields.identifier] if fields.identifier else None
    return Row(encode(text, where, fields.longest), source, number, identifier)


def _read_array(stream: IO[bytes], source: str, longest: int, fields: Fields) -> Iterator[Row]:
    """Reads a JSON array of strings or objects, an element at a time."""
    for number, element in enumerate(_elements(stream, source, longest), 1):
        where = f"{source}, row {number}"
        try:
            if isinstance(element, str) and fields.identifier is None:
                yield Row(encode(element, where, fields.longest), source, number)
            else:
                yield _from_json(element, source, number, fields)
        except ClientError as error:
            fields.reject(error)


def _elements(stream: IO[bytes], source: str, longest: int) -> Iterator[Any]:
    """Yields the elements of a JSON array; keeps one of them in memory."""
    decode = codecs.getincrementaldecoder("utf-8-sig")().decode
    parse = json.JSONDecoder().raw_decode
    # What is read and not parsed, and how it must begin.
    rest, opening, ended = "", "[", False
    for number in itertools.count(1):
        where = f"{source}, row {number}"
        while True:
            rest = rest.lstrip()
            element = rest[1:].lstrip()
            if rest.startswith("]") if number > 1 else element.startswith("]"):
                after = rest[1:] if number > 1 else element[1:]
                if after.strip() or stream.read(_CHUNK).strip():
                    raise BadInputError(f"{where}: there is more after the end of the array")
                return
            try:
                if not rest.startswith(opening):
                    ended = ended or bool(rest)
                    raise json.JSONDecodeError(f"Expecting {opening!r}", rest, 0)
                found, end = parse(element)
                break
            except (ValueError, RecursionError) as error:
                if ended:
                    raise BadInputError(f"{where}: not JSON ({_json_reason(error)})") from None
            if len(rest) > longest:
                raise TextTooLongError(f"{where}: has more than {longest:,} bytes, or is no JSON")
            chunk = stream.read(max(_CHUNK, len(rest)))
            ended = not chunk
            if not rest:
                _check_text(chunk[:HEAD], source)
            try:
                rest += decode(chunk, ended)
            except UnicodeDecodeError:
                raise BadInputError(f"{where}: is not UTF-8") from None
        yield found
        rest, opening = element[end:], ","


def _read_csv(lines: Iterator[bytes], source: str, fields: Fields) -> Iterator[Row]:
    """Reads CSV with a header, delimited by what divides off the name of the texts there."""
    csv.field_size_limit(fields.longest * _RECORD_FACTOR)
    decoded = _decoded(lines, source)
    first = next(decoded, "")
    delimiter = next(
        (
            one
            for one in _DELIMITERS
            if fields.text[0] in next(csv.reader([first], delimiter=one), [])
        ),
        ",",
    )
    reader = csv.reader(itertools.chain([first], decoded), delimiter=delimiter, strict=True)
    names = next(reader, [])
    _check_names(names, source, fields)
    number = 0
    while True:
        try:
            cells = next(reader, None)
            if cells is None:
                return
            if cells:
                number += 1
                yield _from_csv(names, cells, source, number, fields)
        except csv.Error as error:
            number += 1
            fields.reject(BadInputError(f"{source}, row {number}: not CSV ({error})"))
        except ClientError as error:
            fields.reject(error)


def _decoded(lines: Iterator[bytes], source: str) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        try:
            yield line.decode()
        except UnicodeDecodeError:
            raise BadInputError(f"{source}, line {number}: is not UTF-8") from None


def _from_csv(names: list[str], cells: list[str], source: str, number: int, fields: Fields) -> Row:
    where = f"{source}, row {number}"
    if len(cells) != len(names):
        raise BadInputError(f"{where}: has {len(cells)} cells, and the header {len(names)}")
    row = dict(zip(names, cells, strict=True))
    text = fields.text_of(row)
    if not text:
        raise BadInputError(f"{where}: column {fields.shown!r} is empty")
    identifier = (row[fields.identifier] or None) if fields.identifier else None
    return Row(encode(text, where, fields.longest), source, number, identifier)


def _check_names(names: list[str], source: str, fields: Fields) -> None:
    for name in fields.names():
        if names.count(name) != 1:
            raise BadInputError(f"{source}: {missing(name, names, source)}")


def _read_parquet(path: str, fields: Fields) -> Iterator[Row]:
    from components.arrow import UnreadableFileError, is_text, open_parquet

    try:
        with open_parquet(path) as file:
            schema = file.schema_arrow
            _check_names(schema.names, path, fields)
            for name in fields.text:
                if not is_text(kind := schema.field(name).type):
                    raise BadInputError(f"{path}: column {name!r} holds {kind}, not text")
            number = 0
            for batch in file.iter_batches(_PARQUET_ROWS, columns=fields.names()):
                for row in batch.to_pylist():
                    number += 1
                    where, text = f"{path}, row {number}", fields.text_of(row)
                    try:
                        if text is None:
                            raise BadInputError(f"{where}: column {fields.shown!r} is null")
                        identifier = row[fields.identifier] if fields.identifier else None
                        yield Row(encode(text, where, fields.longest), path, number, identifier)
                    except ClientError as error:
                        fields.reject(error)
    except UnreadableFileError as error:
        raise BadInputError(str(error)) from None
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path}: holds text that is no UTF-8 ({error.reason})") from None
