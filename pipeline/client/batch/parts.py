"""The output folder of a batch job; each file is written atomically.

    OUT/part-00000-of-00005.parquet             id, label, scores; in the order of the input
    OUT/_rejected/part-00000-of-00005.parquet   file, row, id, reason; only if rows were rejected
    OUT/_manifest.json                          the job's record
    OUT/_SUCCESS                                JSON with the counts, written last

Readers of parquet folders ignore names that begin with "_" or ".".
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from components import atomic
from components.arrow import open_parquet, pa, pq
from components.errors import UserError
from pipeline.client.batch.plan import Job, Shard

MANIFEST = "_manifest.json"
SUCCESS = "_SUCCESS"
REJECTED = "_rejected"
LOCK = "_lock"
LOG = "_log.txt"

ID = "id"
LABEL = "label"
SCORES = "scores"
REASON = "reason"
_METADATA = b"arxiv-classify"


class RejectedRow(NamedTuple):
    """A row that was not scored: its index in the input file, its id if readable, and why."""

    row: int
    id: str | None
    reason: str


class Counts(NamedTuple):
    """Parts and rows of a job, counted in its output files."""

    parts: int
    scored: int
    rejected: int
    labels: dict[str, int]
    reasons: dict[str, int]


def part_path(out: Path, shard: Shard) -> Path:
    """Returns the path of a shard's scored rows."""
    return out / f"{shard.name}.parquet"


def rejected_path(out: Path, shard: Shard) -> Path:
    """Returns the path of a shard's rejected rows."""
    return out / REJECTED / f"{shard.name}.parquet"


def write_part(
    out: Path, shard: Shard, job_digest: str, scored: pa.Table, rejected: Sequence[RejectedRow]
) -> None:
    """Writes a shard's files; the part comes last, since it marks the shard as finished.

    ``scored`` has ids, labels and scores, in the order of the input. The part records the shard and
    the job's digest.
    """
    reject_file = rejected_path(out, shard)
    if rejected:
        file = os.fsencode(shard.file).decode("utf-8", "replace")
        columns = {
            "file": pa.array([file] * len(rejected), pa.string()),
            "row": pa.array([row.row for row in rejected], pa.int64()),
            ID: pa.array([row.id for row in rejected], pa.string()),
            REASON: pa.array([row.reason for row in rejected], pa.string()),
        }
        _write_table(reject_file, pa.table(columns))
    else:
        reject_file.unlink(missing_ok=True)
    record = {"job": job_digest, **_place(shard), "rejected": len(rejected)}
    metadata = {_METADATA: json.dumps(record).encode()}
    _write_table(part_path(out, shard), scored.replace_schema_metadata(metadata))


def _place(shard: Shard) -> dict[str, Any]:
    return {"file": shard.file, "start": shard.start, "rows": shard.rows}


def _write_table(path: Path, table: pa.Table) -> None:
    # pyarrow takes only names that are UTF-8.
    with atomic.replacing(path) as scratch, scratch.open("wb") as file:
        pq.write_table(table, file)


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Writes a JSON file atomically."""
    atomic.write_text(path, json.dumps(record, indent=1) + "\n")


def remove_leftovers(out: Path) -> None:
    """Removes a killed run's temporary files; the caller must hold the folder's lock."""
    for path in [*out.glob(".*.tmp"), *(out / REJECTED).glob(".*.tmp")]:
        path.unlink(missing_ok=True)


def remove_job(out: Path) -> None:
    """Removes an earlier job's files, the manifest last."""
    remove_leftovers(out)
    parts = "part-*-of-*.parquet"
    for path in [out / SUCCESS, *out.glob(parts), *(out / REJECTED).glob(parts), out / MANIFEST]:
        path.unlink(missing_ok=True)


def rejected_rows(out: Path, shard: Shard, job_digest: str) -> int | None:
    """Returns how many rows of a shard were rejected; None if it is not finished.

    A shard is finished if its files are complete, belong to this job, and have all of its rows.
    """
    try:
        with open_parquet(str(part_path(out, shard))) as file:
            scored = file.metadata.num_rows
            record = json.loads((file.schema_arrow.metadata or {})[_METADATA])
        rejected = int(record.pop("rejected"))
        if record != {"job": job_digest, **_place(shard)}:
            return None
        if rejected:
            with open_parquet(str(rejected_path(out, shard))) as file:
                if file.metadata.num_rows != rejected:
                    return None
    except (OSError, KeyError, ValueError):
        return None
    return rejected if scored + rejected == shard.rows else None


def count_rows(out: Path, job: Job) -> Counts:
    """Counts the rows written and checks them against the rows read.

    Raises:
        UserError: a part is missing, incomplete, or not of this job.
    """
    shards = job.shards()
    digest = job.digest()
    strangers = sorted(set(out.glob("*.parquet")) - {part_path(out, shard) for shard in shards})
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
            reasons.update(_column(rejected_path(out, shard), REASON))
    counts = Counts(
        *(len(shards), labels.total(), reasons.total()),
        *(dict(labels.most_common()), dict(reasons.most_common())),
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
