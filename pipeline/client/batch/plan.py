"""Plans a batch job: its inputs, their division into parts, and its record.

The division depends only on the inputs and the rows per part, so a rerun has the same parts and
writes those that are missing.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from components.arrow import UnreadableFileError, is_text, open_parquet, pa
from components.errors import UserError
from components.input_files import check_columns, find_files
from pipeline.client.batch.model import ModelVersion

# Bytes of a column chunk that are buffered at a time.
_READ_BUFFER = 1 << 20
_READ_ROWS = 2048
_FORMAT = 2

# Id and text, as raw bytes.
Row = tuple[bytes | int | None, bytes | None]


@dataclass(frozen=True)
class InputFile:
    """A parquet file (absolute path, size in bytes) as it was when the job began."""

    path: str
    size: int
    modified_ns: int
    rows: int

    def changed(self) -> bool:
        """Returns whether the file's size or modification time differs now."""
        try:
            return (self.size, self.modified_ns) != _stamp(self.path)
        except UserError:
            return True


class Shard(NamedTuple):
    """Consecutive rows of an input file, from index ``start``, that form one part."""

    name: str
    file: str
    start: int
    rows: int


@dataclass(frozen=True)
class Columns:
    """Names of the input's columns; several text columns are joined, as in training."""

    id: str
    text: tuple[str, ...]

    def names(self) -> list[str]:
        return list(dict.fromkeys([self.id, *self.text]))


@dataclass(frozen=True)
class Job:
    """A batch job as its output folder records it.

    Attributes:
        inputs: in the order of their paths.
        id_type: Arrow name of the ids' type in the output.
    """

    inputs: tuple[InputFile, ...]
    columns: Columns
    id_type: str
    rows_per_part: int
    model: ModelVersion

    @property
    def rows(self) -> int:
        """Total rows of all inputs."""
        return sum(file.rows for file in self.inputs)

    def record(self) -> dict[str, Any]:
        """Returns the job as JSON values."""
        return {"format": _FORMAT, **asdict(self)}

    def digest(self) -> str:
        """Returns the hex SHA-256 of all that determines the output, not of the model's path."""
        record = {**self.record(), "model": {"digest": self.model.digest}}
        return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()

    def shards(self) -> list[Shard]:
        """Returns the shards in order; an empty input has one without rows, for the schema."""
        size = self.rows_per_part
        slices = [
            (file.path, start, min(size, file.rows - start))
            for file in self.inputs
            for start in range(0, file.rows, size) or [0]
        ]
        count = len(slices)
        return [Shard(f"part-{i:05d}-of-{count:05d}", *one) for i, one in enumerate(slices)]

    def difference(self, earlier: dict[str, Any]) -> str:
        """Describes what changed since an earlier record; "" if nothing did."""
        now = json.loads(json.dumps(self.record()))
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


def plan(pattern: str, columns: Columns, rows_per_part: int, model: ModelVersion, out: Path) -> Job:
    """Inspects the inputs and returns the job.

    Args:
        pattern: a parquet file, a folder, or a glob; see ``input_files.find_files``.
        out: the output folder, whose files are no inputs.

    Raises:
        UserError: no file matches, one is not parquet, or a column is missing or has a wrong type.
    """
    inputs, types = zip(*(_inspect(path, columns) for path in _matching(pattern, out)), strict=True)
    if len(set(types)) > 1:
        examples = {kind: file.path for file, kind in zip(inputs, types, strict=True)}
        listed = ", ".join(f"{kind} in {path}" for kind, path in examples.items())
        raise UserError(f"column {columns.id!r} must have one type in all inputs; it is {listed}")
    return Job(inputs, columns, types[0], rows_per_part, model)


def _matching(pattern: str, out: Path) -> list[str]:
    if "://" in pattern:
        raise UserError(f"{pattern}: needs a path that every worker sees; mount the storage")
    paths = sorted({Path(path).resolve() for path in find_files(pattern)})
    # A rerun must not score the parts of the first run.
    inputs = [path for path in paths if not path.is_relative_to(out.resolve())]
    return [str(path) for path in inputs or paths]


def _stamp(path: str) -> tuple[int, int]:
    """Returns a file's size in bytes and modification time in nanoseconds."""
    try:
        status = Path(path).stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    return status.st_size, status.st_mtime_ns


def _inspect(path: str, columns: Columns) -> tuple[InputFile, str]:
    """Checks a file; returns it and the Arrow name of its ids' type in the output."""
    stamp = _stamp(path)
    with open_parquet(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
    remedy = "; name yours with --id-column and --text-column"
    check_columns(columns.names(), schema.names, path, remedy=remedy)
    for name in columns.text:
        if not is_text(kind := schema.field(name).type):
            raise UserError(f"{path}: column {name!r} must hold text, not {kind}")
    kind = schema.field(columns.id).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (is_text(kind) or pa.types.is_integer(kind)):
        raise UserError(f"{path}: column {columns.id!r} must hold text or integers, not {kind}")
    return InputFile(path, *stamp, rows), "string" if is_text(kind) else str(kind)


def read_rows(shard: Shard, columns: Columns) -> list[Row]:
    """Reads only a shard's ids and texts.

    Raises:
        UserError: the file cannot be read or has fewer rows than when the job began.
    """
    rows: list[Row] = []
    try:
        for batch in _batches(shard, columns):
            texts = zip(*(_values(batch[name]) for name in columns.text), strict=True)
            rows += zip(_values(batch[columns.id]), map(_joined, texts), strict=True)
    except UnreadableFileError as error:
        raise UserError(
            f"{error}; then start anew with --restart "
            f"(found in rows {shard.start} to {shard.start + shard.rows - 1})"
        ) from error
    if len(rows) != shard.rows:
        raise UserError(f"{shard.file}: has fewer rows than when the job began")
    return rows


def _batches(shard: Shard, columns: Columns) -> Iterator[pa.RecordBatch]:
    """Yields a shard's rows; those before it in its first row group are read and dropped."""
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
        for batch in file.iter_batches(_READ_ROWS, row_groups=groups, columns=columns.names()):
            skipped = min(max(shard.start - position, 0), batch.num_rows)
            yield batch.slice(skipped, end - position - skipped)
            position += batch.num_rows
            if position >= end:
                return


def _joined(texts: tuple[bytes | None, ...]) -> bytes | None:
    """Joins a row's texts as ingestion does, without empty ones."""
    given = list(filter(None, texts))
    return b"\n".join(given) if given else texts[0]


def _values(array: pa.Array) -> list[Any]:
    if is_text(array.type):
        array = array.cast(pa.large_binary())
    elif pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.to_pylist()
