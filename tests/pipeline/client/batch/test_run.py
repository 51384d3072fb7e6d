"""Batch scoring: what is written, what is kept over a kill, what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import typer
from filelock import FileLock
from typer.testing import CliRunner

from components.arrow import pa, pq
from components.contracts.artifact_files import MANIFEST
from components.contracts.manifest import Manifest
from components.errors import UserError
from pipeline.client.batch import parts
from pipeline.client.batch import run as batch_run
from pipeline.client.batch.command import batch
from pipeline.client.batch.model import find_model
from pipeline.client.batch.plan import Columns, Shard, plan, read_rows
from pipeline.client.batch.run import divide
from pipeline.client.folders import text_columns

NOT_A_NUMBER = "not a number"
COLUMNS = Columns("id", ("abstract",))
CLASSES = ["bio", "cs", "econ", "engineering", "math", "physics", "stat"]


class TinyClassifier(tf.Module):
    """Scores from hashes of the text, so that rows that are swapped are noticed."""

    def __init__(self, salt: str) -> None:
        """Keeps what tells two of them apart."""
        super().__init__()
        self._salt = salt

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="abstract")])
    def score(self, abstract: tf.Tensor) -> dict[str, tf.Tensor]:
        """String [n] to label [n], scores [n, 7] and classes [n, 7]."""
        columns = [
            tf.strings.to_hash_bucket_fast(tf.strings.join([abstract, self._salt, name]), 997)
            for name in CLASSES
        ]
        scores = tf.nn.softmax(tf.cast(tf.stack(columns, axis=1), tf.float32) / 200.0)
        broken = (abstract == NOT_A_NUMBER)[:, tf.newaxis]
        return {
            "label": tf.gather(tf.constant(CLASSES), tf.argmax(scores, axis=1)),
            "scores": tf.where(broken, tf.fill(tf.shape(scores), float("nan")), scores),
            "classes": tf.tile(tf.constant(CLASSES)[tf.newaxis], [tf.shape(scores)[0], 1]),
        }


def save_model(folder: Path, salt: str) -> Path:
    """Writes a model whose scores differ from those of another salt."""
    module = TinyClassifier(salt)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.score})
    return folder


@pytest.fixture(scope="session")
def push_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A push folder: versions 5 and 12, and what a push in progress leaves beside them."""
    folder = tmp_path_factory.mktemp("serving") / "tiny"
    save_model(folder / "5", "five")
    save_model(folder / "12", "twelve")
    (folder / ".staging-99").mkdir()
    (folder / ".push.lock").touch()
    return folder


def papers(count: int, first: int = 0) -> dict[str, list[str]]:
    """Ids, and abstracts whose lengths are in no order."""
    return {
        "id": [f"{first + i:04d}.{i:05d}" for i in range(count)],
        "abstract": [f"paper {first + i} " + "word " * (i * 37 % 23) for i in range(count)],
    }


def write(path: Path, columns: dict[str, Any], row_group_size: int = 64) -> Path:
    """Writes a parquet with a column that nobody asked for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = len(next(iter(columns.values())))
    table = pa.table({"title": ["t"] * rows, **columns})
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


def run(source: Path | str, out: Path, model: Path, *options: str) -> str:
    """Runs the command; returns what it printed, raises what it raised."""
    app = typer.Typer()
    app.command()(batch)
    result = CliRunner().invoke(
        app, [str(source), str(out), "--model", str(model), *options], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: Any) -> str:
    """The one line with which the command refuses."""
    with pytest.raises(UserError) as caught:
        run(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


def scored_rows(out: Path) -> list[dict[str, Any]]:
    """All rows in the order of the parts, read as a folder of parquet."""
    rows: list[dict[str, Any]] = []
    for path in sorted(out.glob("*.parquet")):
        rows += pq.read_table(path).to_pylist()
    return rows


def rejected_rows(out: Path) -> list[dict[str, Any]]:
    """All rejected rows."""
    rows: list[dict[str, Any]] = []
    for path in sorted((out / "_rejected").glob("*.parquet")):
        rows += pq.read_table(path).to_pylist()
    return rows


def changes(out: Path) -> dict[str, int]:
    """Time of the last change of each part, ns."""
    return {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}


@pytest.fixture
def scored(tmp_path: Path, push_folder: Path) -> tuple[Path, Path]:
    """A corpus of 300 rows and its finished job: 5 parts."""
    source = write(tmp_path / "in.parquet", papers(300))
    run(source, tmp_path / "out", push_folder, "--rows-per-part", "64")
    return source, tmp_path / "out"


def test_scores_are_those_of_direct_calls_in_the_order_of_the_input(tmp_path, push_folder):
    first, second = papers(150), papers(90, first=5000)
    write(tmp_path / "in" / "a.parquet", first, row_group_size=40)
    write(tmp_path / "in" / "deep" / "b.parquet", second, row_group_size=90)

    run(
        f"{tmp_path}/in/**/*.parquet", tmp_path / "out", push_folder,
        "--rows-per-part", "64", "--batch-size", "7",
    )  # fmt: skip

    rows = scored_rows(tmp_path / "out")
    assert [row["id"] for row in rows] == first["id"] + second["id"]
    # The newest version of the push folder, by number and not by name.
    model = tf.saved_model.load(str(push_folder / "12"))
    answer = model.signatures["serving_default"](
        abstract=tf.constant(first["abstract"] + second["abstract"])
    )
    classes = [name.decode() for name in answer["classes"].numpy()[0]]
    assert [list(row["scores"]) for row in rows] == [classes] * len(rows)
    np.testing.assert_allclose(
        [list(row["scores"].values()) for row in rows], answer["scores"].numpy(), atol=1e-6
    )
    assert [row["label"].encode() for row in rows] == answer["label"].numpy().tolist()
    sizes = [pq.read_metadata(path).num_rows for path in sorted((tmp_path / "out").glob("part*"))]
    assert sizes == [64, 64, 22, 64, 26]


def test_rows_that_cannot_be_scored_are_kept_with_the_reason(tmp_path, push_folder):
    columns = {
        "id": pa.array([b"a", None, b"c", b" ", b"\xff", b"f", b"g", b"h"]),
        "abstract": pa.array(
            [b"text", b"text", None, b"text", b"text", b"\xc3(", b"", NOT_A_NUMBER.encode()]
        ),
    }
    source = write(tmp_path / "in.parquet", columns)

    printed = run(source, tmp_path / "out", push_folder)

    # An empty abstract is not a missing one: the model has an answer to it.
    assert [row["id"] for row in scored_rows(tmp_path / "out")] == ["a", "g"]
    assert [tuple(row.values()) for row in rejected_rows(tmp_path / "out")] == [
        (str(source), 1, None, "no id"),
        (str(source), 2, "c", "text is null"),
        (str(source), 3, " ", "no id"),
        (str(source), 4, None, "id is not valid UTF-8"),
        (str(source), 5, "f", "text is not valid UTF-8"),
        (str(source), 7, "h", "scores are not finite"),
    ]
    summary = json.loads((tmp_path / "out" / "_SUCCESS").read_text())
    assert (summary["rows_in"], summary["rows_scored"], summary["rows_rejected"]) == (8, 2, 6)
    assert summary["rejected"]["no id"] == 2
    assert "2 rows scored, 6 rejected" in printed
    assert "text is null: 1" in printed


def test_text_in_an_arrow_string_column_may_still_be_undecodable(tmp_path, push_folder):
    raw = pa.array([b"fine", b"\xff\xfe"])
    text = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    source = write(tmp_path / "in.parquet", {"id": ["a", "b"], "abstract": text})

    run(source, tmp_path / "out", push_folder)

    assert [row["id"] for row in scored_rows(tmp_path / "out")] == ["a"]
    assert rejected_rows(tmp_path / "out")[0]["reason"] == "text is not valid UTF-8"


def stopped_on_the_way(
    source: Path, out: Path, model: Path, repository: Path, number: signal.Signals
) -> tuple[int, str]:
    """Ends a slow run by a signal once it has 3 of its parts; returns exit code and stderr."""
    script = str(Path(__file__).with_name("killed_batch.py"))
    process = subprocess.Popen(
        [sys.executable, script, source, out, "--model", model, "--rows-per-part", "40"],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(repository)},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while len(list(out.glob("part-*"))) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate()
    return process.returncode, said


@pytest.mark.slow
def test_killed_run_is_finished_without_doing_a_part_twice(tmp_path, push_folder, repository):
    corpus = papers(400)
    source, out = write(tmp_path / "in.parquet", corpus), tmp_path / "out"
    code, _ = stopped_on_the_way(source, out, push_folder, repository, signal.SIGKILL)
    assert code == -signal.SIGKILL
    before = changes(out)
    assert 3 <= len(before) < 10
    assert not (out / "_SUCCESS").exists()
    # What a kill in the middle of a write leaves.
    (out / ".part-00009-of-00010.parquet.0123.tmp").write_bytes(b"PAR1 half a part")

    printed = run(source, out, push_folder, "--rows-per-part", "40")

    after = changes(out)
    assert f"{len(before)} of 10 parts are there" in printed
    assert {name: after[name] for name in before} == before
    assert [row["id"] for row in scored_rows(out)] == corpus["id"]
    assert json.loads((out / "_SUCCESS").read_text())["rows_scored"] == 400
    assert not list(out.glob(".*"))


@pytest.mark.slow
def test_interrupted_run_says_how_to_go_on(tmp_path, push_folder, repository):
    source, out = write(tmp_path / "in.parquet", papers(400)), tmp_path / "out"

    code, said = stopped_on_the_way(source, out, push_folder, repository, signal.SIGINT)

    assert code == 130
    assert said.strip().splitlines()[-1] == "stopped; the same command resumes"
    assert not (out / "_SUCCESS").exists()


def test_finished_job_is_left_alone_and_a_lost_part_alone_is_written_anew(scored, push_folder):
    source, out = scored
    before = changes(out)

    run(source, out, push_folder, "--rows-per-part", "64")
    assert changes(out) == before

    (out / "part-00002-of-00005.parquet").unlink()
    whole = (out / "part-00003-of-00005.parquet").read_bytes()
    (out / "part-00003-of-00005.parquet").write_bytes(whole[:-20])
    run(source, out, push_folder, "--rows-per-part", "64")
    assert {name for name, changed in changes(out).items() if changed != before[name]} == {
        "part-00002-of-00005.parquet",
        "part-00003-of-00005.parquet",
    }
    assert len(scored_rows(out)) == 300


def test_another_batch_size_or_place_of_the_model_is_the_same_job(scored, push_folder, tmp_path):
    source, out = scored
    before = changes(out)
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "12").symlink_to(push_folder / "12")

    run(source, out, tmp_path / "moved", "--rows-per-part", "64", "--batch-size", "3")

    assert changes(out) == before


def test_changed_input_is_refused_and_taken_with_restart(scored, push_folder):
    source, out = scored
    before = changes(out)
    write(source, papers(100, first=900))

    assert f"{source} was changed" in refused(source, out, push_folder, "--rows-per-part", "64")
    assert changes(out) == before

    run(source, out, push_folder, "--rows-per-part", "64", "--restart")
    assert [row["id"] for row in scored_rows(out)] == papers(100, first=900)["id"]
    assert sorted(path.name for path in out.glob("*.parquet")) == [
        "part-00000-of-00002.parquet",
        "part-00001-of-00002.parquet",
    ]


def test_the_name_of_the_output_folder_reaches_the_terminal_without_escapes(tmp_path, monkeypatch):
    counts = parts.Counts(1, 2, 0, {"cs": 2}, {})
    monkeypatch.setattr(batch_run, "run_batch", lambda *_, **__: counts)

    said = run("in.parquet", tmp_path / "a\x1b[31m", tmp_path)

    assert said == f"2 rows scored, 0 rejected, in 1 parts in {tmp_path}/a?[31m\n"


def test_input_that_changes_while_it_is_read_is_no_success(tmp_path, push_folder, monkeypatch):
    source, out = write(tmp_path / "in.parquet", papers(30)), tmp_path / "out"
    score = batch_run._run

    def score_and_touch(*arguments: Any) -> None:
        score(*arguments)
        os.utime(source, ns=(1, 1))

    monkeypatch.setattr(batch_run, "_run", score_and_touch)

    assert f"{source}: changed while it was read" in refused(source, out, push_folder)
    assert not (out / "_SUCCESS").exists()


def test_another_model_column_or_input_is_refused(scored, push_folder, tmp_path):
    source, out = scored
    options = ("--rows-per-part", "64")

    assert "the model was 12 and is 5" in refused(source, out, push_folder / "5", *options)
    assert "rows_per_part was 64 and is 65" in refused(
        source, out, push_folder, "--rows-per-part", "65"
    )
    assert "columns was" in refused(source, out, push_folder, *options, "--id-column", "title")
    other = write(tmp_path / "in2.parquet", papers(3))
    assert f"{other} is a new input" in refused(
        f"{tmp_path}/in*.parquet", out, push_folder, *options
    )


def test_folder_with_something_else_is_refused(tmp_path, push_folder):
    source = write(tmp_path / "in" / "in.parquet", papers(3))

    assert "holds in.parquet and no _manifest.json" in refused(source, source.parent, push_folder)
    assert sorted(path.name for path in source.parent.glob("*.parquet")) == ["in.parquet"]


def test_stranger_among_the_parts_is_no_success(scored, push_folder):
    source, out = scored
    write(out / "mine.parquet", papers(2))

    assert "mine.parquet: not of this job" in refused(
        source, out, push_folder, "--rows-per-part", "64"
    )


def test_parts_that_do_not_add_up_are_found(scored, push_folder):
    source, out = scored
    job = plan(str(source), COLUMNS, 64, find_model(push_folder), out)
    assert parts.count_rows(out, job).scored == 300
    path = out / "part-00001-of-00005.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)

    with pytest.raises(UserError, match=r"part-00001-of-00005\.parquet: missing or incomplete"):
        parts.count_rows(out, job)


def test_inputs_without_rows_give_a_part_with_the_schema(tmp_path, push_folder):
    source = write(
        tmp_path / "in.parquet",
        {"id": pa.array([], pa.string()), "abstract": pa.array([], pa.string())},
    )

    run(source, tmp_path / "out", push_folder)

    (part,) = (tmp_path / "out").glob("*.parquet")
    table = pq.read_table(part)
    assert table.num_rows == 0
    assert table.column_names == ["id", "label", "scores"]
    assert json.loads((tmp_path / "out" / "_SUCCESS").read_text())["rows_in"] == 0


def test_column_types_and_names_of_ones_own(tmp_path, push_folder):
    corpus = papers(5)
    source = write(
        tmp_path / "in.parquet",
        {
            "key": pa.array([5, 4, 3, 2, 1], pa.int32()),
            "text": pa.array(corpus["abstract"]).dictionary_encode(),
        },
    )

    run(source, tmp_path / "out", push_folder, "--id-column", "key", "--text-column", "text")

    table = pq.read_table(next((tmp_path / "out").glob("*.parquet")))
    assert table.column("id").to_pylist() == [5, 4, 3, 2, 1]
    assert table.schema.field("id").type == pa.int32()


def test_two_workers_write_what_one_writes(scored, tmp_path, push_folder):
    source, out = scored

    run(
        source, tmp_path / "other", push_folder, "--rows-per-part", "64",
        "--beam-arg=--direct_running_mode=multi_threading", "--beam-arg=--direct_num_workers=2",
    )  # fmt: skip

    assert scored_rows(tmp_path / "other") == scored_rows(out)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"id": ["a"], "text": ["b"]}, "no column 'abstract'"),
        ({"name": ["a"], "abstract": ["b"]}, "no column 'id'"),
        ({"id": ["a"], "abstract": [1.5]}, "column 'abstract' must hold text, not double"),
        ({"id": [[1]], "abstract": ["b"]}, "column 'id' must hold text or integers, not list"),
    ],
)
def test_inputs_without_the_columns_are_refused(tmp_path, push_folder, columns, words):
    source = write(tmp_path / "in.parquet", columns)

    message = refused(source, tmp_path / "out", push_folder)

    assert words in message
    assert str(source) in message
    assert not (tmp_path / "out").exists()


def test_inputs_that_are_not_there_or_no_parquet_are_refused(tmp_path, push_folder):
    (tmp_path / "in.parquet").write_bytes(b"id,abstract\n")
    out = tmp_path / "out"

    assert "no file matches" in refused(f"{tmp_path}/none*.parquet", out, push_folder)
    assert "cannot be read as parquet" in refused(tmp_path / "in.parquet", out, push_folder)
    assert "every worker sees" in refused("gs://bucket/in.parquet", out, push_folder)
    write(tmp_path / "mixed" / "a.parquet", {"id": [1], "abstract": ["a"]})
    write(tmp_path / "mixed" / "b.parquet", papers(1))
    assert "must have one type" in refused(tmp_path / "mixed", out, push_folder)


def test_folders_take_the_same_files_and_names_need_not_be_utf8(tmp_path, push_folder):
    source, out = tmp_path / os.fsdecode(b"caf\xe9"), tmp_path / os.fsdecode(b"scor\xe9")
    for place, first in (("year=2023", 0), ("year=2024", 100), ("_temporary", 200)):
        write(tmp_path / "in" / place / "x.parquet", papers(2, first))
    write(tmp_path / "in" / ".x.tmp.parquet", papers(2, 300))
    write(
        tmp_path / "in" / "year=2024" / "y.parquet",
        {"id": ["i"], "abstract": pa.array([None], pa.string())},
    )
    (tmp_path / "in").rename(source)

    assert "4 rows scored, 1 rejected" in run(source, out, push_folder)

    tables = [pq.ParquetFile(pa.BufferReader(one.read_bytes())) for one in out.glob("*.parquet")]
    found = sorted(one for table in tables for one in table.read(["id"]).column(0).to_pylist())
    assert found == [*papers(2)["id"], *papers(2, 100)["id"]]
    assert "4 rows scored, 1 rejected" in run(f"{source}/**/*.parquet", out, push_folder)


def test_parts_below_the_input_folder_are_no_inputs(tmp_path, push_folder):
    write(tmp_path / "in" / "x.parquet", papers(3))
    out = tmp_path / "in" / "scored"
    for _ in range(2):
        assert "3 rows scored, 0 rejected" in run(tmp_path / "in", out, push_folder)
    assert "no column 'abstract'" in refused(out, out, push_folder)


def test_page_that_cannot_be_read_is_one_line_with_file_and_rows(tmp_path, push_folder):
    source = write(tmp_path / "in.parquet", papers(100))
    damaged = bytearray(source.read_bytes())
    damaged[100:-2000] = bytes(len(damaged) - 2100)
    source.write_bytes(damaged)

    message = refused(source, tmp_path / "out", push_folder)

    assert message.startswith(f"{source}: cannot be read as parquet (")
    assert "(found in rows 0 to 99)" in message
    assert "Traceback" in (tmp_path / "out" / "_log.txt").read_text()


def test_output_that_cannot_be_written_is_refused(tmp_path, push_folder):
    source = write(tmp_path / "in.parquet", papers(3))

    assert f"{source}/out: cannot be written: Not a directory" in refused(
        source, source / "out", push_folder
    )


def test_one_run_at_a_time_writes_a_folder(scored, push_folder):
    source, out = scored

    with FileLock(out / "_lock"):
        assert "another run is writing there" in refused(source, out, push_folder)


def test_models_that_cannot_be_used_are_refused(tmp_path):
    source, out = write(tmp_path / "in.parquet", papers(3)), tmp_path / "out"
    assert "no SavedModel and no versions of one" in refused(source, out, tmp_path)

    module = tf.Module()
    module.f = tf.function(
        lambda text: {"label": text}, input_signature=[tf.TensorSpec([None], tf.string, "text")]
    )
    wrong = tmp_path / "wrong" / "1"
    tf.saved_model.save(module, str(wrong), signatures={"serving_default": module.f})
    assert "it takes ['text'] and gives ['label']" in refused(source, out, wrong)

    Manifest.of(wrong).write(wrong / MANIFEST)
    (wrong / "fingerprint.pb").write_bytes(b"f")
    assert "fingerprint.pb has 1 bytes, not" in refused(source, tmp_path / "out3", wrong)

    (wrong / "saved_model.pb").write_bytes(b"\xff\xff")
    assert "the model is not loaded" in refused(source, tmp_path / "out2", wrong)


@pytest.mark.parametrize("start", [0, 9, 10, 11, 25, 58])
@pytest.mark.parametrize("count", [1, 10, 37])
def test_shard_is_read_whatever_row_groups_it_crosses(tmp_path, start, count):
    corpus = papers(60)
    source = write(tmp_path / "in.parquet", corpus, row_group_size=10)
    count = min(count, 60 - start)

    rows = read_rows(Shard("part", str(source), start, count), COLUMNS)

    wanted = slice(start, start + count)
    assert [key for key, _ in rows] == [name.encode() for name in corpus["id"][wanted]]
    assert [text for _, text in rows] == [text.encode() for text in corpus["abstract"][wanted]]


def test_divide_loses_no_row():
    rows = [(b"a", None), (None, None), (7, b"x"), (b"d", b"y")]

    scorable, rejected = divide(rows, start=100)

    assert scorable == [(102, 7, b"x"), (103, "d", b"y")]
    assert [(row.row, row.reason) for row in rejected] == [
        (100, "text is null"),
        (101, "no id"),
    ]


def test_columns_are_joined_as_in_training_and_default_to_the_models(tmp_path, push_folder):
    columns = {"id": ["a", "b", "c"], "head": ["A", None, None], "abstract": ["x", "y", None]}
    source = write(tmp_path / "in.parquet", columns)
    shard = Shard("part", str(source), 0, 3)
    assert read_rows(shard, Columns("id", ("head", "abstract"))) == [
        (b"a", b"A\nx"),
        (b"b", b"y"),
        (b"c", None),
    ]
    version = max(push_folder.iterdir())
    assert text_columns(version) == ("abstract",)
    run(source, tmp_path / "out", push_folder, "--text-column", "head", "--text-column", "abstract")
    assert [row["id"] for row in scored_rows(tmp_path / "out")] == ["a", "b"]
    assert "columns was" in refused(source, tmp_path / "out", push_folder)
