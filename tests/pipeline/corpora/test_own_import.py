"""The import of CSV and JSON lines of one's own, and the command."""

import codecs
import gzip
import json
import re
import shlex
import zipfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from components.arrow import pq
from components.contracts.columns import Columns
from components.errors import UserError
from components.ingestion.columns import check_schema
from pipeline.cli import corpus_import
from pipeline.cli.main import app
from pipeline.corpora import row_source
from pipeline.corpora.paper_import import ImportRequest, run

PLAIN = Columns(text=("text",), label="topic", id="uid", date="day", category="")
BARE = Columns(text=("text",), label="topic", id="", date="", category="")


def imported(
    folder: Path, content: bytes, columns: Columns = PLAIN
) -> tuple[list[tuple[Any, ...]], dict[str, int]]:
    """Rows as (text, label, id, date), and what was left out."""
    (folder / "file").write_bytes(content)
    request = ImportRequest(folder / "file", folder / "own.parquet", columns)
    tally = run(request)
    table = pq.read_table(request.output)
    check_schema(table.schema, "own.parquet", columns)
    assert table.column_names == list(columns.required)
    assert tally.rows == table.num_rows + tally.left_out.total()
    return [tuple(row.values()) for row in table.to_pylist()], dict(tally.left_out)


def mistake(folder: Path, content: bytes, columns: Columns = PLAIN) -> str:
    with pytest.raises(UserError) as caught:
        imported(folder, content, columns)
    assert not (folder / "own.parquet").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


ROWS = [
    ("Gold, silver; bronze", "R&D", "007", "2020-01-01"),
    ('He said "no"', "Soins, santé", "hep/1", "2020-01-02"),
    ("two\nlines\tand a tab", "日本語", "8", None),
]


NAMES = ("text", "topic", "uid", "day")


def as_csv(delimiter: str, end: str = "\n") -> bytes:
    def quoted(value: str | None) -> str:
        return '"{}"'.format((value or "").replace('"', '""'))

    lines = [delimiter.join((*NAMES, '"more, or less"'))]
    lines += [delimiter.join([*map(quoted, row), "x"]) for row in ROWS]
    return end.join([*lines, ""]).encode()


def as_json(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


EQUAL = {
    "commas": as_csv(","),
    "semicolons": as_csv(";"),
    "tabs": as_csv("\t"),
    "bars": as_csv("|"),
    "Windows": codecs.BOM_UTF8 + as_csv(",", "\r\n"),
    "blank lines": as_csv(",", "\n\n"),
    "gzip": gzip.compress(as_csv(";")),
    "JSON lines": as_json([{"x": 1, **dict(zip(NAMES, row, strict=True))} for row in ROWS]),
}


@pytest.mark.parametrize("form", EQUAL)
def test_all_forms_of_a_file_give_the_same_rows(tmp_path: Path, form: str) -> None:
    rows, left_out = imported(tmp_path, EQUAL[form])
    assert [(*row[:3], row[3] or None) for row in rows] == ROWS
    assert left_out == {}


def test_a_file_without_id_and_date_has_two_columns(tmp_path: Path) -> None:
    # With a column without a name, as pandas writes its index.
    content = b'text,topic,\n"a\nb",x,0\nc,y,1\n\nd,x,2\n'
    rows, _ = imported(tmp_path, content, BARE)
    assert rows == [("a\nb", "x"), ("c", "y"), ("d", "x")]


def test_texts_keep_their_columns_in_the_order_given(tmp_path: Path) -> None:
    content = b"body,title,topic\nb1,t1,x\n,t2,y\n ,,y\n"
    both = BARE.model_copy(update={"text": ("title", "body")})
    rows, left_out = imported(tmp_path, content, both)
    assert rows == [("t1", "b1", "x"), ("t2", "", "y")]
    assert left_out == {"no text": 1}


def test_json_labels_and_ids_may_be_integers_and_other_types_are_left_out(tmp_path: Path) -> None:
    values: list[dict[str, Any]] = [
        {"uid": 7, "text": "a", "topic": 1},
        {"uid": "007", "text": "b", "topic": True, "day": "2020-01-01"},
        {"uid": 704.001, "text": "c", "topic": 1},
        {"uid": 1, "text": 5, "topic": 1},
        {"uid": 2, "text": "d", "topic": 4.5},
        {"uid": 3, "text": "d", "topic": ["x"]},
        {"uid": 4, "text": "d", "topic": "x", "day": 1580000000000},
        {"uid": 5, "text": " ", "topic": 1},
        {"uid": 6, "text": "e", "topic": None},
        {"text": "f", "topic": 1},
        {"uid": "7", "text": "g", "topic": 1},
    ]
    rows, left_out = imported(tmp_path, as_json(values))
    # Rows without an id, or with one that occurs before, are ingestion's to judge.
    assert rows == [
        ("a", "1", "7", None), ("b", "true", "007", "2020-01-01"), ("f", "1", None, None),
        ("g", "1", "7", None),
    ]  # fmt: skip
    assert left_out == {
        "uid: wrong type": 1, "text: wrong type": 1, "topic: wrong type": 2,
        "day: wrong type": 1, "no text": 1, "no label": 1,
    }  # fmt: skip


def test_a_sample_of_rows_without_ids_does_not_depend_on_their_order(tmp_path: Path) -> None:
    lines = [f"text {n},{'x' if n % 4 else 'y'}\n" for n in range(200)]
    found = []
    for order in (lines, lines[::-1]):
        (tmp_path / "file").write_text("text,topic\n" + "".join(order))
        request = ImportRequest(
            tmp_path / "file", tmp_path / "own.parquet", BARE, limit=20, overwrite=True
        )
        assert run(request).classes == {"x": 15, "y": 5}
        found.append(set(pq.read_table(request.output)["text"].to_pylist()))
    assert found[0] == found[1]


MISTAKES = {
    "headerless": (
        b"1,Gold rises,business,2020\n2,Match won,sports,2020\n",
        ": no column 'text', 'topic', 'uid', 'day'; its first line, which must name the columns, "
        "has '1', 'Gold rises', 'business', '2020'",
    ),
    "other names": (
        b"id,body,topics,text,day\n",
        ": no column 'topic' (is it 'topics'?), 'uid' (is it 'id'?);",
    ),
    "near name": (b"texts,topic,uid,day\n", ": no column 'text' (is it 'texts'?)"),
    "twice": (b"text,topic,uid,day,text\n", ": column 'text' occurs 2 times"),
    "long row": (
        b'uid,text,topic,day\n1,"a\nb",x,\n2,c, d,x,\n',
        ":4: the row has 5 fields, the header 4; put quotes around a text that holds the delimiter "
        "','",
    ),
    "short row": (b"uid;text;topic;day\n1;a\n", ":2: the row has 2 fields, the header 4"),
    "Latin-1": ("uid,text,topic,day\n1,naïve,x,\n".encode("latin-1"), ":2: not UTF-8; save"),
    "UTF-16": ("uid,text,topic,day\n".encode("utf-16"), ": is UTF-16 text; give CSV"),
    "NUL": (b"uid,text,topic,day\n1,a\0b,x,\n", ":2: not CSV (line contains NUL)"),
    "open quote": (
        b'uid,text,topic,day\n1,"a,x,\n2,b,x,\n',
        ":2: not CSV (unexpected end",
    ),
    "stray quote": (b'uid,text,topic,day\n1,"a"b,x,\n', ":2: not CSV (',' expected after '\"')"),
    "no row": (b"uid,text,topic,day\n", ": has no row to import (it is empty)"),
    "empty": (b"", ": no column 'text', 'topic', 'uid', 'day'; its first line"),
    "array": (b'[{"text": "a"}]', ": is one JSON array; write one object a line"),
    "JSON without": (b'{"body": "a", "topic": 1}\n', ": no column 'text', 'uid', 'day'"),
    "escape codes": (b"\x1b[31mtext,topic,uid,day\n", "has '\\x1b[31mtext', 'topic'"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_what_cannot_be_used_is_one_true_line(tmp_path: Path, kind: str) -> None:
    content, said = MISTAKES[kind]
    message = mistake(tmp_path, content)
    assert message.startswith(str(tmp_path / "file"))
    assert said in message
    assert "\x1b" not in message


def test_a_line_without_end_is_not_read_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_source, "MAX_LINE", 1 << 20)
    header = b"uid,text,topic,day\n"
    assert ":2: the row has 1 fields" in mistake(tmp_path, header + b"x" * (3 << 20))
    quoted = header + b'1,"' + b"x\n" * (1 << 20) + b'",x,\n'
    assert ":2: not CSV (field larger than field limit (1048576))" in mistake(tmp_path, quoted)


def test_many_rows_come_in_order(tmp_path: Path) -> None:
    lines = b"".join(b"%d,text %d,%d,\n" % (n, n, n % 3) for n in range(10_000))
    rows, _ = imported(tmp_path, b"uid,text,topic,day\n" + lines)
    assert [row[2] for row in rows] == [f"{n}" for n in range(10_000)]
    assert rows[9_999] == ("text 9999", "0", "9999", "")


def command(*words: object) -> Any:
    return CliRunner().invoke(app, ["import", *map(str, words)])


def test_the_command_shows_how_rows_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source, output = Path("news.csv"), Path("my news.parquet")
    source.write_text("body,topic,when\na,[red]x\x1b[31m,2020-01-01\nb,y,2019-01-01\n,y,\n")
    options = ("--text", "body", "--label", "topic", "--date", "when", "--from", "2020-01-01")
    done = command(source, "-o", output, *options)
    assert done.exit_code == 0, done.output
    shown = [" ".join(one.split()) for one in done.output.splitlines()]
    assert "3 read" in shown
    assert "- 1 left out: no text 4" in shown
    assert "- 1 left out: outside the dates 3" in shown
    assert "= 1 imported" in shown
    assert "1 [red]x?[31m" in shown
    assert shown[-2:] == [
        f"Imported 1 rows of 1 classes: {output}",
        "Make a configuration: arxiv-pipeline init 'my news.parquet' --output 'my news' "
        "--text body --label topic --date when",
    ]
    again = command(source, "-o", output, *options)
    assert again.exit_code == 0
    assert "is already there" in again.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--text", "a"], "needs --text and --label"),
        (["--label", "a"], "needs --text and --label"),
        (["--id", "a"], "needs --text and --label"),
        (["--text", "a", "--label", "b", "--subjects", "c"], "--subjects has no meaning"),
        (["--text", "a", "--label", "b", "--from", "2020-01-02"], "--from and --to need --date"),
        (["--text", "a", "--label", "a"], "column 'a' is named twice; give each one role"),
        (["--from", "2020-01-02", "--to", "2020-01-01"], "--from 2020-01-02 is after --to"),
    ],
)
def test_options_that_do_not_go_together(tmp_path: Path, options: list[str], said: str) -> None:
    done = command(tmp_path / "x", "-o", tmp_path / "y", *options)
    assert isinstance(done.exception, UserError)
    assert said in str(done.exception)


@pytest.mark.parametrize("option", [("--from", "2020"), ("--limit", "0"), ("--seed", "-1")])
def test_values_that_are_none(tmp_path: Path, option: tuple[str, str]) -> None:
    done = command(tmp_path / "x", "-o", tmp_path / "y", *option)
    assert done.exit_code == 2
    assert option[0] in done.output


def test_an_output_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "news.csv").write_text("text,topic\na,x\n")
    (tmp_path / "file").touch()
    output = tmp_path / "file" / "news.parquet"
    done = command(tmp_path / "news.csv", "-o", output, "--text", "text", "--label", "topic")
    assert isinstance(done.exception, UserError)
    assert str(done.exception) == f"{tmp_path / 'file'}: File exists"


def _commands(text: str) -> list[str]:
    return re.findall(r"^ *arxiv-pipeline (import .*)$", text, re.MULTILINE)


def test_commands_of_the_page_and_of_the_help_work(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    papers = [
        {"id": f"2001.{n:05d}", "abstract": "We count.", "categories": "cs.LG math.CO"}
        for n in range(9)
    ]
    dump = as_json([{**paper, "update_date": "2020-01-01"} for paper in papers])
    Path("arxiv-metadata-oai-snapshot.json").write_bytes(dump)
    with zipfile.ZipFile("archive.zip", "w") as archive:
        archive.writestr("arxiv-metadata-oai-snapshot.json", dump)
    news = {"title": "t", "body": "b", "topic": "x", "uid": 1, "day": "2020-01-01"}
    Path("news.csv").write_text("title,body,topic\nt,b,x\n")
    Path("news.jsonl.gz").write_bytes(gzip.compress(as_json([news])))
    page = (repository / "docs" / "own-data.md").read_text(encoding="utf-8")
    commands = [*_commands(page), *_commands(corpus_import.EPILOG)]
    assert len(commands) == 8
    for words in commands:
        done = CliRunner().invoke(app, [*shlex.split(words), "--overwrite"])
        assert done.exit_code == 0, (words, done.exception)
        assert re.search(r"Imported [19] rows", done.output)
