"""The output folder of a batch job: parts that are whole or absent, rejected rows, a manifest.

    OUT/part-00000-of-00005.parquet             id, label, scores; in the order of the input
    OUT/_rejected/part-00000-of-00005.parquet   file, row, id, reason; only where rows were rejected
    OUT/_manifest.json                          what the job is
    OUT/_SUCCESS                                JSON; the counts, written last

Readers of parquet folders pass over names that begin with "_" or ".".
"""

from __future__ import annotations

import json
import os
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from components.arrow import open_parquet, pa, pq
from components.errors import UserError
from pipeline.client.batch_plan import Job, Shard

MANIFEST = "_manifest.json"
SUCCESS = "_SUCCESS"
REJECTED = "_rejected"
LOCK = "_lock"
LOG = "_log.txt"

ID = "id"
LABEL = "label"
SCORES = "scores"
_METADATA = b"arxiv-classify"


class Scored(NamedTuple):
    """Scored rows of a shard, in its order.

    Attributes:
      ids: as in the input; text or integers.
      labels: the best class of each.
      scores: float32 [rows, classes].
    """

    ids: Sequence[str | int]
    labels: Sequence[str]
    scores: npt.NDArray[np.float32]


class RejectedRow(NamedTuple):
    """A row that was not scored.

    Attributes:
      row: its place in the input file, from 0.
      id: as text; None where there is none that could be read.
      reason: why.
    """

    row: int
    id: str | None
    reason: str


class Counts(NamedTuple):
    """Rows of a job, counted in the files that it wrote."""

    scored: int
    rejected: int
    labels: dict[str, int]
    reasons: dict[str, int]


def part_path(out: Path, shard: Shard) -> Path:
    """Where a shard's scored rows are."""
    return out / f"{shard.name}.parquet"


def rejected_path(out: Path, shard: Shard) -> Path:
    """Where a shard's rejected rows are."""
    return out / REJECTED / f"{shard.name}.parquet"


def write_part(
    out: Path,
    shard: Shard,
    job_digest: str,
    id_type: pa.DataType,
    classes: Sequence[str],
    scored: Scored,
    rejected: Sequence[RejectedRow],
) -> None:
    """Writes a shard's files; the part last, since with it the shard is done."""
    reject_file = rejected_path(out, shard)
    if rejected:
        _write_table(reject_file, _rejected_table(shard, rejected))
    else:
        reject_file.unlink(missing_ok=True)
    columns = [pa.array(scored.scores[:, index], pa.float32()) for index in range(len(classes))]
    table = pa.table(
        {
            ID: pa.array(scored.ids, id_type),
            LABEL: pa.array(scored.labels, pa.string()),
            SCORES: pa.StructArray.from_arrays(columns, names=list(classes)),
        }
    )
    record = {
        "job": job_digest,
        "file": shard.file,
        "start": shard.start,
        "rows": shard.rows,
        "rejected": len(rejected),
    }
    table = table.replace_schema_metadata({_METADATA: json.dumps(record).encode()})
    _write_table(part_path(out, shard), table)


def _rejected_table(shard: Shard, rejected: Sequence[RejectedRow]) -> pa.Table:
    return pa.table(
        {
            "file": pa.array([shard.file] * len(rejected), pa.string()),
            "row": pa.array([row.row for row in rejected], pa.int64()),
            ID: pa.array([row.id for row in rejected], pa.string()),
            "reason": pa.array([row.reason for row in rejected], pa.string()),
        }
    )


def _write_table(path: Path, table: pa.Table) -> None:
    with _replacing(path) as scratch:
        pq.write_table(table, scratch)


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Writes a JSON file that is whole or absent."""
    with _replacing(path) as scratch:
        scratch.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it holds something else.
    """
    record = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(record, dict):
        raise ValueError(f"{path}: not a JSON object")
    return record


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Gives a new name beside ``path``; what is written there goes to the disk, then there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield scratch
        _sync(scratch)
        scratch.replace(path)
        _sync(path.parent)
    finally:
        scratch.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(out: Path) -> None:
    """Removes what a killed run was writing; only while no other run writes there."""
    for folder in (out, out / REJECTED):
        for path in folder.glob(".*.tmp"):
            path.unlink(missing_ok=True)


def remove_job(out: Path) -> None:
    """Removes an earlier job's files and nothing else; the manifest last."""
    remove_leftovers(out)
    for path in [out / SUCCESS, *out.glob("part-*-of-*.parquet")]:
        path.unlink(missing_ok=True)
    for path in (out / REJECTED).glob("part-*-of-*.parquet"):
        path.unlink(missing_ok=True)
    (out / MANIFEST).unlink(missing_ok=True)


def rejected_rows(out: Path, shard: Shard, job_digest: str) -> int | None:
    """Returns how many rows of a finished shard were rejected; None where it is not finished.

    A shard is finished where its files are whole, belong to this job, and hold all of its rows.
    """
    try:
        with open_parquet(str(part_path(out, shard))) as file:
            scored = file.metadata.num_rows
            record = json.loads((file.schema_arrow.metadata or {})[_METADATA])
        place = (record["job"], record["file"], record["start"], record["rows"])
        if place != (job_digest, shard.file, shard.start, shard.rows):
            return None
        rejected = int(record["rejected"])
        if rejected:
            with open_parquet(str(rejected_path(out, shard))) as file:
                if file.metadata.num_rows != rejected:
                    return None
    except (OSError, KeyError, ValueError):
        return None
    return rejected if scored + rejected == shard.rows else None


def count_rows(out: Path, job: Job) -> Counts:
    """Counts what was written against what was read.

    Raises:
      UserError: a part is missing, holds other rows than it should, or is not of this job.
    """
    shards = job.shards()
    digest = job.digest()
    expected = {part_path(out, shard) for shard in shards}
    strangers = sorted(set(out.glob("*.parquet")) - expected)
    if strangers:
        raise UserError(f"{strangers[0]}: not of this job; readers of {out} would take its rows")
    labels: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for shard in shards:
        rejected = rejected_rows(out, shard, digest)
        if rejected is None:
            raise UserError(
                f"{part_path(out, shard)}: missing or incomplete; the same command writes it anew"
            )
        labels.update(_column(part_path(out, shard), LABEL))
        if rejected:
            reasons.update(_column(rejected_path(out, shard), "reason"))
    counts = Counts(
        sum(labels.values()),
        sum(reasons.values()),
        dict(labels.most_common()),
        dict(reasons.most_common()),
    )
    if counts.scored + counts.rejected != job.rows:
        raise UserError(
            f"{out}: {job.rows:,} rows went in, but {counts.scored:,} scored and "
            f"{counts.rejected:,} rejected came out; start anew with --restart"
        )
    return counts


def _column(path: Path, name: str) -> list[str]:
    with open_parquet(str(path)) as file:
        return file.read(columns=[name]).column(0).to_pylist()
