"""What ``arxiv-classify`` reads, writes and exits with."""

from __future__ import annotations

import csv
import importlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
import tomli

from components.arrow import pa, pq
from pipeline.client import TextTooLongError
from pipeline.client.cli import inputs, main

TEXTS = ["We prove that P = P.", "Galaxies \U0001f30c afar", "", 'Markets, "prices" and money']


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("ARXIV_CLASSIFY_"):
            monkeypatch.delenv(name)


@pytest.fixture
def run(monkeypatch, capsys, server):
    """Runs the command in this process against the stand-in: exit code, output, errors."""

    def call(*arguments: str, stdin: bytes = b"", url: str | None = server.rest):
        where = ["--url", url] if url else []
        monkeypatch.setattr(sys, "argv", ["arxiv-classify", *arguments, *where])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main.main()
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return call


def fails(result: tuple[int, str, str], code: int, *words: str) -> None:
    """The command failed with that exit code and one line that holds the words."""
    assert result[0] == code, result
    assert result[2].startswith("error: ")
    assert result[2].count("\n") == 1
    for word in words:
        assert word in result[2]


def read_json(output: str) -> list[dict]:
    return [json.loads(line) for line in output.splitlines()]


# --- inputs ---------------------------------------------------------------------------------------


def test_arguments_with_every_output(run, expected):
    code, table, errors = run(*TEXTS)
    assert (code, errors) == (0, "")
    rows = table.splitlines()
    assert rows[0].split() == ["label", "score", "next", "score", "text"]
    for text, row in zip(TEXTS, rows[1:], strict=True):
        label, scores = expected(text)
        assert row.split()[0] == label
        assert row.split()[1] == f"{max(scores):.3f}"
        assert row.endswith(text)

    answers = read_json(run(*TEXTS, "--output", "json")[1])
    for number, (text, answer) in enumerate(zip(TEXTS, answers, strict=True), 1):
        label, scores = expected(text)
        assert answer["source"] == "arguments"
        assert answer["row"] == number
        assert answer["label"] == label
        assert list(answer["scores"].values()) == pytest.approx(scores, rel=1e-8)
        assert answer["score"] == answer["scores"][label]

    lines = list(csv.DictReader(io.StringIO(run(*TEXTS, "-o", "csv")[1])))
    assert [line["label"] for line in lines] == [answer["label"] for answer in answers]
    assert [float(line["math"]) for line in lines] == [one["scores"]["math"] for one in answers]


def test_rest_and_grpc_print_the_same(run, server):
    assert run(*TEXTS, "-o", "json") == run(*TEXTS, "-o", "json", url=server.grpc)


def test_stdin_is_read_line_by_line(run, server):
    code, output, _ = run("-o", "json", stdin="\ufeffone\r\n\ntwo".encode())

    assert code == 0
    assert [(row["source"], row["row"]) for row in read_json(output)] == [
        ("stdin", 1),
        ("stdin", 2),
        ("stdin", 3),
    ]
    assert server.requests == [[b"one", b"", b"two"]]


def test_whole_file_is_one_text(run, server, tmp_path):
    file = tmp_path / "abstract.txt"
    file.write_bytes(b"We prove\nthat.\n")

    assert run("--file", str(file), "--input", "whole")[0] == 0
    assert server.requests == [[b"We prove\nthat.\n"]]


def test_several_files_of_several_formats_in_their_order(run, server, tmp_path):
    lines, rows, table = tmp_path / "a.txt", tmp_path / "b.jsonl", tmp_path / "c.parquet"
    lines.write_text("first\n")
    rows.write_text('{"abstract": "second", "x": 1}\n\n{"abstract": "th\\u00efrd"}\n')
    pq.write_table(pa.table({"abstract": ["fourth", "fifth"], "z": [1, 2]}), table)

    code, output, _ = run("-f", str(lines), "-f", str(rows), "-f", str(table), "-o", "json", "zero")

    assert code == 0
    assert server.requests == [
        [b"zero", b"first", b"second", "thïrd".encode(), b"fourth", b"fifth"]
    ]
    assert [(Path(row["source"]).name, row["row"]) for row in read_json(output)] == [
        ("arguments", 1),
        ("a.txt", 1),
        ("b.jsonl", 1),
        ("b.jsonl", 3),
        ("c.parquet", 1),
        ("c.parquet", 2),
    ]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["one", "two"]),
        pa.array(["one", "two"], pa.large_string()),
        pa.array([b"one", b"two"]),
        pa.array(["one", "two"]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_parquet_columns_of_text(run, server, tmp_path, column):
    file = tmp_path / "papers.parquet"
    pq.write_table(pa.table({"id": ["0704.0001", "0704.0002"], "summary": column}), file)

    code, output, _ = run("-f", str(file), "--field", "summary", "--id", "id", "-o", "csv")

    assert code == 0
    assert server.requests == [[b"one", b"two"]]
    rows = list(csv.DictReader(io.StringIO(output)))
    assert [row["id"] for row in rows] == ["0704.0001", "0704.0002"]


def test_ids_of_json_lines_are_copied(run, tmp_path):
    file = tmp_path / "papers.ndjson"
    file.write_text('{"id": 7, "abstract": "a"}\n{"id": null, "abstract": "b"}\n')

    rows = read_json(run("-f", str(file), "--id", "id", "-o", "json")[1])
    assert [row["id"] for row in rows] == [7, None]
    table = run("-f", str(file), "--id", "id")[1].splitlines()
    assert [line.split()[4] for line in table] == ["id", "7", "None"]


def test_many_rows_go_in_batches(run, server):
    code, output, _ = run("-o", "csv", "--batch-size", "7", stdin=b"x\n" * 20)

    assert code == 0
    assert [len(request) for request in server.requests] == [7, 7, 6]
    assert len(output.splitlines()) == 21


@pytest.mark.parametrize(
    ("cell", "guarded"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'?=1"),
        ("\rx", "'?x"),
        ("\n=1", "'\n=1"),
        (" \x00=1", " ?=1"),
        (" =1", "' =1"),
        ("\uff1d1", "'\uff1d1"),
        ("x\r=1", "x?=1"),
        ("x\x1b[31m", "x?[31m"),
        ('"=1"', '"=1"'),
        ("a=b", "a=b"),
        ("", ""),
        # Numbers stay numbers, as text too.
        ("-1.5e-3", "-1.5e-3"),
        ("+7", "+7"),
        (-7, "-7"),
        (-0.5, "-0.5"),
        (None, ""),
        (["=1"], "['=1']"),
    ],
)
def test_no_cell_of_csv_is_a_formula(run, tmp_path, cell, guarded):
    file = tmp_path / "rows.jsonl"
    rows = ({"abstract": "text", "=id": one} for one in (cell, "named"))
    file.write_text("\n".join(map(json.dumps, rows)))
    options = ("--file", str(file), "--id", "=id")

    code, output, _ = run(*options, "--output", "csv")
    assert code == 0
    header, row, _ = csv.reader(io.StringIO(output, newline=""))
    assert header[2] == "'=id"
    assert row[:3] == [str(file), "1", guarded]
    assert all(0 <= float(score) <= 1 for score in row[4:])

    header, row, _ = csv.reader(io.StringIO(run(*options, "-o", "csv-raw")[1], newline=""))
    assert header[2] == "=id"
    assert row[2] == guarded.removeprefix("'")


def test_classes_that_look_like_formulas_are_guarded_in_csv(run, server):
    sound = server.model.signature
    names = np.array([b"=a", *(name.encode() for name in "bcdefg")], object)
    server.model.signature = lambda inputs: {
        **sound(inputs),
        "label": names[:1],
        "classes": names[np.newaxis],
    }
    header, row = csv.reader(io.StringIO(run("text", "-o", "csv")[1]))
    assert header[4:] == ["'=a", *"bcdefg"]
    assert row[2] == "'=a"


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_no_escape_of_a_name_reaches_the_terminal(run, tmp_path, form):
    file = tmp_path / "a\x1b[31mb.jsonl"
    file.write_text(
        '{"abstract": "x\\u001b[1m", "id": "\\u001b]0;t\\u0007"}\n{"abstract": 1, "id": 1}'
    )

    code, output, errors = run("-f", str(file), "--id", "id", "-o", form, "--skip-bad-rows")

    assert code == 7
    assert "a?[31mb.jsonl, row 2" in errors
    assert (output + errors).replace("\n", "").isprintable()
    for arguments in (
        ["--\x1b[31m"],
        ["-o", "\x1b[31m"],
        ["-f", "\x1b[31m"],
        ["status", "\x1b[2J"],
    ):
        assert run(*arguments)[2].replace("\n", "").isprintable()


def test_control_characters_of_a_text_do_not_reach_the_terminal(run):
    output = run("red \x1b[31m and\ra bell \x07")[1]
    assert output.replace("\n", "").isprintable()


def test_long_texts_are_cut_in_the_table(run):
    row = run("word " * 100)[1].splitlines()[1]
    assert row.endswith("...")
    assert len(row) < 120


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not JSON"),
        ('"abstract"', "not a JSON object"),
        ('{"text": "x", "id": 1}', "no field 'abstract'; there are 'text', 'id'"),
        ('{"abstract": null}', "there is no text in 'abstract'"),
        ('{"abstract": ["x"]}', "is not a string but an array"),
        ("[" * 100_000, "not JSON"),
        ('{"abstract": ' + "1" * 5000 + "}", "not"),
    ],
)
def test_bad_json_row_is_named_after_what_precedes_it_is_answered(run, tmp_path, line, words):
    file = tmp_path / "rows.jsonl"
    file.write_text(f'{{"abstract": "good"}}\n{line}\n{{"abstract": "after"}}\n')

    result = run("-f", str(file), "-o", "json")

    fails(result, 7, f"{file}, row 2: ", words)
    assert [row["row"] for row in read_json(result[1])] == [1]


def test_bad_rows_are_skipped_where_that_is_asked(run, server, tmp_path):
    rows, table = tmp_path / "a.jsonl", tmp_path / "b.parquet"
    rows.write_text(
        '{"abstract": "one"}\n{\n{"abstract": "' + "x" * 50 + '"}\n{"abstract": "two"}\n'
    )
    pq.write_table(pa.table({"abstract": ["three", None, "y" * 50, "four"]}), table)

    code, output, errors = run(
        "-f", str(rows), "-f", str(table), "-o", "json", "--skip-bad-rows", "--max-text-bytes", "20"
    )

    assert code == 7
    assert server.requests == [[b"one", b"two", b"three", b"four"]]
    assert [row["row"] for row in read_json(output)] == [1, 4, 1, 4]
    lines = errors.splitlines()
    assert [line.split(": ")[1] for line in lines[:-1]] == [
        f"{rows}, row 2",
        f"{rows}, row 3",
        f"{table}, row 2",
        f"{table}, row 3",
    ]
    assert lines[-1] == "error: 4 rows were skipped; all others are answered"


def test_invalid_utf8_in_a_json_row(run, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{"abstract": "\xff"}\n')
    fails(run("-f", str(file)), 7, "row 1: is not UTF-8")


def test_bad_parquet_files(run, tmp_path):
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"abstract": ["a", None], "n": [1, 2]}), file)
    fails(run("-f", str(file)), 7, f"{file}, row 2: there is no text in 'abstract'")
    fails(run("-f", str(file), "--field", "text"), 7, "no column 'text'; it has 'abstract', 'n'")
    fails(run("-f", str(file), "--field", "n"), 7, "column 'n' holds int64, not text")
    fails(run("-f", str(file), "--id", "key"), 7, "no column 'key'")
    file.write_bytes(b"PAR1 broken")
    fails(run("-f", str(file)), 7, str(file), "cannot be read as parquet")
    file.write_bytes(b"")
    fails(run("-f", str(file)), 7, str(file))
    fails(run("--input", "parquet", stdin=b"x"), 7, "from files only")


def test_files_that_cannot_be_read(run, tmp_path):
    fails(run("-f", str(tmp_path / "absent.txt")), 7, "absent.txt'", "no such file")
    fails(run("-f", str(tmp_path / "absent.parquet")), 7, "absent.parquet", "no such file")
    fails(run("-f", str(tmp_path)), 7, "no file matches")


@pytest.mark.parametrize("form", ["lines", "whole", "jsonl", "parquet", "arguments"])
def test_too_long_text_is_named_by_its_row(run, tmp_path, form):
    limit = ("--max-text-bytes", "10")
    long = "x" * 11
    if form == "arguments":
        return fails(run(*limit, "x" * 10, long), 6, "text 2", "11 bytes", "limit of 10")
    file = tmp_path / "rows"
    if form == "parquet":
        pq.write_table(pa.table({"abstract": ["x" * 10, long]}), file)
    elif form == "jsonl":
        file.write_text(f'{{"abstract": "{"x" * 10}"}}\n{{"abstract": "{long}"}}\n')
    else:
        file.write_text(long if form == "whole" else f"{'x' * 10}\n{long}\n")
    where = str(file) if form == "whole" else f"{file}, row 2"
    return fails(run("-f", str(file), "--input", form, *limit), 6, where)


def test_a_line_without_end_is_not_read_into_memory():
    class Endless(io.RawIOBase):
        read_bytes = 0

        def readable(self):
            return True

        def readinto(self, buffer):
            buffer[:] = b"x" * len(buffer)
            Endless.read_bytes += len(buffer)
            return len(buffer)

    fields = inputs.Fields(("abstract",), None, 1000)
    with pytest.raises(TextTooLongError, match="row 1: the line has more than 1,000 bytes"):
        list(inputs.read_stream(io.BufferedReader(Endless()), "stdin", "lines", fields))
    assert Endless.read_bytes < 100_000


@pytest.mark.parametrize("interface", ["rest", "grpc"])
def test_errors_of_a_server_have_their_exit_codes(run, server, stand_in, interface):
    url = getattr(server, interface)
    fails(run("a", "--model-name", "other", url=url), 4, "'other' is not loaded", url)
    fails(run("a", "--model-version", "9", url=url), 4, "Servable not found")
    server.fail(stand_in.Failure(grpc.StatusCode.INTERNAL, "oh no"))
    fails(run("a", url=url), 1, "oh no")
    server.fail(stand_in.Failure(grpc.StatusCode.UNAVAILABLE, "busy"))
    fails(run("a", "--retries", "0", url=url), 3, "busy")
    server.fail(stand_in.Failure(delay=1))
    fails(run("a", "--deadline", "0.2", url=url), 3, "deadline of 0.2 s")
    server.required = ("authorization", "Bearer secret")
    fails(run("a", url=url), 8, "credentials are refused")
    server.required = None
    server.model.outputs = ("label",)
    fails(run("a", url=url), 5)


def test_nobody_listens(run):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    fails(run("a", "--retries", "0", url=f"http://127.0.0.1:{port}"), 3, "not reachable")
    fails(run("a", "--retries", "0", url=f"grpc://127.0.0.1:{port}"), 3, "not reachable")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a", "--output", "xml"], "'xml' is not one of 'table', 'json', 'csv'"),
        (["a", "--input", "xml"], "'xml' is not one of 'auto', 'lines'"),
        (["a", "--nope"], "No such option: --nope"),
        (["a", "--deadline", "soon"], "--deadline"),
        (["a", "--deadline", "0"], "deadline"),
        (["a", "--batch-size", "0"], "batch_size"),
        (["a", "--header", "secret"], "needs NAME:VALUE"),
        (["a", "--id", "id"], "--id needs files with fields"),
        (["a", "--token-file", "/nonexistent"], "/nonexistent: the token cannot be read"),
        (["a", "--model", "/nonexistent"], "not both"),
        (["status"], "put it first"),
    ],
)
def test_misused_options_are_one_line_and_exit_code_2(run, server, arguments, words):
    url = server.rest
    before = ["--url", url, *arguments]
    fails(run(*before, url=None), 2, words)
    assert server.requests == []


@pytest.mark.parametrize(
    ("word", "meant"), [("bacth", "batch"), ("stauts", "status"), ("Status", "status")]
)
def test_mistyped_command_is_not_classified(run, server, word, meant):
    for arguments in ([word], [word, "in.parquet", "out"]):
        result = run(*arguments)
        fails(result, 2, f"{word!r} is no command; did you mean arxiv-classify {meant}?")
    assert server.requests == []
    assert run("classify", word)[0] == 0
    assert run("We batch the stars")[0] == 0
    assert server.requests == [[word.encode()], [b"We batch the stars"]]


def test_ids_that_are_all_null_end_in_an_error(run, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"id": null, "abstract": "a"}\n{"id": null, "abstract": "b"}\n')
    result = run("-f", str(file), "--id", "id", "-o", "json")
    fails(result, 7, f"{file}: 'id' is null in all 2 rows")
    assert len(read_json(result[1])) == 2


@pytest.mark.parametrize("output", ["table", "json", "csv"])
def test_file_names_that_are_not_utf8(run, tmp_path, output):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")
    Path(name).write_text("one\n")
    code, _, errors = run("-f", name, "-o", output)
    assert (code, errors) == (0, "")
    Path(name).write_bytes(b"a\0b")
    fails(run("-f", name, "-o", output), 7, "caf?.txt: holds binary data")


# --- options and environment ----------------------------------------------------------------------


def test_environment_gives_the_defaults(run, server, monkeypatch):
    server.model.name = "papers"
    server.required = ("authorization", "Bearer secret")
    monkeypatch.setenv("ARXIV_CLASSIFY_URL", server.grpc)
    monkeypatch.setenv("ARXIV_CLASSIFY_MODEL_NAME", "papers")
    monkeypatch.setenv("ARXIV_CLASSIFY_TOKEN", "secret")

    assert run("a", url=None)[0] == 0
    monkeypatch.setenv("ARXIV_CLASSIFY_MODEL", "/nonexistent")
    assert run("a")[0] == 0
    fails(run("a", url=None), 2, "not both")
    fails(run("a", "--model", "/absent", url=None), 4, "/absent: no such folder")


def test_token_file_and_headers(run, server, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret\n")

    assert run("a", "--token-file", str(token), "--header", "X-A: b", "--header", "x-c:d")[0] == 0

    (headers,) = server.headers
    assert headers["authorization"] == "Bearer secret"
    assert (headers["x-a"], headers["x-c"]) == ("b", "d")
    token.write_text("")
    fails(run("a", "--token-file", str(token)), 2, "holds no token")


def test_status(run, server):
    server.model.states = {9: "AVAILABLE", 10: "LOADING"}
    assert run("status")[:2] == (0, "version  state\n10       LOADING\n9        AVAILABLE\n")
    assert read_json(run("status", "-o", "json", url=server.grpc)[1]) == [
        {"version": 10, "state": "LOADING", "message": ""},
        {"version": 9, "state": "AVAILABLE", "message": ""},
    ]
    server.model.states = {10: "LOADING"}
    result = run("status")
    fails(result, 4, "no version of 'arxiv' is available")
    assert "LOADING" in result[1]
    fails(run("status", "--model-name", "other"), 4, "'other' is not loaded")


def test_local_mode_prints_what_a_server_would(run, server, stand_in, push_folder):
    server.reset(stand_in.Model(stand_in.load(push_folder / "10")))

    local = run(*TEXTS, "-o", "json", "--model", str(push_folder), url=None)

    assert local[0] == 0
    assert local[1] == run(*TEXTS, "-o", "json")[1]
    assert run("status", "--model", str(push_folder), url=None)[1].splitlines()[1:] == [
        "10       ON_DISK",
        "9        ON_DISK",
    ]


def test_the_project_installs_this_command(repository, monkeypatch):
    called = []
    monkeypatch.setattr(main, "main", lambda: called.append("main"))
    scripts = tomli.loads((repository / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["arxiv-classify"].partition(":")
    getattr(importlib.import_module(module), function)()
    assert called == ["main"]


def test_help_and_version(run):
    for arguments in (["--help"], ["classify", "--help"], ["status", "--help"]):
        code, output, errors = run(*arguments, url=None)
        assert (code, errors) == (0, "")
        assert "Usage: arxiv-classify" in output
    assert run("--version", url=None)[1].startswith("arxiv-classify ")


# --- the process ----------------------------------------------------------------------------------


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pipeline.client.cli.main", *arguments]


@pytest.fixture
def process_options(repository):
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    # It would flush what the command forgets to.
    environment.pop("PYTHONUNBUFFERED", None)
    return {"cwd": repository, "env": environment}


def test_reader_that_goes_away_ends_the_command_quietly(server, process_options):
    process = subprocess.Popen(
        command("--url", server.rest, "-o", "json", "--batch-size", "1"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **process_options,
    )
    process.stdin.write(b"one\n")
    process.stdin.flush()
    # The first answer comes while the input is still open.
    assert json.loads(process.stdout.readline())["row"] == 1
    process.stdout.close()
    process.stdin.write(b"two\n" * 50)
    process.stdin.close()

    assert process.stderr.read() == b""
    assert process.wait(60) == 141


def test_reader_of_the_help_that_goes_away(process_options):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        result = subprocess.run(
            command("--help"), stdout=pipe, stderr=subprocess.PIPE, check=False, **process_options
        )
    assert (result.returncode, result.stderr) == (141, b"")


def test_interrupt_is_quiet(server, process_options):
    process = subprocess.Popen(
        command("--url", server.rest, "-o", "json", "--batch-size", "1"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **process_options,
    )
    process.stdin.write(b"one\n")
    process.stdin.flush()
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)

    assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode == 130


@pytest.mark.parametrize("interface", ["rest", "grpc"])
def test_interrupt_while_a_request_waits_is_quiet(server, stand_in, process_options, interface):
    server.fail(stand_in.Failure(delay=3.0))
    process = subprocess.Popen(
        command("--url", getattr(server, interface), "a"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **process_options,
    )
    ends = time.monotonic() + 60
    while not server.headers and time.monotonic() < ends:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)

    assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode == 130


INTERRUPTED_IMPORT = """
import sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
from pipeline.client.cli import main

main.main()
"""


def test_interrupt_is_quiet_before_the_command_line_is_read(process_options):
    result = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IMPORT],
        capture_output=True,
        check=False,
        **process_options,
    )
    assert (result.returncode, result.stdout, result.stderr) == (130, b"", b"")


@pytest.mark.parametrize("interface", ["https", "grpcs"])
def test_an_encrypted_key_takes_no_text_from_stdin(interface, certificates, process_options):
    arguments = (
        *("--url", f"{interface}://localhost:1", "--retries", "0"),
        *("--cert-file", str(certificates.client_pem)),
        *("--key-file", str(certificates.client_locked)),
    )
    reading, writing = os.pipe()
    os.write(writing, b"open sesame\ntwo\nthree\n")
    os.close(writing)
    with os.fdopen(reading, "rb") as texts:
        # Without a terminal, OpenSSL reads a pass phrase from standard input.
        result = subprocess.run(
            command(*arguments),
            stdin=texts,
            capture_output=True,
            start_new_session=True,
            text=True,
            check=False,
            **process_options,
        )
        assert texts.read() == b"open sesame\ntwo\nthree\n"
    fails((result.returncode, "", result.stderr), 8, "the key is encrypted", "--key-password-file")


def test_texts_on_stdin_stay_whole_beside_an_encrypted_key(
    stand_in, server_signature, certificates, process_options, tmp_path
):
    tls = (certificates.server_pem, certificates.server_key, certificates.authority_pem)
    running = stand_in.StandIn(stand_in.Model(server_signature), tls)
    (tmp_path / "phrase").write_text("open sesame\r\n")
    arguments = (
        *("--url", running.rest, "--output", "json"),
        *("--ca-file", str(certificates.authority_pem)),
        *("--cert-file", str(certificates.client_pem)),
        *("--key-file", str(certificates.client_locked)),
        *("--key-password-file", str(tmp_path / "phrase")),
    )
    try:
        result = subprocess.run(
            command(*arguments),
            input=b"one\ntwo\nthree\n",
            capture_output=True,
            start_new_session=True,
            check=False,
            **process_options,
        )
        assert (result.returncode, result.stderr) == (0, b"")
        assert [row["row"] for row in read_json(result.stdout.decode())] == [1, 2, 3]
        assert running.requests == [[b"one", b"two", b"three"]]
    finally:
        running.stop()


def test_full_disk_is_one_line(server, process_options):
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            command("--url", server.rest, "a"),
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            **process_options,
        )
    fails((result.returncode, "", result.stderr), 1, "output cannot be written", "No space left")


ISOLATED = """
import sys

sys.argv = ["arxiv-classify", *{arguments!r}]
from pipeline.client.cli import main

try:
    main.main()
except SystemExit as ended:
    assert not ended.code, ended.code
heavy = [{heavy}]
found = [name for name in heavy if name in sys.modules]
assert not found, found
"""


@pytest.mark.parametrize("interface", ["help", "rest", "grpc"])
def test_nothing_heavy_is_imported(server, process_options, interface):
    heavy = ["tensorflow", "tensorflow_serving", "tfx", "apache_beam", "keras", "pandas", "pyarrow"]
    arguments = ["a", "--url", server.rest if interface == "rest" else server.grpc]
    if interface == "help":
        arguments = ["--help"]
        heavy += ["httpx", "grpc", "google.protobuf", "rich", "numpy"]
    code = ISOLATED.format(arguments=arguments, heavy=", ".join(map(repr, heavy)))
    result = subprocess.run(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **process_options,
    )
    assert result.returncode == 0, result.stderr


def test_the_models_own_column_is_read_unless_another_is_named(run, server, stand_in, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"abstract": "a", "review": "b", "title": "t"}))
    model = server.model.signature
    server.reset(stand_in.Model(model, inputs=("review",)))
    assert run("--file", str(file), "-o", "json")[0] == 0
    assert server.requests[-1] == [b"b"]
    assert run("--file", str(file), "--field", "title", "-o", "json")[0] == 0
    assert server.requests[-1] == [b"t"]

    server.reset(stand_in.Model(model, inputs=("review", "title")))
    fails(run("--file", str(file)), 7, "joins several columns; name each with --field")
    code, _, errors = run("--file", str(file), "--field", "title", "--field", "review")
    assert (code, errors) == (0, "")
    assert server.requests[-1] == [b"t\nb"]
    # A text without fields needs no name.
    assert run("plain")[0] == 0
