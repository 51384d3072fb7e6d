"""Scores parquet files with a SavedModel: a Beam pipeline that can be resumed.

Each shard (consecutive rows of one input) is read, scored and written on its own, under a name that
depends only on the job. So a worker keeps one shard in memory, a rerun scores the missing shards,
and a bundle that a cluster runs twice writes the same file twice.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions
from filelock import FileLock, Timeout

from components.arrow import pa
from components.errors import UserError
from components.scoring.scorer import score_by_length
from pipeline.client.batch import parts
from pipeline.client.batch.model import find_model, load_scorer
from pipeline.client.batch.parts import Counts, RejectedRow
from pipeline.client.batch.plan import Columns, Job, Row, Shard, plan, read_rows
from pipeline.client.batch.progress import watch
from pipeline.client.folders import text_columns


class ScorableRow(NamedTuple):
    """A row that the model can score: its index in the input file, its id, and valid UTF-8."""

    row: int
    id: str | int
    text: bytes


def divide(rows: Iterable[Row], start: int) -> tuple[list[ScorableRow], list[RejectedRow]]:
    """Separates rows that can be scored from the others; ``start`` is the first row's index."""
    scorable: list[ScorableRow] = []
    rejected: list[RejectedRow] = []
    for row, (key, text) in enumerate(rows, start):
        name = _decoded(key) if isinstance(key, bytes) else key
        if key is None or (isinstance(key, bytes) and not key.strip()):
            reason = "no id"
        elif name is None:
            reason = "id is not valid UTF-8"
        elif text is None:
            reason = "text is null"
        elif _decoded(text) is None:
            reason = "text is not valid UTF-8"
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
    """Reads, scores and writes a shard; yields its name."""

    def __init__(self, job: Job, out: Path, batch_size: int, threads: int) -> None:
        self._job, self._out = job, out
        self._batch_size, self._thread_count = batch_size, threads

    def setup(self) -> None:
        """Loads the model, which all workers of the process share."""
        self._digest = self._job.digest()
        self._scorer = load_scorer(self._job.model)
        self._threads = ThreadPoolExecutor(self._thread_count or len(os.sched_getaffinity(0)))

    def teardown(self) -> None:
        self._threads.shutdown()

    def process(self, shard: Shard) -> Iterator[str]:
        """Scores a shard unless it is finished.

        Raises:
            UserError: the input cannot be read, the model fails, or the part cannot be written.
        """
        if parts.rejected_rows(self._out, shard, self._digest) is None:
            scored, rejected = self._score(shard)
            try:
                parts.write_part(self._out, shard, self._digest, scored, rejected)
            except OSError as error:
                raise UserError(
                    f"{parts.part_path(self._out, shard)}: cannot be written: "
                    f"{error.strerror or error}; see to that and run the same command again"
                ) from error
        yield shard.name

    def _score(self, shard: Shard) -> tuple[pa.Table, list[RejectedRow]]:
        rows, rejected = divide(read_rows(shard, self._job.columns), shard.start)
        found = score_by_length(
            self._scorer, [row.text for row in rows], self._batch_size, run=self._threads.map
        )
        finite = np.isfinite(found.scores).all(axis=1)
        failed = itertools.compress(rows, ~finite)
        rejected += [RejectedRow(row.row, str(row.id), "scores are not finite") for row in failed]
        columns = [pa.array(column, pa.float32()) for column in found.scores[finite].T]
        scored = pa.table(
            {
                parts.ID: pa.array(
                    [row.id for row in itertools.compress(rows, finite)],
                    pa.type_for_alias(self._job.id_type),
                ),
                parts.LABEL: pa.array(itertools.compress(found.labels, finite), pa.string()),
                parts.SCORES: pa.StructArray.from_arrays(columns, names=found.classes),
            }
        )
        return scored, sorted(rejected)


def run_batch(
    pattern: str,
    out: Path,
    model_folder: Path,
    *,
    columns: Columns,
    rows_per_part: int,
    batch_size: int,
    threads: int,
    restart: bool,
    beam_args: Sequence[str],
    say: Callable[[str], None],
) -> Counts:
    """Scores all rows of the matching files into a folder of parts; resumes an earlier run there.

    The arguments are those of the command (:mod:`pipeline.client.batch.command`); ``say`` gets
    plain lines of progress if there is no terminal.

    Raises:
        UserError: an input, the model or a part cannot be read or written, or ``out`` has other
            files or another job's.
        KeyboardInterrupt: Ctrl-C; finished shards stay, unfinished ones leave nothing.
    """
    found = find_model(model_folder)
    if not columns.text:
        columns = replace(columns, text=text_columns(Path(found.folder)))
    job = plan(pattern, columns, rows_per_part, found, out)
    out = out.absolute()
    with _writing(out):
        if restart:
            parts.remove_job(out)
        _pin(out, job)
        parts.remove_leftovers(out)
        digest, shards = job.digest(), job.shards()
        todo = [shard for shard in shards if parts.rejected_rows(out, shard, digest) is None]
        if len(todo) < len(shards):
            say(f"{len(shards) - len(todo)} of {len(shards)} parts are there from an earlier run")
        if todo:
            (out / parts.SUCCESS).unlink(missing_ok=True)
            # Here too, so that an unusable model is reported before any worker starts.
            load_scorer(job.model)
            with watch(out, todo, say):
                _run(todo, ScoreShard(job, out, batch_size, threads), out, beam_args)
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
            "parts": counts.parts,
            "model": asdict(job.model),
            "job": digest,
        }
        parts.write_json(out / parts.SUCCESS, summary)
        return counts


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Creates the folder, holds its lock, and sends log records to a file in it."""
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
    """Writes the job's record, or checks that an existing one is the same job's."""
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
    """Returns the worker's message, out of the text that Beam makes of its exception."""
    told = re.findall(r"\bcomponents\.\S+Error: (.+?)(?: \[while running|\n|$)", str(error))
    if told:
        return str(told[-1])
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"the pipeline failed: {lines[-1] if lines else type(error).__name__}"
