"""What a batch job is: its inputs, their division into parts, and the record that pins both.

The division depends on nothing but the inputs and the rows per part, so a rerun finds the same
parts and does those that are missing.
"""

from __future__ import annotations

import glob
import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from components.arrow import UnreadableFileError, is_text, open_parquet, pa
from components.errors import UserError
from pipeline.client.batch.model import ModelVersion

# Bytes of a column chunk that its reader holds, however long that is.
_READ_BUFFER = 1 << 20
_READ_ROWS = 2048
_FORMAT = 1

# Id and abstract; text as raw bytes.
Row = tuple[bytes | int | None, bytes | None]


@dataclass(frozen=True)
class InputFile:
    """A parquet file, by its absolute path, as it was when the job began; size in bytes."""

    path: str
    size: int
    modified_ns: int
    rows: int

    def changed(self) -> bool:
        """Says whether size or time of change are no longer these."""
        try:
            return (self.size, self.modified_ns) != _stamp(self.path)
        except UserError:
            return True


class Shard(NamedTuple):
    """Consecutive rows of one input file, the first at ``start`` (from 0), for one part."""

    name: str
    file: str
    start: int
    rows: int


@dataclass(frozen=True)
class Columns:
    """Names of the input's columns."""

    id: str
    abstract: str


@dataclass(frozen=True)
class Job:
    """A batch job as its output folder remembers it.

    Attributes:
        inputs: in the order of their paths.
        id_type: type of the ids in the output, by its Arrow name.
        rows_per_part: most rows of an input in one part.
    """

    inputs: tuple[InputFile, ...]
    columns: Columns
    id_type: str
    rows_per_part: int
    model: ModelVersion

    @property
    def rows(self) -> int:
        """Rows of all inputs."""
        return sum(file.rows for file in self.inputs)

    def record(self) -> dict[str, Any]:
        """Returns the job as JSON holds it."""
        return {"format": _FORMAT, **asdict(self)}

    def digest(self) -> str:
        """Returns the SHA-256 of all that decides the output; not of where the model lies."""
        record = {**self.record(), "model": {"digest": self.model.digest}}
        return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()

    def shards(self) -> list[Shard]:
        """Returns the parts in order; an empty input has one, without rows, for its schema."""
        size = self.rows_per_part
        slices = [
            (file.path, start, min(size, file.rows - start))
            for file in self.inputs
            for start in range(0, file.rows, size) or [0]
        ]
        count = len(slices)
        return [Shard(f"part-{i:05d}-of-{count:05d}", *one) for i, one in enumerate(slices)]

    def difference(self, earlier: dict[str, Any]) -> str:
        """Says in a few words what changed since an earlier record; "" if nothing did."""
        now = self.record()
        if earlier.get("format") != _FORMAT:
            return "it was written by another version of this program"
        if earlier["model"]["digest"] != self.model.digest:
            return f"the model was {earlier['model']['version']} and is {self.model.version}"
        before, after = ({one["path"]: one for one in job["inputs"]} for job in (earlier, now))
        for path in sorted(before | after):
            if path not in after:
                return f"{path} is no longer an input"
            if before.get(path) != after[path]:
                return f"{path} was changed" if path in before else f"{path} is a new input"
        for key in ("columns", "id_type", "rows_per_part"):
            if earlier[key] != now[key]:
                return f"{key} was {earlier[key]} and is {now[key]}"
        return ""


def plan(pattern: str, columns: Columns, rows_per_part: int, model: ModelVersion) -> Job:
    """Inspects the inputs and makes the job.

    Args:
        pattern: a parquet file, a folder of ``*.parquet``, or a glob (``**`` crosses folders).
        columns, rows_per_part, model: see :class:`Job`.

    Raises:
        UserError: nothing matches, a file is no parquet, or a column is missing or of a wrong type.
    """
    inputs, types = zip(*(_inspect(path, columns) for path in _matching(pattern)), strict=True)
    if len(set(types)) > 1:
        examples = {kind: file.path for file, kind in zip(inputs, types, strict=True)}
        listed = ", ".join(f"{kind} in {path}" for kind, path in examples.items())
        raise UserError(f"column {columns.id!r} must have one type in all inputs; it is {listed}")
    return Job(inputs, columns, types[0], rows_per_part, model)


def _matching(pattern: str) -> list[str]:
    if "://" in pattern:
        raise UserError(f"{pattern}: needs a path that every worker sees; mount the storage")
    if Path(pattern).is_dir():
        found = [str(path) for path in Path(pattern).glob("*.parquet")]
    elif Path(pattern).exists():
        found = [pattern]
    else:
        # Path.glob refuses absolute patterns.
        found = glob.glob(pattern, recursive=True)  # noqa: PTH207
    paths = {str(Path(path).resolve()) for path in found if Path(path).is_file()}
    if not paths:
        raise UserError(f"{pattern}: no such parquet file; name a file, a folder or a quoted glob")
    return sorted(paths)


def _stamp(path: str) -> tuple[int, int]:
    """Size and time of the last change."""
    try:
        status = Path(path).stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    return status.st_size, status.st_mtime_ns


def _inspect(path: str, columns: Columns) -> tuple[InputFile, str]:
    """The file as it is, and the type that its ids get in the output."""
    stamp = _stamp(path)
    with open_parquet(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
    for column in (columns.id, columns.abstract):
        if schema.get_field_index(column) < 0:
            raise UserError(
                f"{path}: no column {column!r} (or two); it has {', '.join(schema.names)}; "
                "name yours with --id-column and --abstract-column"
            )
    abstract, kind = schema.field(columns.abstract).type, schema.field(columns.id).type
    if not is_text(abstract):
        raise UserError(f"{path}: column {columns.abstract!r} must hold text, not {abstract}")
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (is_text(kind) or pa.types.is_integer(kind)):
        raise UserError(f"{path}: column {columns.id!r} must hold text or integers, not {kind}")
    return InputFile(path, *stamp, rows), "string" if is_text(kind) else str(kind)


def read_rows(shard: Shard, columns: Columns) -> list[Row]:
    """Reads ids and abstracts of a shard and holds no more of the file than that.

    Raises:
        UserError: the file cannot be read or has fewer rows than it had.
    """
    rows: list[Row] = []
    try:
        for batch in _batches(shard, columns):
            rows += zip(_values(batch[columns.id]), _values(batch[columns.abstract]), strict=True)
    except UnreadableFileError as error:
        raise UserError(
            f"{error} in rows {shard.start} to {shard.start + shard.rows - 1}; "
            "mend the file, then start anew with --restart"
        ) from error
    if len(rows) != shard.rows:
        raise UserError(f"{shard.file}: has fewer rows than when the job began")
    return rows


def _batches(shard: Shard, columns: Columns) -> Iterator[pa.RecordBatch]:
    """The shard's rows; those before it in its first row group are read and dropped."""
    end = shard.start + shard.rows
    with open_parquet(shard.file, buffer_size=_READ_BUFFER) as file:
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        ends = list(itertools.accumulate(sizes))
        groups = [
            group
            for group, size in enumerate(sizes)
            if ends[group] > shard.start and ends[group] - size < end
        ]
        if not (groups and shard.rows):
            return
        position = ends[groups[0]] - sizes[groups[0]]
        names = list({columns.id, columns.abstract})
        for batch in file.iter_batches(_READ_ROWS, row_groups=groups, columns=names):
            skipped = min(max(shard.start - position, 0), batch.num_rows)
            yield batch.slice(skipped, end - position - skipped)
            position += batch.num_rows
            if position >= end:
                return


def _values(array: pa.Array) -> list[Any]:
    if is_text(array.type):
        array = array.cast(pa.large_binary())
    elif pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.to_pylist()
