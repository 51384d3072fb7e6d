"""What each extra of the wheel brings is enough for what it is for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.arrow import pa, pq

TEXT = "We prove that P = P."
INSTALL = "is not installed: pip install 'arxiv-subject-classifier["


def answers(done: Any) -> list[dict[str, Any]]:
    """What a command answered as JSON lines, checked for success."""
    assert (done.returncode, done.stderr) == (0, b"")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_client_alone_asks_servers(installed_wheel, url: str, expected) -> None:
    done = installed_wheel.run("arxiv-classify", TEXT, "--url", url, "-o", "json", extra="")
    (answer,) = answers(done)
    label, scores = expected(TEXT)
    assert answer["label"] == label
    assert list(answer["scores"].values()) == pytest.approx(scores, abs=1e-6)


def test_client_alone_names_the_extra_that_it_lacks(installed_wheel, push_folder) -> None:
    model = ("--model", str(push_folder))
    for command in (("arxiv-classify", TEXT, *model), ("arxiv-classify", "batch", "a", "b", *model),
                    ("arxiv-pipeline", "doctor")):  # fmt: skip
        done = installed_wheel.run(*command, extra="")
        assert (done.returncode, done.stdout) == (2, b"")
        (line,) = done.stderr.decode().splitlines()
        assert line.startswith("error: ")
        assert INSTALL in line


def test_parquet_extra_reads_parquet(installed_wheel, server, expected) -> None:
    file = installed_wheel.work / "papers.parquet"
    pq.write_table(pa.table({"abstract": [TEXT]}), file)
    command = ("arxiv-classify", "--file", str(file), "--url", server.rest, "-o", "json")
    assert INSTALL in installed_wheel.run(*command, extra="").stderr.decode()
    (answer,) = answers(installed_wheel.run(*command, extra="parquet"))
    assert answer["label"] == expected(TEXT)[0]


def test_local_extra_scores_in_the_process(installed_wheel, push_folder) -> None:
    command = ("arxiv-classify", TEXT, "--model", str(push_folder), "-o", "json")
    (answer,) = answers(installed_wheel.run(*command, extra="local"))
    assert sum(answer["scores"].values()) == pytest.approx(1.0, abs=1e-5)


def test_batch_extra_scores_parquet(installed_wheel, push_folder) -> None:
    file = installed_wheel.work / "rows.parquet"
    pq.write_table(pa.table({"id": ["1"], "abstract": [TEXT]}), file)
    out = installed_wheel.work / "scored"
    command = ("arxiv-classify", "batch", str(file), str(out), "--model", str(push_folder))
    done = installed_wheel.run(*command, extra="batch")
    assert done.returncode == 0, done.stderr
    (part,) = out.glob("*.parquet")
    assert pq.read_table(part).column("id").to_pylist() == ["1"]
