"""Progress of a batch job, measured by the finished parts and so independent of the runner."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

from pipeline.client.batch.plan import Shard


@contextlib.contextmanager
def watch(
    out: Path,
    todo: Sequence[Shard],
    say: Callable[[str], None],
    console: Console | None = None,
    look_seconds: float = 0.5,
    say_seconds: float = 10.0,
) -> Iterator[None]:
    """Shows how many rows of the shards are done while the body runs.

    Args:
        say: gets plain lines if the console, by default standard error, is not a terminal.
        look_seconds: interval at which the output folder is listed.
        say_seconds: minimum time between two lines.
    """
    console = console or Console(stderr=True)
    rows = {f"{shard.name}.parquet": shard.rows for shard in todo}
    total = sum(rows.values())
    ended = threading.Event()

    def done() -> int:
        with os.scandir(out) as entries:
            return sum(rows.get(entry.name, 0) for entry in entries)

    def show() -> None:
        columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
        started = said_at = time.monotonic()
        said = 0
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task("rows scored", total=total)
            while not ended.wait(look_seconds):
                finished, now = done(), time.monotonic()
                bar.update(task, completed=finished)
                if not bar.disable or finished == said or now - said_at < say_seconds:
                    continue
                say(f"{finished:,} of {total:,} rows, {finished / (now - started):,.0f} rows/s")
                said, said_at = finished, now
            bar.update(task, completed=done())

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
