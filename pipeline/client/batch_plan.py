"""What a batch job is: its inputs, their division into parts, and the record that pins both.

The division depends on nothing but the inputs and the rows asked for in a part, so that a rerun
finds the same parts and does those that are not there.
"""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from components.arrow import UnreadableFileError, open_parquet, pa
from components.errors import UserError
from pipeline.client.batch_model import ModelVersion

# Bytes that a column reader holds of a column chunk, however long that is.
_READ_BUFFER = 1 << 20
_READ_ROWS = 2048
_FORMAT = 1


class InputFile(NamedTuple):
    """A parquet file as it was when the job began.

    Attributes:
      path: absolute.
      size: bytes.
      modified_ns: time of the last change, ns since 1970.
      rows: by its footer.
    """

    path: str
    size: int
    modified_ns: int
    rows: int


class Shard(NamedTuple):
    """Consecutive rows of one input file, scored and written as one part.

    Attributes:
      name: of the part, without suffix.
      file: absolute path of the input.
      start: first row, from 0.
      rows: how many.
    """

    name: str
    file: str
    start: int
    rows: int


class Columns(NamedTuple):
    """Names of the input's columns."""

    id: str
    abstract: str


@dataclass(frozen=True)
class Job:
    """A batch job as its output folder remembers it.

    Attributes:
      inputs: in the order of their paths.
      columns: names in the inputs.
      id_type: the ids' type in the output, as Arrow writes it.
      rows_per_part: at most so many rows of an input in one part.
      model: what scores.
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
        """The job as JSON has it."""
        return {
            "format": _FORMAT,
            "inputs": [file._asdict() for file in self.inputs],
            "columns": self.columns._asdict(),
            "id_type": self.id_type,
            "rows_per_part": self.rows_per_part,
            "model": self.model._asdict(),
        }

    def digest(self) -> str:
        """SHA-256 of all that decides the output; a model may lie elsewhere meanwhile."""
        record = self.record()
        record["model"] = {"digest": self.model.digest}
        return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()

    def shards(self) -> list[Shard]:
        """The parts in order; an empty input has one without rows, so that its schema is there."""
        slices = [
            (file.path, start, min(self.rows_per_part, file.rows - start))
            for file in self.inputs
            for start in range(0, file.rows, self.rows_per_part) or [0]
        ]
        return [
            Shard(f"part-{index:05d}-of-{len(slices):05d}", *piece)
            for index, piece in enumerate(slices)
        ]


def plan(pattern: str, columns: Columns, rows_per_part: int, model: ModelVersion) -> Job:
    """Looks at the inputs and makes the job.

    Args:
      pattern: a parquet file, a folder of ``*.parquet``, or a glob (``**`` crosses folders).
      columns: names in the inputs.
      rows_per_part: at least 1.
      model: what will score.

    Raises:
      UserError: nothing matches, a file is no parquet, or a column is missing or of a wrong type.
    """
    paths = _matching(pattern)
    inputs: list[InputFile] = []
    kinds: dict[str, str] = {}
    for path in paths:
        file, kind = _inspect(path, columns)
        inputs.append(file)
        kinds.setdefault(str(kind), path)
    if len(kinds) > 1:
        listed = ", ".join(f"{kind} in {path}" for kind, path in kinds.items())
        raise UserError(f"column {columns.id!r} must have one type in all inputs; it is {listed}")
    return Job(tuple(inputs), columns, next(iter(kinds)), rows_per_part, model)


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


def _inspect(path: str, columns: Columns) -> tuple[InputFile, pa.DataType]:
    """The file as it is, and the type that its ids get in the output."""
    try:
        status = Path(path).stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    with open_parquet(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
    for column in columns:
        if schema.get_field_index(column) < 0:
            raise UserError(
                f"{path}: no column {column!r} (or two); it has {', '.join(schema.names)}; "
                "name yours with --id-column and --abstract-column"
            )
    abstract = _plain(schema.field(columns.abstract).type)
    if not _is_text(abstract):
        raise UserError(f"{path}: column {columns.abstract!r} must hold text, not {abstract}")
    kind = _plain(schema.field(columns.id).type)
    if not (_is_text(kind) or pa.types.is_integer(kind)):
        raise UserError(f"{path}: column {columns.id!r} must hold text or integers, not {kind}")
    file_record = InputFile(path, status.st_size, status.st_mtime_ns, rows)
    return file_record, pa.string() if _is_text(kind) else kind


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


class Rows(NamedTuple):
    """Columns of a shard; text is raw bytes, nothing decoded."""

    ids: list[bytes | int | None]
    abstracts: list[bytes | None]


def read_rows(shard: Shard, columns: Columns) -> Rows:
    """Reads a shard and holds no more of the file than that.

    Raises:
      UserError: the file cannot be read or has fewer rows than it had.
    """
    ids: list[bytes | int | None] = []
    abstracts: list[bytes | None] = []
    try:
        for batch in _batches(shard, columns):
            ids += _values(batch.column(batch.schema.get_field_index(columns.id)))
            abstracts += _values(batch.column(batch.schema.get_field_index(columns.abstract)))
    except UnreadableFileError as error:
        raise UserError(
            f"{error} in rows {shard.start} to {shard.start + shard.rows - 1}; "
            "mend the file, then start anew with --restart"
        ) from error
    if len(ids) != shard.rows:
        raise UserError(f"{shard.file}: has fewer rows than when the job began")
    return Rows(ids, abstracts)


def _batches(shard: Shard, columns: Columns) -> Iterator[pa.RecordBatch]:
    """The shard's rows; those before it in its first row group are read and dropped."""
    with open_parquet(shard.file, buffer_size=_READ_BUFFER) as file:
        groups: list[int] = []
        skip = seen = 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if seen + rows > shard.start and seen < shard.start + shard.rows:
                if not groups:
                    skip = shard.start - seen
                groups.append(group)
            seen += rows
        wanted = shard.rows
        if not (groups and wanted):
            return
        for batch in file.iter_batches(_READ_ROWS, row_groups=groups, columns=list(set(columns))):
            if skip >= batch.num_rows:
                skip -= batch.num_rows
                continue
            piece = batch.slice(skip, wanted)
            skip = 0
            wanted -= piece.num_rows
            yield piece
            if not wanted:
                return


def _values(array: pa.Array) -> list[Any]:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_string(array.type):
        array = array.cast(pa.binary())
    elif pa.types.is_large_string(array.type):
        array = array.cast(pa.large_binary())
    return array.to_pylist()


def difference(earlier: dict[str, Any], job: Job) -> str:
    """Says in a few words what of a job changed since its record was written; "" if nothing."""
    now = job.record()
    if earlier.get("format") != now["format"]:
        return "it was written by another version of this program"
    if earlier["model"]["digest"] != job.model.digest:
        return f"the model was {earlier['model']['version']} and is {job.model.version}"
    before = {file["path"]: file for file in earlier["inputs"]}
    after = {file["path"]: file for file in now["inputs"]}
    for path in sorted(before.keys() | after.keys()):
        if path not in after:
            return f"{path} is no longer an input"
        if path not in before:
            return f"{path} is a new input"
        if before[path] != after[path]:
            return f"{path} was changed"
    for key in ("columns", "id_type", "rows_per_part"):
        if earlier[key] != now[key]:
            return f"{key} was {earlier[key]} and is {now[key]}"
    return ""


def changed_inputs(job: Job) -> list[str]:
    """Paths of inputs whose size or time of change is no longer what the job was made for."""
    changed = []
    for file in job.inputs:
        try:
            status = Path(file.path).stat()
        except OSError:
            changed.append(file.path)
            continue
        if (status.st_size, status.st_mtime_ns) != (file.size, file.modified_ns):
            changed.append(file.path)
    return changed
