"""Files of every format give the same rows; what holds no texts is refused in one line."""

from __future__ import annotations

import bz2
import contextlib
import csv
import gzip
import io
import json
import lzma
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.arrow import pa, pq
from pipeline.client.cli import inputs
from pipeline.client.errors import BadInputError, ClientError, TextTooLongError

ROWS = [
    {"id": "0704.0001", "abstract": "We prove\nthat P = P.", "title": "A title, with a comma"},
    {"id": "0704.0002", "abstract": 'Of "quotes", and é 😀', "title": "ü"},
    {"id": "0704.0003", "abstract": "third; text|here\twith tab", "title": "-"},
]
TEXTS = [row["abstract"].encode() for row in ROWS]
IDS = [row["id"] for row in ROWS]
FIELDS = inputs.Fields(("abstract",), "id", 10_000)
BOM = b"\xef\xbb\xbf"


def read(path: Path, fields: inputs.Fields = FIELDS, form: inputs.Format = "auto") -> list:
    return list(inputs.read_file(str(path), form, fields))


def json_lines() -> bytes:
    return "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def json_array(indent: int | None = None) -> bytes:
    return json.dumps(ROWS, indent=indent, ensure_ascii=False).encode()


def table(delimiter: str = ",") -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(ROWS[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return out.getvalue().encode()


def parquet(**options: str) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), out, **options)
    return out.getvalue()


def archive(*members: str | bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, content in zip(members[::2], members[1::2], strict=True):
            made.writestr(name, content)
    return out.getvalue()


SAME = {
    "rows.jsonl": json_lines(),
    "rows.ndjson": BOM + json_lines(),
    "dump.json": json_lines(),
    "dump.txt": json_lines(),
    "dump": json_lines().rstrip(b"\n"),
    "rows.jsonl.gz": gzip.compress(json_lines()),
    "two_members.jsonl.gz": gzip.compress(json_lines()[:50]) + gzip.compress(json_lines()[50:]),
    "array.json": json_array(),
    "indented.json": BOM + json_array(indent=2),
    "array.json.gz": gzip.compress(json_array(1)),
    "array.jsonl": json_array(),
    "rows.csv": table(),
    "excel.csv": BOM + table(";"),
    "rows.tsv": table("\t"),
    "rows.CSV.gz": gzip.compress(table()),
    "unix.csv": table().replace(b"\r\n", b"\n"),
    "rows.parquet": parquet(),
    "rows.pq": parquet(),
    "rows.parquet.gzip": parquet(compression="gzip"),
    "rows.csv.snappy": parquet(),
    "no_suffix": parquet(),
    "looks.json": parquet(),
    "rows.jsonl.xz": lzma.compress(json_lines()),
    "rows.csv.xz": lzma.compress(table()),
    "rows.zip": archive("rows.csv", table()),
    "rows.jsonl.zip": archive("x/rows", json_lines()),
}


@pytest.mark.parametrize("name", SAME)
def test_formats_give_the_same_rows(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(SAME[name])
    rows = read(path)
    assert [row.text for row in rows] == TEXTS
    assert [row.identifier for row in rows] == IDS
    assert [row.number for row in rows] == [1, 2, 3]
    assert {row.source for row in rows} == {str(path)}


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("a.txt", b"one\r\n\ntwo", [b"one", b"", b"two"]),
        ("a.txt", BOM + b"one\n", [b"one"]),
        ("a.txt.gz", gzip.compress(b"one\ntwo\n", mtime=0), [b"one", b"two"]),
        ("a.txt", b"[1] A reference.\n{x} is a set.\n", [b"[1] A reference.", b"{x} is a set."]),
        ("a.txt", "é".encode() * 5000, ["é".encode() * 5000]),
        ("a.txt", b"a" + "é".encode() * 4000, [b"a" + "é".encode() * 4000]),
        ("a.txt", b"", []),
        ("a.txt", b"PAR1 receptors\nORCHIDS\n", [b"PAR1 receptors", b"ORCHIDS"]),
        ("a.md", b"id,abstract\n", [b"id,abstract"]),
        ("a.json", b'["one", "tw\\u006f"]', [b"one", b"two"]),
        ("a.json", b" [ ] \n", []),
        ("a.jsonl", b"", []),
        ("a.csv", b"abstract\n\none\n", [b"one"]),
    ],
)
def test_texts_without_ids(name: str, content: bytes, texts: list[bytes], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    fields = FIELDS._replace(identifier=None)
    assert [row.text for row in read(tmp_path / name, fields)] == texts


REFUSED = {
    "noise.bin": (random.Random(7).randbytes(4096), ": holds binary data"),
    "short.txt": (b"caf\xe9 au lait\n", ": is not UTF-8 (invalid continuation byte, byte 3)"),
    "nul.txt": (b"one\0two\n", ": holds binary data"),
    "late.txt": (b"one\n" * 2000 + b"a\0b\n", ", row 2001: holds a NUL: not text"),
    "utf16.txt": ("one\n".encode("utf-16"), ": is UTF-16 text"),
    "big.csv": (b"\xfe\xff" + "id,abstract\n".encode("utf-16-be"), ": is UTF-16 text"),
    "no_mark.txt": ("one\n".encode("utf-16-le"), ": holds binary data"),
    "rows.zip": (archive("a", b"", "b", b""), ": holds 2 files ('a', 'b'); unpack the one"),
    "inner.zip": (archive("a", archive("b", b"")), "/a: is a zip archive"),
    "rows.jsonl.bz2": (bz2.compress(json_lines()), ": is bzip2-compressed"),
    "cut.jsonl.xz": (lzma.compress(json_lines())[:-20], ": damaged, cut short or encrypted ("),
    "rows.jsonl": (b"\x28\xb5\x2f\xfd....", ": is zstd-compressed"),
    "a.arrow": (b"ARROW1\0\0", ": is an Arrow file"),
    "paper.pdf": (b"%PDF-1.7\n", ": is a PDF document"),
    "twice.gz": (gzip.compress(gzip.compress(b"one\n")), ": is gzip-compressed"),
    "inner.parquet.gz": (gzip.compress(parquet()), ": is parquet within a packed file"),
    "cut.jsonl.gz": (gzip.compress(json_lines())[:-20], ": damaged, cut short or encrypted ("),
    "bad.txt.gz": (b"\x1f\x8b\x08junk, and more of it", ": damaged, cut short or encrypted ("),
    "empty.parquet": (b"", ": cannot be read as parquet"),
    "text.parquet": (b"one\n", ": cannot be read as parquet"),
    "cut.parquet": (parquet()[:-9], ": cannot be read as parquet"),
    "number.json": (b"7\n", ": is neither a JSON array nor JSON lines"),
    "pretty.json": (b'{\n "abstract": "one"\n}\n', ", row 1: not JSON ("),
    "cut.json": (json_array()[:-30], ": not JSON ("),
    "open.json": (json_array()[:-1], ": not JSON ("),
    "comma.json": (json_array()[:-1] + b",]", ": not JSON ("),
    "two.json": (json_array() * 2, ": not JSON (Extra data: "),
    "mixed.json": (b'[{"id": 1, "abstract": "x"}, 3]', ", row 2: not a JSON object"),
    "strings.json": (b'["x"]', ", row 1: not a JSON object"),
    "null.json": (b'[{"id": 1, "abstract": null}]', ", row 1: there is no text in 'abstract'"),
    "latin.json": (b'[{"id": 1, "abstract": "\xe9"}]', ": is not UTF-8"),
    "header.csv": (
        b"id,text\n1,x\n",
        ": no column 'abstract'; its first line, which must name the ",
    ),
    "nothing.csv": (
        b"",
        ": no column 'abstract', 'id'; its first line, which must name the ",
    ),
    "twice.csv": (b"id,abstract,abstract\n", ": column 'abstract' occurs 2 times; keep one"),
    "cells.csv": (b"id,abstract\n1,x\n2,x,y\n", ", row 2: the row has 3 fields, the header 2"),
    "blank.csv": (b"id,abstract\n1,\n", ", row 1: there is no text in 'abstract'"),
    "quote.csv": (b'id,abstract\n1,"x" y\n', ", row 1: not CSV ("),
    "unended.csv": (b'id,abstract\n1,"x\n', ", row 1: not CSV ("),
    "latin.csv": (b"id,abstract\n1,caf\xe9\n", ":2: not UTF-8; save"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_files_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    content, reason = REFUSED[name]
    (tmp_path / name).write_bytes(content)
    fields = FIELDS if "." in name and name.split(".")[1] in ("json", "csv", "parquet") else None
    with pytest.raises(BadInputError) as refused:
        read(tmp_path / name, fields or FIELDS._replace(identifier=None))
    assert str(refused.value).startswith(f"{tmp_path / name}{reason}")
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 7


@pytest.mark.parametrize("form", ["lines", "whole", "jsonl", "json", "csv"])
def test_binary_files_are_refused_whatever_format_is_named(
    form: inputs.Format, tmp_path: Path
) -> None:
    path = tmp_path / "rows"
    path.write_bytes(parquet())
    with pytest.raises(ClientError, match=r": is parquet; give"):
        read(path, form=form)


def test_stdin_that_is_no_text_is_refused() -> None:
    for content in (parquet(), gzip.compress(b"x"), b"a\0b\n"):
        with pytest.raises(BadInputError, match=r"^stdin: "):
            list(inputs.read_stream(io.BytesIO(content), "stdin", "auto", FIELDS))


def test_columns_that_occur_twice_are_refused(tmp_path: Path) -> None:
    columns = [pa.array(["a"]), pa.array(["b"]), pa.array(["c"])]
    path = tmp_path / "twice.parquet"
    for names in (["id", "abstract", "abstract"], ["id", "id", "abstract"]):
        pq.write_table(pa.Table.from_arrays(columns, names), path)
        with pytest.raises(BadInputError, match=r"twice\.parquet: column '\w+' occurs 2 times"):
            read(path)


def test_partition_key_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "id=7" / "x.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({"abstract": ["a"]}), path)
    with pytest.raises(BadInputError, match=r"no column 'id' \(a partition key"):
        read(tmp_path)


def test_folders_and_globs_are_read_file_by_file(tmp_path: Path) -> None:
    for name in ("b/rows.jsonl", "a.csv", "_temporary/x.jsonl", ".c.jsonl", "_SUCCESS", "note.doc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(SAME.get(name.rpartition("/")[2], table()))
    for pattern in ("", "**/*.[cj]s*"):
        sources = [Path(row.source).name for row in read(tmp_path / pattern)]
        assert sources == ["a.csv"] * 3 + ["rows.jsonl"] * 3


def test_skipped_rows_of_json_arrays_and_csv(tmp_path: Path) -> None:
    skipped: list[str] = []
    fields = inputs.Fields(
        ("abstract",), None, 5, lambda error: skipped.append(str(error).rpartition("/")[2][:13])
    )
    array, rows = tmp_path / "a.json", tmp_path / "b.csv"
    array.write_text('["one", 2, "two", {"abstract": "three"}, "longer", {}]')
    rows.write_text('abstract,n\none,1\ntwo\nthree,"a"b\nlonger,1\n,1\nfour,2\n')
    assert [row.text for row in read(array, fields)] == [b"one", b"two", b"three"]
    assert [row.text for row in read(rows, fields)] == [b"one", b"four"]
    assert skipped == [
        *("a.json, row 2", "a.json, row 5", "a.json, row 6"),
        *("b.csv, row 2:", "b.csv, row 3:", "b.csv, row 4:", "b.csv, row 5:"),
    ]


def test_ids_that_are_all_null_are_an_error() -> None:
    def rows(*ids: object) -> list[inputs.Row]:
        return [inputs.Row(b"x", "f", number, one) for number, one in enumerate(ids, 1)]

    assert list(inputs.with_ids(rows(None, 7), "f", FIELDS)) == rows(None, 7)
    assert list(inputs.with_ids([], "f", FIELDS)) == []
    assert list(inputs.with_ids(rows(None), "f", FIELDS._replace(identifier=None))) == rows(None)
    with pytest.raises(BadInputError, match=r"^f: 'id' is null in all 2 rows$"):
        list(inputs.with_ids(rows(None, None), "f", FIELDS))


class Endless(io.RawIOBase):
    """A stream that repeats itself for ever, and counts what is read of it."""

    def __init__(self, start: bytes, again: bytes) -> None:
        self.rest, self.again, self.size = start, again, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        while len(self.rest) < len(buffer):
            self.rest += self.again * (len(buffer) // len(self.again) + 1)
        buffer[:] = self.rest[: len(buffer)]
        self.rest = self.rest[len(buffer) :]
        self.size += len(buffer)
        return len(buffer)


@pytest.mark.parametrize(
    ("form", "start", "again"),
    [
        ("csv", b'abstract,n\n"', b"x" * 99 + b"\n"),
        ("csv", b"abstract,n\n", b"x" * 100),
        ("json", b'["', b"x" * 100),
        ("jsonl", b"", b"[" * 100),
    ],
)
def test_one_endless_row_is_not_read_into_memory(
    form: str, start: bytes, again: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "LARGEST_ARRAY", 100_000)
    raw = Endless(start, again)
    fields = inputs.Fields(("abstract",), None, 10_000)
    with pytest.raises((TextTooLongError, BadInputError)):
        list(inputs.read_stream(io.BufferedReader(raw), "stdin", form, fields))
    assert raw.size < 1_000_000


def test_endless_rows_come_one_at_a_time() -> None:
    for form, start, again in (
        ("jsonl", b"1\n", b'{"id": 7, "abstract": "x"}\n'),
        ("csv", b"id,abstract\n", b"7,x\n"),
    ):
        stream = io.BufferedReader(Endless(start, again))
        rows = inputs.read_stream(stream, "stdin", form, FIELDS._replace(reject=lambda _: None))
        assert [next(rows).text for _ in range(30_000)] == [b"x"] * 30_000


anything = st.recursive(
    st.none() | st.text(max_size=8) | st.integers(), lambda inner: st.lists(inner, max_size=3)
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.text(max_size=30) | st.fixed_dictionaries({"abstract": st.text(), "x": anything})),
    st.sampled_from([None, 0, 3]),
)
def test_arrays_give_what_json_gives(values, indent) -> None:  # type: ignore[no-untyped-def]
    stream = io.BytesIO(json.dumps(values, indent=indent, ensure_ascii=False).encode())
    rows = inputs.read_stream(stream, "s", "json", inputs.Fields(("abstract",), None, 10**6))
    wanted = [one if isinstance(one, str) else one["abstract"] for one in values]
    assert [row.text.decode() for row in rows] == wanted


def test_a_large_array_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.json"
    path.write_bytes(b'["one", "two"]')
    monkeypatch.setattr(inputs, "LARGEST_ARRAY", 13)
    with pytest.raises(BadInputError, match=r"large\.json: is a JSON array of over .*jq -c"):
        read(path)


MAKERS: dict[str, Callable[[], bytes]] = {"jsonl": json_lines, "json": json_array, "csv": table}


@pytest.mark.parametrize("form", MAKERS)
@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 200), noise=st.binary(max_size=6))
def test_damaged_text_gives_rows_or_an_error_of_ours(form: str, place: int, noise: bytes) -> None:
    content = MAKERS[form]()
    content = content[:place] + noise + content[place + len(noise) :]
    with contextlib.suppress(ClientError):
        rows = list(inputs.read_stream(io.BytesIO(content), "s", form, FIELDS))
        assert all(isinstance(row.text, bytes) for row in rows)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("rows.jsonl", lambda frame, path: frame.to_json(path, orient="records", lines=True)),
        ("rows.csv", lambda frame, path: frame.to_csv(path, index=False)),
        ("rows.parquet", lambda frame, path: frame.to_parquet(path)),
    ],
)
def test_several_columns_are_joined_as_in_training(
    tmp_path: Path, name: str, write: Callable[[pd.DataFrame, Path], None]
) -> None:
    frame = pd.DataFrame({"body": ["b", None, "c", None], "title": ["A", "B", None, None]})
    write(frame, tmp_path / name)
    skipped: list[str] = []
    fields = inputs.Fields(("title", "body"), None, 100, lambda error: skipped.append(str(error)))
    rows = [row.text for row in inputs.read_file(str(tmp_path / name), "auto", fields)]
    assert rows == [b"A\nb", b"B", b"c"]
    (message,) = skipped
    assert "row 4" in message
    assert "'title + body'" in message
