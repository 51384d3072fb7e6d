"""Imports rows into one parquet file: filters by date, drops repeated papers, samples by class."""

from __future__ import annotations

import contextlib
import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from pydantic_core import to_json

from components import atomic
from components.arrow import UnreadableFileError, open_parquet, pa, pc, pq
from components.contracts.columns import ARXIV, Columns
from components.errors import UserError
from components.ingestion.splits import hashes
from pipeline.corpora import paper_rows, row_source
from pipeline.corpora.paper_rows import LINE, without
from pipeline.corpora.row_source import Tally, ahead
from pipeline.corpora.sample import SCHEMA

_MADE_FROM = b"arxiv-pipeline.import"
_SAMPLED_ROWS = 1 << 14  # of all papers, read at a time

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class ImportRequest:
    """What to import, and where to.

    Attributes:
        source: the dump, or a CSV or JSON-lines file; see `packed_files.unpacked`.
        output: the parquet file to write, with the columns of the same names.
        columns: those of a file of one's own; None for arXiv's dump.
        subjects: the dump's mapping file.
        first, last: only rows with a date from one to the other, both included.
        limit: rows of a sample in which each class has its share; None for all.
        seed: of the sample.
        overwrite: whether to replace an output that was made from something else.
    """

    source: Path
    output: Path
    columns: Columns | None = None
    subjects: Path = paper_rows.SUBJECTS_FILE
    first: date | None = None
    last: date | None = None
    limit: int | None = None
    seed: int = 0
    overwrite: bool = False

    @property
    def named(self) -> Columns:
        """The output's columns."""
        return self.columns or ARXIV


def run(
    request: ImportRequest, track: Callable[[BinaryIO], BinaryIO] = lambda raw: raw
) -> Tally | None:
    """Imports a file, in memory that grows by some 40 bytes a row, and 80 more with a limit.

    The output is written atomically. A stopped import leaves the old one or none, and starts again.
    Beside it, ``<output>.import.json`` has the counts.

    Args:
        request: what to import.
        track: see :func:`row_source.opened`.

    Returns:
        The counts: rows of the source = rows imported + left out. None if an equal import made the
        output before.

    Raises:
        UserError: the source cannot be read, no row is left, or the output exists already.
        OSError: a file cannot be written.
    """
    output, label, tally = request.output, request.named.label, Tally()
    subjects = {} if request.columns else paper_rows.load_subjects(request.subjects)
    with row_source.opened(request.source, track) as source, contextlib.ExitStack() as stack:
        status = request.source.stat()
        options = {**vars(request), "source": request.source.name, "subjects": subjects}
        options |= {"bytes": status.st_size, "modified_ns": status.st_mtime_ns}
        made_from = to_json({k: v for k, v in options.items() if k not in ("output", "overwrite")})
        if _is_there(request, made_from):
            return None
        if request.columns:
            schema = paper_rows.own_schema(request.columns)
            tables = paper_rows.own_rows(source, tally, request.columns)
        else:
            schema = SCHEMA
            tables = paper_rows.dump_papers(source, tally, subjects)
        tables = _within_dates(tables, request, tally)
        if not request.columns:
            # In a file of one's own the latest row of an id counts, which ingestion finds.
            tables = _first_of_id(tables, tally)
        chosen = ahead(table.drop([LINE.name]) for table in tables)
        schema = schema.with_metadata({_MADE_FROM: made_from})
        # Rows hold no cycles, and looking for some takes a third of the time.
        stack.callback(gc.enable if gc.isenabled() else gc.disable)
        gc.disable()
        atomic.sweep(output)
        part = stack.enter_context(atomic.replacing(output))
        if request.limit is None:
            _write(part, schema, chosen, tally.classes, label)
        else:
            # Named so that the next import sweeps what a killed one leaves.
            everything = part.with_name(f"{part.stem}.all.tmp")
            stack.callback(everything.unlink, missing_ok=True)
            _write(everything, schema, chosen, Counter(), label)
            _write(part, schema, _sample(everything, request, tally), tally.classes, label)
        rows, left_out = tally.classes.total(), tally.left_out.total()
        if tally.rows != rows + left_out:
            raise AssertionError(f"{tally.rows} rows in, {rows} out, {left_out} left out")
        if not rows:
            why = ", ".join(f"{reason}: {n:,}" for reason, n in tally.left_out.items())
            raise UserError(f"{source.name}: has no row to import ({why or 'it is empty'})")
    atomic.write_bytes(output.with_suffix(".import.json"), to_json(tally, indent=2))
    return tally


def _is_there(request: ImportRequest, made_from: bytes) -> bool:
    """Returns whether an equal import made the output."""
    output = request.output
    if output.exists() and (not output.is_file() or output.samefile(request.source)):
        raise UserError(f"{output}: not a regular file, or the source; name a parquet to write")
    if request.overwrite or not output.exists():
        return False
    with contextlib.suppress(UnreadableFileError), open_parquet(str(output)) as file:
        if (file.schema_arrow.metadata or {}).get(_MADE_FROM) == made_from:
            return True
    raise UserError(
        f"{output}: exists, and was not made from this file with these options; name another "
        "output, or give --overwrite"
    )


def _within_dates(
    tables: Iterator[pa.Table], request: ImportRequest, tally: Tally
) -> Iterator[pa.Table]:
    first, last = request.first or date.min, request.last or date.max
    for table in tables:
        if request.first or request.last:
            found = pc.extract_regex(table[request.named.date], r"^\s*(?P<date>\d{4}-\d{2}-\d{2})")
            day = pc.struct_field(found.combine_chunks(), [0])
            other = pc.or_(pc.less(day, first.isoformat()), pc.greater(day, last.isoformat()))
            table = without({"no date": pc.is_null(day), "outside the dates": other}, table, tally)
        yield table


def _first_of_id(tables: Iterable[pa.Table], tally: Tally) -> Iterator[pa.Table]:
    """Leaves out all papers but the first of an id.

    Keeps a 64-bit hash of each id. Among n ids, two have one hash with probability n^2 / 2^65 (4e-7
    for four million papers), and one of them would be lost.
    """
    # Ascending, with an end that no hash is past.
    seen: Hashes = np.array([~np.uint64(0)])
    for table in tables:
        found = _hashes(table.select([ARXIV.id]), 0)
        repeated = np.ones(len(found), bool)
        repeated[np.unique(found, return_index=True)[1]] = False
        repeated |= seen[np.searchsorted(seen, found)] == found
        # Stable sorting merges sorted runs.
        seen = np.sort(np.concatenate([seen, np.sort(found[~repeated])]), kind="stable")
        yield without({"repeated id": pa.array(repeated)}, table, tally)


def _hashes(table: pa.Table, seed: int) -> Hashes:
    """Returns a hash of each row [rows]."""
    columns = [column.cast(pa.binary()).fill_null(b"") for column in table.columns]
    return hashes(pc.binary_join_element_wise(*columns, b"\0").to_pylist(), seed % (1 << 128))


def _sample(path: Path, request: ImportRequest, tally: Tally) -> Iterator[pa.Table]:
    """Yields of each class the rows with the least hashes, as many as its share of the limit.

    A paper's hash is that of its id; without known ids, it is that of the row. Shares are rounded
    by largest remainder. The order of the rows does not matter.
    """
    label = request.named.label
    keys = request.columns.required if request.columns else (ARXIV.id,)
    with open_parquet(str(path)) as file:
        if file.metadata.num_rows == 0:
            return
        found, labels = [], []
        for batch in file.iter_batches(_SAMPLED_ROWS, columns=[*{*keys, label}]):
            table = pa.Table.from_batches([batch])
            found.append(_hashes(table.select(keys), request.seed))
            labels.append(table[label].combine_chunks().dictionary_encode())
        encoded = pa.chunked_array(labels).unify_dictionaries()
        codes = np.concatenate([chunk.indices.to_numpy() for chunk in encoded.iterchunks()])
        # Numbers labels in their order, not in that of the rows.
        codes = np.argsort(np.argsort(encoded.chunk(0).dictionary.to_pylist()))[codes]
        rows = np.bincount(codes)
        limit = min(request.limit or 0, len(codes))
        exact = rows * (limit / len(codes))
        quota = exact.astype(np.int64)
        quota[np.argsort(quota - exact, kind="stable")[: limit - quota.sum()]] += 1
        order = np.lexsort((np.concatenate(found), codes))
        starts = np.cumsum(rows) - rows
        keep = np.zeros(len(codes), bool)
        for first, count in zip(starts.tolist(), quota.tolist(), strict=True):
            keep[order[first : first + count]] = True
        tally.left_out += Counter({"not in the sample": len(codes) - limit})
        start = 0
        for batch in file.iter_batches(_SAMPLED_ROWS):
            mask = pa.array(keep[start : start + len(batch)])
            yield pa.Table.from_batches([batch]).filter(mask)
            start += len(batch)


def _write(
    path: Path, schema: pa.Schema, tables: Iterable[pa.Table], classes: Counter[str], label: str
) -> None:
    # Given a path with a blank, pyarrow takes it for a URI.
    with path.open("wb") as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for table in filter(len, tables):
            writer.write_table(table.replace_schema_metadata(schema.metadata))
            for one in table[label].value_counts().to_pylist():
                classes[one["values"]] += one["counts"]
