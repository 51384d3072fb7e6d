"""Progress is what is in the folder, as a bar or as lines."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

from rich.console import Console

from pipeline.client.batch.plan import Shard
from pipeline.client.batch.progress import watch

SHARDS = [Shard(f"part-{i}", "in", 0, 1000) for i in range(3)]


def wait_for(condition: Callable[[], bool]) -> None:
    """Waits for a thread to see what was done."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_lines_count_the_rows_of_this_runs_parts(tmp_path):
    said: list[str] = []
    (tmp_path / "part-from-before.parquet").touch()

    with watch(tmp_path, SHARDS, said.append, Console(file=io.StringIO()), 0.01, 0.0):
        for shard in SHARDS:
            (tmp_path / f"{shard.name}.parquet").touch()
            heard = len(said)
            wait_for(lambda heard=heard: len(said) > heard)

    assert [line.split(" rows,")[0] for line in said] == [
        "1,000 of 3,000",
        "2,000 of 3,000",
        "3,000 of 3,000",
    ]


def test_terminal_shows_a_bar_and_no_lines(tmp_path):
    said: list[str] = []
    screen = io.StringIO()

    with watch(tmp_path, SHARDS, said.append, Console(file=screen, force_terminal=True), 0.01):
        for shard in SHARDS:
            (tmp_path / f"{shard.name}.parquet").touch()

    assert "3000/3000" in screen.getvalue()
    assert not said
