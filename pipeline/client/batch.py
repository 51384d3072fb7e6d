"""Scores parquet files with a pushed SavedModel: a Beam pipeline that a killed run resumes.

Each shard (consecutive rows of one input) is read, scored and written on its own, under a name
that depends on the job alone. So a worker holds one shard at a time, a rerun does the shards that
are not there, and a bundle that a cluster runs twice writes the same file twice.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import PipelineOptions
from filelock import FileLock, Timeout

from components.arrow import pa
from components.errors import UserError
from pipeline.client import batch_output
from pipeline.client.batch_defaults import BATCH_SIZE, ROWS_PER_PART
from pipeline.client.batch_model import ModelVersion, Scorer, find_model, load_scorer
from pipeline.client.batch_output import Counts, RejectedRow, Scored
from pipeline.client.batch_plan import (
    Columns,
    Job,
    Rows,
    Shard,
    changed_inputs,
    difference,
    plan,
    read_rows,
)
from pipeline.client.batch_progress import watch

NO_ID = "no id"
ID_NOT_UTF8 = "id is not valid UTF-8"
NO_ABSTRACT = "abstract is null"
ABSTRACT_NOT_UTF8 = "abstract is not valid UTF-8"
NOT_FINITE = "scores are not finite"


@dataclass(frozen=True)
class Work:
    """What a worker needs besides its shards.

    Attributes:
      model: what scores.
      columns: names in the inputs.
      id_type: the ids' type in the output, as Arrow writes it.
      out: the output folder.
      job_digest: written into each part.
      batch_size: rows in one call of the model.
      threads: calls of the model at a time; 0: as many as the worker has cores.
    """

    model: ModelVersion
    columns: Columns
    id_type: str
    out: str
    job_digest: str
    batch_size: int
    threads: int


class Outcome(NamedTuple):
    """What a finished job came to.

    Attributes:
      counts: in the files.
      parts: how many there are.
      done_before: how many of them an earlier run had written.
      seconds: of scoring, imports and loading of the model not included.
    """

    counts: Counts
    parts: int
    done_before: int
    seconds: float


def divide(rows: Rows, start: int) -> tuple[list[int], list[str | int], list[RejectedRow]]:
    """Tells rows that can be scored from those that cannot.

    Args:
      rows: of a shard.
      start: place of the first in its file.

    Returns:
      Positions in the shard and ids of the first kind, and the second kind.
    """
    kept: list[int] = []
    ids: list[str | int] = []
    rejected: list[RejectedRow] = []
    for position, (key, text) in enumerate(zip(rows.ids, rows.abstracts, strict=True)):
        name = _decoded(key) if isinstance(key, bytes) else key
        reason = None
        if key is None or (isinstance(key, bytes) and not key.strip()):
            reason = NO_ID
        elif name is None:
            reason = ID_NOT_UTF8
        elif text is None:
            reason = NO_ABSTRACT
        elif _decoded(text) is None:
            reason = ABSTRACT_NOT_UTF8
        if reason is None and name is not None:
            kept.append(position)
            ids.append(name)
        else:
            shown = None if name is None else str(name)
            rejected.append(RejectedRow(start + position, shown, reason or NO_ID))
    return kept, ids, rejected


def _decoded(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def score_rows(
    scorer: Scorer, texts: Sequence[bytes], batch_size: int, threads: ThreadPoolExecutor
) -> tuple[list[str], np.ndarray[Any, np.dtype[np.float32]]]:
    """Scores texts, in whatever order is fastest, and answers in theirs.

    The model's time grows with the longest text of a call, so texts of like length go together.

    Returns:
      Labels [n] and scores float32 [n, classes].
    """
    labels = [""] * len(texts)
    scores = np.zeros((len(texts), len(scorer.classes)), np.float32)
    order = sorted(range(len(texts)), key=lambda position: len(texts[position]))
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    # The longest first, so that no thread is left with the slowest batch at the end.
    batches.reverse()
    answers = threads.map(lambda batch: scorer.score([texts[i] for i in batch]), batches)
    for batch, answer in zip(batches, answers, strict=True):
        scores[batch] = answer.scores
        for position, label in zip(batch, answer.labels, strict=True):
            labels[position] = label
    return labels, scores


class ScoreShard(beam.DoFn):  # type: ignore[misc]
    """Reads, scores and writes a shard; gives its name once its part is there."""

    def __init__(self, work: Work) -> None:
        """Keeps what is pickled to the workers."""
        self._work = work
        self._scored = Metrics.counter("batch", "rows_scored")
        self._rejected = Metrics.counter("batch", "rows_rejected")

    def setup(self) -> None:
        """Loads the model, shared by all workers of the process."""
        self._scorer = load_scorer(self._work.model)
        self._threads = ThreadPoolExecutor(self._work.threads or len(os.sched_getaffinity(0)))

    def teardown(self) -> None:
        """Ends the threads."""
        self._threads.shutdown()

    def process(self, shard: Shard) -> Iterator[str]:
        """Does one shard, unless a part of it is there already.

        Raises:
          UserError: the input cannot be read or the part cannot be written.
        """
        work, out = self._work, Path(self._work.out)
        if batch_output.rejected_rows(out, shard, work.job_digest) is not None:
            yield shard.name
            return
        rows = read_rows(shard, work.columns)
        kept, ids, rejected = divide(rows, shard.start)
        texts = [text for position in kept if (text := rows.abstracts[position]) is not None]
        labels, scores = score_rows(self._scorer, texts, work.batch_size, self._threads)
        finite = np.isfinite(scores).all(axis=1)
        for place in np.flatnonzero(~finite).tolist():
            rejected.append(RejectedRow(shard.start + kept[place], str(ids[place]), NOT_FINITE))
        good = np.flatnonzero(finite).tolist()
        scored = Scored([ids[i] for i in good], [labels[i] for i in good], scores[finite])
        try:
            batch_output.write_part(
                out,
                shard,
                work.job_digest,
                pa.type_for_alias(work.id_type),
                self._scorer.classes,
                scored,
                sorted(rejected),
            )
        except OSError as error:
            raise UserError(
                f"{batch_output.part_path(out, shard)}: cannot be written: "
                f"{error.strerror or error}; see to that and run the same command again"
            ) from error
        self._scored.inc(len(good))
        self._rejected.inc(len(rejected))
        yield shard.name


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
      pattern: see :func:`pipeline.client.batch_plan.plan`.
      out: the output folder; made if it does not exist.
      model_folder: a version folder, or a push folder, whose newest version counts.
      columns: names in the inputs.
      rows_per_part: at most so many rows of an input in one part.
      batch_size: rows in one call of the model.
      threads: calls of the model at a time in a worker; 0: as many as it has cores.
      restart: whether to remove what an earlier job left in ``out``.
      beam_args: Beam's pipeline options, such as ``--runner=FlinkRunner``.
      say: gets plain lines of progress where there is no terminal.

    Raises:
      UserError: one line: what was wrong, where, what to do.
      KeyboardInterrupt: Ctrl-C; the shards in progress are not there, the finished ones are.
    """
    job = plan(pattern, columns, rows_per_part, find_model(model_folder))
    out = out.absolute()
    with _writing(out):
        if restart:
            batch_output.remove_job(out)
        _pin(out, job)
        batch_output.remove_leftovers(out)
        digest, shards = job.digest(), job.shards()
        todo = [shard for shard in shards if batch_output.rejected_rows(out, shard, digest) is None]
        done_before = len(shards) - len(todo)
        if done_before:
            say(f"{done_before} of {len(shards)} parts are there from an earlier run")
        seconds = 0.0
        if todo:
            (out / batch_output.SUCCESS).unlink(missing_ok=True)
            # Here too, so that a model that cannot be used is known before any worker starts.
            load_scorer(job.model)
            work = Work(
                model=job.model,
                columns=columns,
                id_type=job.id_type,
                out=str(out),
                job_digest=digest,
                batch_size=batch_size,
                threads=threads,
            )
            started = time.perf_counter()
            with watch(out, todo, say):
                _score(todo, work, beam_args)
            seconds = time.perf_counter() - started
        changed = changed_inputs(job)
        if changed:
            raise UserError(f"{changed[0]}: changed while it was read; start anew with --restart")
        counts = batch_output.count_rows(out, job)
        batch_output.write_json(out / batch_output.SUCCESS, _summary(job, counts, len(shards)))
        return Outcome(counts, len(shards), done_before, seconds)


def _summary(job: Job, counts: Counts, parts: int) -> dict[str, Any]:
    return {
        "rows_in": job.rows,
        "rows_scored": counts.scored,
        "rows_rejected": counts.rejected,
        "rejected": counts.reasons,
        "labels": counts.labels,
        "parts": parts,
        "model": job.model._asdict(),
        "job": job.digest(),
    }


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Makes the folder, holds its lock and sends log records into a file in it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        present = {entry.name for entry in out.iterdir()}
        foreign = sorted(present - {batch_output.LOCK, batch_output.LOG})
        if foreign and batch_output.MANIFEST not in present:
            raise UserError(
                f"{out}: holds {foreign[0]} and no {batch_output.MANIFEST}; "
                "name an empty folder or one that does not exist"
            )
        with FileLock(out / batch_output.LOCK, timeout=0), _logging_to(out / batch_output.LOG):
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
    """Writes the job's record, or sees that the one that is there is this job's."""
    path = out / batch_output.MANIFEST
    try:
        earlier = batch_output.read_json(path)
    except FileNotFoundError:
        batch_output.write_json(path, job.record())
        return
    except ValueError as error:
        raise UserError(f"{path}: not the record of a job; start anew with --restart") from error
    changed = difference(earlier, job)
    if changed:
        raise UserError(
            f"{out}: holds another job: {changed}; "
            "name another folder, or start anew with --restart"
        )


def _score(todo: Sequence[Shard], work: Work, beam_args: Sequence[str]) -> None:
    try:
        with beam.Pipeline(options=PipelineOptions(list(beam_args))) as pipeline:
            _ = (
                pipeline
                | "Shards" >> beam.Create(todo)
                | "Spread" >> beam.Reshuffle()
                | "Score" >> beam.ParDo(ScoreShard(work))
            )
    except UserError:
        raise
    except Exception as error:
        if "KeyboardInterrupt" in str(error):
            raise KeyboardInterrupt from error
        logging.getLogger(__name__).error("The pipeline failed.", exc_info=error)
        log = Path(work.out) / batch_output.LOG
        raise UserError(f"{_cause(error)} (log: {log})") from error


def _cause(error: BaseException) -> str:
    """The worker's own words: Beam hands on a worker's exception as text."""
    told = re.search(r"UserError: (.+?)(?: \[while running|\n|$)", str(error))
    if told:
        return told[1]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"the pipeline failed: {lines[-1] if lines else type(error).__name__}"
