"""Finds parquet files, checks their schemas, and reads them by row group."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterator
from typing import IO, NamedTuple

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from tfx.dsl.io import fileio

from components import input_files
from components.arrow import open_parquet, pa, pq
from components.contracts.columns import ARXIV, Columns
from components.errors import UserError
from components.ingestion import columns

# Bounds the rows in memory, since a row group can be a whole file.
BATCH_ROWS = 4096


class RowGroup(NamedTuple):
    """A row group of a file: the unit of reading."""

    path: str
    number: int  # in its file
    rows: int


def open_input(path: str) -> IO[bytes]:
    """Opens a file on any of Beam's file systems; its name need not be UTF-8.

    Raises:
        UserError: it cannot be opened.
    """
    try:
        return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror or error})") from error


@contextlib.contextmanager
def _opened(path: str, footer: pq.FileMetaData | None = None) -> Iterator[pq.ParquetFile]:
    with open_input(path) as stream, open_parquet(stream, path, metadata=footer) as file:
        yield file


def find_inputs(pattern: str) -> list[str]:
    """Returns the input's files, sorted; see ``input_files.find_files``.

    Raises:
        UserError: there is none, or one is not a file that can be read.
    """
    if "://" not in pattern:
        return input_files.find_files(pattern)
    # Globs on TFX's other file systems do not cross folders.
    paths = sorted(
        path
        for path in fileio.glob(pattern)
        if not fileio.isdir(path) and not input_files.is_hidden(posixpath.basename(path))
    )
    if not paths:
        raise UserError(f"{pattern}: no file matches; name a parquet file or a glob")
    return paths


def find_row_groups(pattern: str, names: Columns = ARXIV) -> list[RowGroup]:
    """Lists the row groups of the input's files, after checking each file's schema.

    Args:
        pattern: a file, a folder, or a glob; or a file or glob on another of TFX's file systems.
        names: the columns that each file must have.

    Raises:
        UserError: see `find_inputs`; or a file is not parquet, or a column is missing or has a
            wrong type.
    """
    row_groups = []
    for path in find_inputs(pattern):
        with _opened(path) as file:
            schema, footer = file.schema_arrow, file.metadata
        columns.check_schema(schema, path, names)
        row_groups += [
            RowGroup(path, index, footer.row_group(index).num_rows)
            for index in range(footer.num_row_groups)
        ]
    return row_groups


class RowGroupReader:
    """Reads row groups; parses a file's footer once for consecutive row groups.

    A footer describes all row groups of its file. Parsing it for each of them would take time
    quadratic in their number.
    """

    def __init__(self, names: Columns = ARXIV) -> None:
        self._names = [*names.required, *names.optional]
        self._path = ""
        self._footer: pq.FileMetaData | None = None

    def batches(self, row_group: RowGroup) -> Iterator[pa.RecordBatch]:
        """Yields the raw columns of a row group, in order, at most ``BATCH_ROWS`` rows at a time.

        Raises:
            UserError: the file can no longer be opened or read.
        """
        known = self._footer if row_group.path == self._path else None
        with _opened(row_group.path, known) as file:
            self._path, self._footer = row_group.path, file.metadata
            for batch in file.iter_batches(
                batch_size=BATCH_ROWS,
                row_groups=[row_group.number],
                columns=self._names,
                use_threads=False,
            ):
                yield columns.with_partitions(batch, row_group.path, self._names)
