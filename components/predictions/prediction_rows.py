"""Reads the rows of a split in the order in which predictions number them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
    files: Sequence[str], rows: Collection[int], feature: str = features.ABSTRACT
) -> dict[int, str]:
    """Returns the texts of rows by row number; invalid UTF-8 becomes U+FFFD."""
    texts = {}
    records = read_records(files).take(max(rows, default=-1) + 1)
    for row, record in enumerate(records.as_numpy_iterator()):
        if row in rows:
            values = tf.train.Example.FromString(record).features.feature[feature].bytes_list
            texts[row] = decoded(b"".join(values.value[:1]))
    return texts
