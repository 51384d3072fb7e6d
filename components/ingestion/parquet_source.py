"""The parquet files of a run: found, checked by their footers, read a row group at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from tfx.dsl.io import fileio

from components.arrow import open_parquet, pa, pq
from components.contracts import features
from components.errors import UserError
from components.ingestion import columns

# A row group can be a whole file; rows in memory are bounded by this.
BATCH_ROWS = 4096


class RowGroup(NamedTuple):
    """One row group of one file: the unit of reading."""

    path: str
    number: int  # in its file
    rows: int


@contextlib.contextmanager
def _opened(path: str, footer: pq.FileMetaData | None = None) -> Iterator[pq.ParquetFile]:
    try:
        stream = FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error})") from error
    with stream, open_parquet(stream, path, metadata=footer) as file:
        yield file


def find_row_groups(pattern: str) -> list[RowGroup]:
    """Lists the row groups of all files that match a glob, after checking each file's schema.

    Args:
        pattern: file name or glob, on any file system that TFX and Beam know.

    Raises:
        UserError: nothing matches, a file is no parquet file, or a column is missing or of a wrong
            type.
    """
    paths = sorted(path for path in fileio.glob(pattern) if not fileio.isdir(path))
    if not paths:
        raise UserError(f"{pattern}: no file matches. Give a parquet file or a glob of them.")
    row_groups = []
    for path in paths:
        with _opened(path) as file:
            schema, footer = file.schema_arrow, file.metadata
        columns.check_schema(schema, path)
        row_groups += [
            RowGroup(path, index, footer.row_group(index).num_rows)
            for index in range(footer.num_row_groups)
        ]
    return row_groups


class RowGroupReader:
    """Reads row groups; parses a file's footer once for all of its row groups in a row.

    A footer describes every row group of its file: read with each of them, it would make the
    reading quadratic in their number.
    """

    def __init__(self) -> None:
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
            yield from file.iter_batches(
                batch_size=BATCH_ROWS,
                row_groups=[row_group.number],
                columns=list(features.RAW_COLUMNS),
                use_threads=False,
            )
