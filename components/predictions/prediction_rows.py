"""Reads the rows of a split in the order in which predictions number them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import tensorflow as tf

from components.contracts import features
from components.contracts.predictions import decoded


def split_files(folder: str) -> list[str]:
    """Lists the files of a split in the order of its row numbers."""
    return sorted(str(path) for path in Path(folder).iterdir() if path.is_file())


def read_records(files: Sequence[str]) -> tf.data.Dataset:
    """Reads gzipped TFRecords of serialized tf.Examples, in order."""
    return tf.data.TFRecordDataset(list(files), compression_type="GZIP")


def read_texts(
    files: Sequence[str], rows: Iterable[int], feature: str = features.ABSTRACT
) -> dict[int, str]:
    """Returns the texts of rows, a feature, by row number; invalid UTF-8 becomes U+FFFD."""
    return dict(_texts(files, set(rows), feature))


def _texts(files: Sequence[str], rows: set[int], name: str) -> Iterator[tuple[int, str]]:
    if not rows:
        return
    last = max(rows)
    for row, record in enumerate(read_records(files).as_numpy_iterator()):
        if row in rows:
            feature = tf.train.Example.FromString(record).features.feature[name]
            values = feature.bytes_list.value
            yield row, decoded(values[0]) if values else ""
        if row == last:
            return
