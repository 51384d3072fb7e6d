"""Imports papers into one parquet file: filters by date, drops repeated ids, samples by class."""

from __future__ import annotations

import contextlib
import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from pydantic_core import to_json

from components import atomic
from components.arrow import UnreadableFileError, open_parquet, pa, pc, pq
from components.contracts.features import DATE, ID, LABEL
from components.errors import UserError
from pipeline.corpora import paper_rows, row_source
from pipeline.corpora.paper_rows import LINE, Columns, without
from pipeline.corpora.row_source import Tally, ahead
from pipeline.corpora.sample import SCHEMA

_MADE_FROM = b"arxiv-pipeline.import"
_SAMPLED_ROWS = 1 << 14  # of all papers, read at a time

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class ImportRequest:
    """What to import, and where to.

    Attributes:
        source: the dump, or a CSV or JSON-lines file; plain, gzipped or a zip of one member.
        output: the parquet file to write.
        columns: those of a file of one's own; None for arXiv's dump.
        subjects: the dump's mapping file.
        first, last: only papers with an ``update_date`` from one to the other, both included.
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
    output, tally = request.output, Tally()
    subjects = {} if request.columns else paper_rows.load_subjects(request.subjects)
    with row_source.opened(request.source, track) as source, contextlib.ExitStack() as stack:
        status = request.source.stat()
        options = {**vars(request), "source": request.source.name, "subjects": subjects}
        options |= {"bytes": status.st_size, "modified_ns": status.st_mtime_ns}
        made_from = to_json({k: v for k, v in options.items() if k not in ("output", "overwrite")})
        if _is_there(request, made_from):
            return None
        if request.columns:
            papers = paper_rows.own_papers(source, tally, request.columns)
        else:
            papers = paper_rows.dump_papers(source, tally, subjects)
        chosen = ahead(_chosen(papers, request, tally))
        schema = paper_rows.OWN_SCHEMA if request.columns else SCHEMA
        schema = schema.with_metadata({_MADE_FROM: made_from})
        # Rows hold no cycles, and looking for some takes a third of the time.
        stack.callback(gc.enable if gc.isenabled() else gc.disable)
        gc.disable()
        atomic.sweep(output)
        part = stack.enter_context(atomic.replacing(output))
        if request.limit is None:
            _write(part, schema, chosen, tally.classes)
        else:
            # Named so that the next import sweeps what a killed one leaves.
            everything = part.with_name(f"{part.stem}.all.tmp")
            stack.callback(everything.unlink, missing_ok=True)
            _write(everything, schema, chosen, Counter())
            _write(part, schema, _sample(everything, request, tally), tally.classes)
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


def _chosen(papers: Iterable[pa.Table], request: ImportRequest, tally: Tally) -> Iterator[pa.Table]:
    """Leaves out papers of other dates, and all but the first of an id.

    Keeps a 64-bit hash of each id. Among n ids, two have one hash with probability n^2 / 2^65 (4e-7
    for four million papers), and one of them would be lost.
    """
    first, last = request.first, request.last
    # Ascending, with an end that no hash is past.
    seen: Hashes = np.array([~np.uint64(0)])
    for table in papers:
        if first or last:
            found = pc.extract_regex(table[DATE], r"^\s*(?P<date>\d{4}-\d{2}-\d{2})")
            day = pc.struct_field(found.combine_chunks(), [0])
            early = pc.less(day, (first or date.min).isoformat())
            late = pc.greater(day, (last or date.max).isoformat())
            wrong = {"no date": pc.is_null(day), "outside the dates": pc.or_(early, late)}
            table = without(wrong, table, tally)
        hashes = _hashes(table[ID], 0)
        repeated = np.ones(len(hashes), bool)
        repeated[np.unique(hashes, return_index=True)[1]] = False
        repeated |= seen[np.searchsorted(seen, hashes)] == hashes
        # Stable sorting merges sorted runs.
        seen = np.sort(np.concatenate([seen, np.sort(hashes[~repeated])]), kind="stable")
        yield without({"repeated id": pa.array(repeated)}, table, tally).drop([LINE.name])


def _hashes(ids: pa.ChunkedArray, seed: int) -> Hashes:
    salt = (seed % (1 << 128)).to_bytes(blake2b.SALT_SIZE, "little")
    hashes = bytearray()
    for chunk in ids.iterchunks():
        texts = chunk.cast(pa.binary()).to_pylist()
        hashes += b"".join([blake2b(one, digest_size=8, salt=salt).digest() for one in texts])
    return np.frombuffer(hashes, "<u8").astype(np.uint64)


def _sample(path: Path, request: ImportRequest, tally: Tally) -> Iterator[pa.Table]:
    """Yields of each class the papers with the least hashes, as many as its share of the limit.

    Shares are rounded by largest remainder. The order of the papers does not matter.
    """
    with open_parquet(str(path)) as file:
        if file.metadata.num_rows == 0:
            return
        hashes, labels = [], []
        for batch in file.iter_batches(_SAMPLED_ROWS, columns=[ID, LABEL]):
            keys = pa.Table.from_batches([batch])
            hashes.append(_hashes(keys[ID], request.seed))
            labels.append(keys[LABEL].combine_chunks().dictionary_encode())
        encoded = pa.chunked_array(labels).unify_dictionaries()
        codes = np.concatenate([chunk.indices.to_numpy() for chunk in encoded.iterchunks()])
        # Numbers labels in their order, not in that of the rows.
        codes = np.argsort(np.argsort(encoded.chunk(0).dictionary.to_pylist()))[codes]
        rows = np.bincount(codes)
        limit = min(request.limit or 0, len(codes))
        exact = rows * (limit / len(codes))
        quota = exact.astype(np.int64)
        quota[np.argsort(quota - exact, kind="stable")[: limit - quota.sum()]] += 1
        order = np.lexsort((np.concatenate(hashes), codes))
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
    path: Path, schema: pa.Schema, tables: Iterable[pa.Table], classes: Counter[str]
) -> None:
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in filter(len, tables):
            writer.write_table(table.replace_schema_metadata(schema.metadata))
            for one in table[LABEL].value_counts().to_pylist():
                classes[one["values"]] += one["counts"]
