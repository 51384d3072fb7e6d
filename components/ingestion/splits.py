"""Chooses the rows to keep and their splits: pure functions on small tables of row keys.

Texts are hashed and dropped, so a row takes some 50 bytes. All decisions depend only on the rows'
content, not on the order of files and rows, the batch size or the number of workers.

Keys are 64-bit BLAKE2b hashes. Among n texts, a collision has probability n^2 / 2^65 (3e-8 for a
million rows). It would merely put both texts into one split; a collision of ids would lose a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from components.arrow import pa, pc
from components.ingestion import columns

KEYS = pa.schema(
    [
        ("row_group", pa.int32()),  # index of the row group in the run's list
        ("row", pa.int32()),  # index of the row in its row group
        ("id", pa.uint64()),  # hash of the id; null if missing
        ("text", pa.uint64()),  # hash of the cleaned abstract
        ("content", pa.uint64()),  # hash of the raw abstract and the label
        ("days", pa.int32()),  # update date in days since 1970-01-01; NO_DATE if missing
        ("label", pa.string()),
        ("words", pa.int32()),  # of the cleaned abstract
    ]
)
"""Key table: one row for each source row with an abstract and a label."""

GROUPED = KEYS.append(pa.field("stratum", pa.string()))
"""Key table with the class whose stratum the row's text belongs to."""

NO_DATE = np.iinfo(np.int32).min
BINS = 1 << 16
"""Resolution of the cut: the first 16 bits of the text's hash."""

Ints = npt.NDArray[np.int64]


class Keyed(NamedTuple):
    """Keys of a batch's rows with abstract and label, and counts of the dropped rows."""

    keys: pa.Table
    without_abstract: int
    without_label: int
    without_id: int
    """Kept rows without id."""
    cleaned_to_nothing: int
    """Kept rows whose abstract has no words after cleaning."""


def hashes(values: Iterable[bytes], seed: int = 0) -> npt.NDArray[np.uint64]:
    """Returns the 64-bit BLAKE2b hash of each value, salted by a seed of 0 or more."""
    salt = seed.to_bytes(blake2b.SALT_SIZE, "little")
    joined = b"".join(blake2b(value, digest_size=8, salt=salt).digest() for value in values)
    return np.frombuffer(joined, dtype="<u8").astype(np.uint64)


def row_keys(
    batch: pa.RecordBatch,
    row_group: int,
    first_row: int,
    clean: Callable[[bytes], bytes],
    seed: int = 0,
) -> Keyed:
    """Computes the keys of a batch in canonical form (``columns.CANONICAL``).

    Args:
        batch: rows of one row group, in order.
        row_group: its number.
        first_row: index of the batch's first row in the row group.
        clean: text cleaning, from UTF-8 to words between single spaces; texts that are equal after
            it count as the same text.
        seed: not negative; salts the texts' hashes, and so changes the splits.

    Returns:
        The keys (schema ``KEYS``) and the counts of dropped rows; a row with neither abstract nor
        label counts as one without abstract.
    """
    column = dict(zip(batch.schema.names, batch.columns, strict=True))
    has_abstract = pc.is_valid(column[columns.TEXT])
    usable = pc.and_(has_abstract, pc.is_valid(column[columns.LABEL]))
    rows = np.flatnonzero(usable.to_numpy(zero_copy_only=False))
    kept = {name: values.filter(usable) for name, values in column.items()}

    texts = kept[columns.TEXT].cast(pa.binary()).to_pylist()
    labels = kept[columns.LABEL].cast(pa.binary()).to_pylist()
    ids = kept[columns.ID]
    cleaned = [clean(value) for value in texts]
    text = hashes(cleaned, seed)
    content = hashes(
        [b"%b\0%b" % (label, value) for label, value in zip(labels, texts, strict=True)]
    )
    missing = pc.is_null(ids).to_numpy(zero_copy_only=False)
    moments = pc.strptime(kept[columns.DATE], format="%Y-%m-%d", unit="s", error_is_null=True)
    days = moments.cast(pa.date32()).cast(pa.int32())

    without_abstract = len(batch) - pc.sum(has_abstract).as_py() if len(batch) else 0
    return Keyed(
        keys=pa.table(
            [
                pa.array(np.full(len(rows), row_group, np.int32)),
                pa.array((rows + first_row).astype(np.int32)),
                pa.array(hashes(ids.fill_null("").cast(pa.binary()).to_pylist()), mask=missing),
                pa.array(text),
                pa.array(content),
                days.fill_null(int(NO_DATE)),
                kept[columns.LABEL],
                pa.array([value.count(b" ") + bool(value) for value in cleaned], pa.int32()),
            ],
            schema=KEYS,
        ),
        without_abstract=without_abstract,
        without_label=len(batch) - len(rows) - without_abstract,
        without_id=int(missing.sum()),
        cleaned_to_nothing=cleaned.count(b""),
    )


def partition(table: pa.Table, by: Ints) -> list[tuple[int, pa.Table]]:
    """Splits a table into (value, its rows in order), by ascending value."""
    order = np.argsort(by, kind="stable")
    values, starts = np.unique(by[order], return_index=True)
    edges = [*starts.tolist(), len(order)]
    rows = table.take(pa.array(order)).combine_chunks()
    return [
        (int(value), rows.slice(start, end - start))
        for value, start, end in zip(values, edges[:-1], edges[1:], strict=True)
    ]


def packed(table: pa.Table) -> bytes:
    """Serializes a table of at least one row, thirty times as fast as pickle.

    Of a slice, only its own rows; pickle would serialize the whole table.
    """
    (batch,) = table.combine_chunks().to_batches()
    return bytes(batch.serialize())


def unpacked(parts: Iterable[bytes], schema: pa.Schema) -> pa.Table:
    """Joins tables with this schema that :func:`packed` serialized."""
    batches = [pa.ipc.read_record_batch(pa.py_buffer(part), schema) for part in parts]
    return pa.Table.from_batches(batches, schema)


def id_buckets(keys: pa.Table, buckets: int) -> Ints:
    """Returns each row's bucket [rows] by id, or by text for rows without id."""
    key = pc.if_else(pc.is_valid(keys["id"]), keys["id"], keys["text"])
    bucket: Ints = (key.to_numpy() % np.uint64(buckets)).astype(np.int64)
    return bucket


def text_buckets(keys: pa.Table, buckets: int) -> Ints:
    """Returns each row's bucket [rows] by cleaned text."""
    bucket: Ints = (keys["text"].to_numpy() % np.uint64(buckets)).astype(np.int64)
    return bucket


def _codes(column: pa.ChunkedArray) -> tuple[list[str], Ints]:
    """Returns the sorted distinct strings, and each row's index into them [rows]."""
    encoded = column.combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    rank = np.argsort(np.argsort(np.array(names, dtype=object))).astype(np.int64)
    codes = encoded.indices.to_numpy()
    return sorted(names), rank[codes]


def drop_duplicate_ids(keys: pa.Table) -> pa.Table:
    """Keeps one row per id: the one with the latest date, then the smallest content hash.

    All rows without id are kept. Of rows that agree in id, date, abstract and label, the first one
    is kept.
    """
    ids = keys["id"]
    missing = pc.is_null(ids).to_numpy()
    key = pc.fill_null(ids, 0).to_numpy()
    order = np.lexsort(
        (
            keys["row"].to_numpy(),
            keys["row_group"].to_numpy(),
            keys["content"].to_numpy(),
            -keys["days"].to_numpy().astype(np.int64),
            key,
            missing,
        )
    )
    first = np.ones(len(order), dtype=bool)
    first[1:] = key[order][1:] != key[order][:-1]
    first |= missing[order]
    return keys.take(pa.array(np.sort(order[first])))


class Grouped(NamedTuple):
    """Rows with the stratum of their text, and counts of repeated texts."""

    keys: pa.Table
    """Schema ``GROUPED``."""
    duplicate_texts: int
    """Rows whose cleaned text occurs in an earlier row."""
    conflicting_texts: int
    """Cleaned texts that occur with more than one label."""
    conflicting_rows: int
    """Rows of those texts."""


def group_texts(keys: pa.Table) -> Grouped:
    """Assigns all rows of a cleaned text to one stratum: the text's most frequent label.

    Ties go to the alphabetically first label. ``keys`` must contain all rows of a text.
    """
    names, code = _codes(keys["label"])
    texts, text = np.unique(keys["text"].to_numpy(), return_inverse=True)
    pairs, rows_of_pair = np.unique(text * max(len(names), 1) + code, return_counts=True)
    text_of_pair, code_of_pair = np.divmod(pairs, max(len(names), 1))
    order = np.lexsort((code_of_pair, -rows_of_pair, text_of_pair))
    # In this order, the first pair of each text has its most frequent label.
    _, first = np.unique(text_of_pair[order], return_index=True)
    stratum = code_of_pair[order][first]
    conflicting = np.bincount(text_of_pair, minlength=len(texts)) > 1
    return Grouped(
        keys=keys.append_column(
            GROUPED.field("stratum"),
            pa.array(names, pa.string()).take(pa.array(stratum[text])),
        ),
        duplicate_texts=len(text) - len(texts),
        conflicting_texts=int(conflicting.sum()),
        conflicting_rows=int(conflicting[text].sum()),
    )


class Histogram(NamedTuple):
    """Rows of one stratum by bin of their text's hash, without empty bins."""

    bins: Ints
    """[n], ascending, 0 <= bin < BINS."""
    rows: Ints
    """[n], rows in each bin."""


def _bins(keys: pa.Table) -> Ints:
    bins: Ints = (keys["text"].to_numpy() >> np.uint64(48)).astype(np.int64)
    return bins


def histograms(keys: pa.Table) -> dict[str, Histogram]:
    """Returns the histogram of each stratum in ``keys`` (schema ``GROUPED``)."""
    bins = _bins(keys)
    names, code = _codes(keys["stratum"])
    result = {}
    for number, name in enumerate(names):
        values, rows = np.unique(bins[code == number], return_counts=True)
        result[name] = Histogram(values, rows.astype(np.int64))
    return result


def merge_histograms(parts: Iterable[Histogram]) -> Histogram:
    """Adds histograms of one stratum, at least one."""
    all_bins, all_rows = zip(*parts, strict=True)
    bins, place = np.unique(np.concatenate(all_bins), return_inverse=True)
    rows = np.bincount(place, np.concatenate(all_rows), len(bins))
    return Histogram(bins, rows.astype(np.int64))


def cut(histogram: Histogram, shares: Sequence[float]) -> Ints:
    """Finds the bins at which a stratum's splits begin.

    Args:
        histogram: the stratum's rows.
        shares: share of each split, above 0, adding up to 1.

    Returns:
        int64 [len(shares) - 1], ascending: rows below the first are in split 0, and so on. Each cut
        is the one nearest to the exact share, off by at most half of the rows in one bin.
    """
    total = np.concatenate([[0], np.cumsum(histogram.rows)])
    starts = np.append(histogram.bins, BINS)
    wanted = np.cumsum(shares)[:-1] * total[-1]
    cuts: Ints = starts[np.abs(total[None, :] - wanted[:, None]).argmin(axis=1)]
    return cuts


def assign(keys: pa.Table, cuts: Mapping[str, Ints]) -> Ints:
    """Returns the split number of each row [rows] of ``keys`` (schema ``GROUPED``)."""
    bins = _bins(keys)
    names, code = _codes(keys["stratum"])
    splits = np.zeros(len(bins), np.int64)
    for number, name in enumerate(names):
        here = code == number
        splits[here] = np.searchsorted(cuts[name], bins[here], side="right")
    return splits
