"""Compares the throughput of `arxiv-classify batch` with that of bare SavedModel calls.

python benchmarks/batch.py PARQUET MODEL

The bare calls run `serving_default` on abstracts in memory, in the file's order, one call at a
time, at the fastest batch size of a sweep. Half of the rows are timed before the batch job and half
after it, so that other load on the machine affects both. The batch job reads parquet, sorts,
scores, writes, flushes to disk and checks the counts.
"""

from __future__ import annotations

import os

from components.arrow import pq

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import machine
import typer

from components.contracts import features
from components.scoring.scorer import Scorer
from pipeline.client.batch.command import BATCH_SIZE, ROWS_PER_PART
from pipeline.client.batch.model import find_model, load_scorer
from pipeline.client.batch.plan import Columns
from pipeline.client.batch.run import run_batch


class Took(NamedTuple):
    """Seconds of wall time and of processor time."""

    clock: float
    processor: float


def _bare(scorer: Scorer, texts: Sequence[bytes], batch_size: int) -> Took:
    scorer.score(texts[:batch_size])
    started, processor = time.perf_counter(), time.process_time()
    for start in range(0, len(texts), batch_size):
        scorer.score(texts[start : start + batch_size])
    return Took(time.perf_counter() - started, time.process_time() - processor)


def main(
    parquet: Annotated[Path, typer.Argument(exists=True, dir_okay=False, resolve_path=True)],
    model: Annotated[Path, typer.Argument(exists=True, file_okay=False, resolve_path=True)],
    sweep_rows: Annotated[int, typer.Option(help="Rows of the sweep over batch sizes.")] = 4096,
    batch_size: Annotated[int, typer.Option(help="Of the batch job.")] = BATCH_SIZE,
) -> None:
    """Prints commit, hardware and measurements."""
    column = pq.read_table(parquet, columns=[features.ABSTRACT])[features.ABSTRACT]
    texts = [text.encode() for text in column.drop_null().to_pylist()]
    scorer = load_scorer(find_model(model))
    load = os.getloadavg()[0]
    print(f"commit       {machine.commit()}")
    print(f"processor    {machine.processor()}, load average at the start {load:.1f}")

    speeds = {}
    for size in (64, 128, 256, 512, 1024):
        took = _bare(scorer, texts[:sweep_rows], size)
        # By processor time, which other load hardly affects.
        speeds[size] = len(texts[:sweep_rows]) / took.processor
        print(
            f"  bare, {size:>4} a call   {sweep_rows / took.clock:6,.0f} rows/s, "
            f"{speeds[size]:6,.0f} rows per processor second"
        )
    best = max(speeds, key=lambda size: speeds[size])

    half = len(texts) // 2
    before = _bare(scorer, texts[:half], best)
    with tempfile.TemporaryDirectory() as folder:
        started, processor = time.perf_counter(), time.process_time()
        counts = run_batch(
            str(parquet),
            Path(folder) / "out",
            model,
            columns=Columns(features.ID, (features.ABSTRACT,)),
            rows_per_part=ROWS_PER_PART,
            batch_size=batch_size,
            threads=0,
            restart=False,
            beam_args=(),
            say=print,
        )
        job = Took(time.perf_counter() - started, time.process_time() - processor)
    after = _bare(scorer, texts[half:], best)
    bare = Took(before.clock + after.clock, before.processor + after.processor)

    rows = counts.scored + counts.rejected
    for name, count, took in (
        (f"bare, {best} a call", len(texts), bare),
        (f"batch, {batch_size} a call", rows, job),
    ):
        print(
            f"{name:<20} {count:,} rows in {took.clock:.1f} s: {count / took.clock:,.0f} rows/s, "
            f"{count / took.processor:,.0f} rows per processor second"
        )
    by_clock = rows / job.clock / (len(texts) / bare.clock)
    by_processor = rows / job.processor / (len(texts) / bare.processor)
    print(f"batch / bare         {by_clock:.2f} by the clock, {by_processor:.2f} by processor time")
    print(
        f"peak memory          {machine.peak_mib():,.0f} MiB, with all abstracts for the bare call"
    )


if __name__ == "__main__":
    typer.run(main)
