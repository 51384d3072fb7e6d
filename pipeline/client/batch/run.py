"""Scores parquet files with a SavedModel: a Beam pipeline that a killed run resumes.

Each shard (consecutive rows of one input) is read, scored and written on its own, under a name
that depends on the job alone. So a worker holds one shard at a time, a rerun does the shards that
are missing, and a bundle that a cluster runs twice writes the same file twice.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import PipelineOptions
from filelock import FileLock, Timeout

from components.errors import UserError
from components.scoring.scorer import score_by_length
from pipeline.client.batch import BATCH_SIZE, ROWS_PER_PART, parts
from pipeline.client.batch.model import find_model, load_scorer
from pipeline.client.batch.parts import Counts, RejectedRow, Scored
from pipeline.client.batch.plan import Columns, Job, Rows, Shard, plan, read_rows
from pipeline.client.batch.progress import watch

NO_ID = "no id"
ID_NOT_UTF8 = "id is not valid UTF-8"
NO_ABSTRACT = "abstract is null"
ABSTRACT_NOT_UTF8 = "abstract is not valid UTF-8"
NOT_FINITE = "scores are not finite"


class Outcome(NamedTuple):
    """The result of a finished job.

    Attributes:
        counts: rows in the files.
        parts: how many there are.
        done_before: how many of them an earlier run had written.
        seconds: of scoring, imports and loading of the model not included.
    """

    counts: Counts
    parts: int
    done_before: int
    seconds: float


class ScorableRow(NamedTuple):
    """A row that the model can be asked about.

    Attributes:
        row: its place in the input file, from 0.
        id: as in the input.
        text: valid UTF-8.
    """

    row: int
    id: str | int
    text: bytes


def divide(rows: Rows, start: int) -> tuple[list[ScorableRow], list[RejectedRow]]:
    """Separates rows that can be scored from those that cannot.

    Args:
        rows: of a shard.
        start: place of the first in its file.
    """
    scorable: list[ScorableRow] = []
    rejected: list[RejectedRow] = []
    for row, (key, text) in enumerate(zip(rows.ids, rows.abstracts, strict=True), start):
        name = _decoded(key) if isinstance(key, bytes) else key
        if key is None or (isinstance(key, bytes) and not key.strip()):
            reason = NO_ID
        elif name is None:
            reason = ID_NOT_UTF8
        elif text is None:
            reason = NO_ABSTRACT
        elif _decoded(text) is None:
            reason = ABSTRACT_NOT_UTF8
        else:
            scorable.append(ScorableRow(row, name, text))
            continue
        rejected.append(RejectedRow(row, None if name is None else str(name), reason))
    return scorable, rejected


def _decoded(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


class ScoreShard(beam.DoFn):  # type: ignore[misc]
    """Reads, scores and writes a shard; yields its name once its part is there.

    Args:
        job: what is scored, and with which model.
        out: the output folder.
        batch_size: rows in one call of the model.
        threads: calls of the model at a time; 0: as many as the worker has cores.
    """

    def __init__(self, job: Job, out: Path, batch_size: int, threads: int) -> None:
        self._job, self._out = job, out
        self._batch_size, self._thread_count = batch_size, threads
        self._scored_rows = Metrics.counter("batch", "rows_scored")
        self._rejected_rows = Metrics.counter("batch", "rows_rejected")

    def setup(self) -> None:
        """Loads the model, shared by all workers of the process."""
        self._digest = self._job.digest()
        self._scorer = load_scorer(self._job.model)
        self._threads = ThreadPoolExecutor(self._thread_count or len(os.sched_getaffinity(0)))

    def teardown(self) -> None:
        """Ends the threads."""
        self._threads.shutdown()

    def process(self, shard: Shard) -> Iterator[str]:
        """Does one shard, unless a part of it is there already.

        Raises:
            UserError: the input cannot be read, the model fails, or the part cannot be written.
        """
        if parts.rejected_rows(self._out, shard, self._digest) is None:
            scored, rejected = self._score(shard)
            try:
                parts.write_part(
                    self._out, shard, self._digest, self._job.id_type, scored, rejected
                )
            except OSError as error:
                raise UserError(
                    f"{parts.part_path(self._out, shard)}: cannot be written: "
                    f"{error.strerror or error}; see to that and run the same command again"
                ) from error
            self._scored_rows.inc(len(scored.ids))
            self._rejected_rows.inc(len(rejected))
        yield shard.name

    def _score(self, shard: Shard) -> tuple[Scored, list[RejectedRow]]:
        rows, rejected = divide(read_rows(shard, self._job.columns), shard.start)
        texts = [row.text for row in rows]
        labels, classes, scores = score_by_length(
            self._scorer, texts, self._batch_size, run=self._threads.map
        )
        finite = np.isfinite(scores).all(axis=1)
        rejected += [
            RejectedRow(row.row, str(row.id), NOT_FINITE)
            for row in itertools.compress(rows, ~finite)
        ]
        ids = [row.id for row in itertools.compress(rows, finite)]
        good = list(itertools.compress(labels, finite))
        return Scored(ids, good, classes, scores[finite]), sorted(rejected)


def run_batch(
    pattern: str,
    out: Path,
    model_folder: Path,
    *,
    columns: Columns,
    rows_per_part: int = ROWS_PER_PART,
    batch_size: int = BATCH_SIZE,
    threads: int = 0,
    restart: bool = False,
    beam_args: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Scores all rows that a pattern matches into a folder of parts; resumes what is there.

    Args:
        pattern: see :func:`pipeline.client.batch.plan.plan`.
        out: the output folder; made if it does not exist.
        model_folder: a version folder, or a push folder, whose newest version counts.
        columns: names in the inputs.
        rows_per_part: most rows of an input in one part.
        batch_size: rows in one call of the model.
        threads: calls of the model at a time in a worker; 0: as many as it has cores.
        restart: whether to remove what an earlier job left in ``out``.
        beam_args: Beam's pipeline options, such as ``--runner=FlinkRunner``.
        say: gets plain lines of progress where there is no terminal.

    Raises:
        UserError: one line: what was wrong, where, what to do.
        KeyboardInterrupt: Ctrl-C; finished shards stay, those in progress leave nothing.
    """
    job = plan(pattern, columns, rows_per_part, find_model(model_folder))
    out = out.absolute()
    with _writing(out):
        if restart:
            parts.remove_job(out)
        _pin(out, job)
        parts.remove_leftovers(out)
        digest, shards = job.digest(), job.shards()
        todo = [shard for shard in shards if parts.rejected_rows(out, shard, digest) is None]
        done_before = len(shards) - len(todo)
        if done_before:
            say(f"{done_before} of {len(shards)} parts are there from an earlier run")
        seconds = 0.0
        if todo:
            (out / parts.SUCCESS).unlink(missing_ok=True)
            # Here too, so that a model that cannot be used is known before any worker starts.
            load_scorer(job.model)
            started = time.perf_counter()
            with watch(out, todo, say):
                _run(todo, ScoreShard(job, out, batch_size, threads), out, beam_args)
            seconds = time.perf_counter() - started
        for file in job.inputs:
            if file.changed():
                raise UserError(
                    f"{file.path}: changed while it was read; start anew with --restart"
                )
        counts = parts.count_rows(out, job)
        summary = {
            "rows_in": job.rows,
            "rows_scored": counts.scored,
            "rows_rejected": counts.rejected,
            "rejected": counts.reasons,
            "labels": counts.labels,
            "parts": len(shards),
            "model": asdict(job.model),
            "job": digest,
        }
        parts.write_json(out / parts.SUCCESS, summary)
        return Outcome(counts, len(shards), done_before, seconds)


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Makes the folder, holds its lock and sends log records into a file in it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        present = {entry.name for entry in out.iterdir()}
        foreign = sorted(present - {parts.LOCK, parts.LOG})
        if foreign and parts.MANIFEST not in present:
            raise UserError(
                f"{out}: holds {foreign[0]} and no {parts.MANIFEST}; "
                "name an empty folder or one that does not exist"
            )
        with FileLock(out / parts.LOCK, timeout=0), _logging_to(out / parts.LOG):
            yield
    except Timeout:
        raise UserError(f"{out}: another run is writing there; wait for it to end") from None
    except OSError as error:
        raise UserError(
            f"{out}: cannot be written: {error.strerror or error}; name another folder or see to "
            "its permissions and the disk"
        ) from error


@contextlib.contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Keeps Beam's warnings and tracebacks off the terminal."""
    root = logging.getLogger()
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    kept = root.handlers[:]
    root.handlers[:] = [handler]
    try:
        yield
    finally:
        root.handlers[:] = kept
        handler.close()


def _pin(out: Path, job: Job) -> None:
    """Writes the job's record, or checks that the one that is there is this job's."""
    path = out / parts.MANIFEST
    try:
        changed = job.difference(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        parts.write_json(path, job.record())
        return
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not the record of a job; start anew with --restart") from error
    if changed:
        raise UserError(
            f"{out}: holds another job: {changed}; "
            "name another folder, or start anew with --restart"
        )


def _run(todo: Sequence[Shard], score: ScoreShard, out: Path, beam_args: Sequence[str]) -> None:
    try:
        with beam.Pipeline(options=PipelineOptions(list(beam_args))) as pipeline:
            _ = (
                pipeline
                | "Shards" >> beam.Create(todo)
                | "Spread" >> beam.Reshuffle()
                | "Score" >> beam.ParDo(score)
            )
    except UserError:
        raise
    except Exception as error:
        if "KeyboardInterrupt" in str(error):
            raise KeyboardInterrupt from error
        logging.getLogger(__name__).error("The pipeline failed.", exc_info=error)
        raise UserError(f"{_cause(error)} (log: {out / parts.LOG})") from error


def _cause(error: BaseException) -> str:
    """The worker's own words: Beam hands on a worker's exception as text."""
    told = re.findall(r"\bcomponents\.\S+Error: (.+?)(?: \[while running|\n|$)", str(error))
    if told:
        return str(told[-1])
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"the pipeline failed: {lines[-1] if lines else type(error).__name__}"
