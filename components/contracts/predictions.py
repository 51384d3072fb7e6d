"""Predictions for single rows, one parquet file per model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from components.arrow import open_parquet, pa

_CLASSES = b"classes"


@dataclass(frozen=True)
class RowScores:
    """A model's scores of the rows of a split, in the order of the split's files.

    Attributes:
        classes: class names, in the order of the scores.
        ids: papers' ids, empty if missing; [n].
        labels: ids of the true classes, int64 [n].
        scores: float32 [n, classes].
    """

    classes: tuple[str, ...]
    ids: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]


def schema_of(classes: Sequence[str]) -> pa.Schema:
    """Returns the Arrow schema of a file of predictions: row, id, label (a name), scores."""
    return pa.schema(
        [
            ("row", pa.int64()),
            ("id", pa.string()),
            ("label", pa.string()),
            ("scores", pa.list_(pa.float32(), len(classes))),
        ],
        {_CLASSES: json.dumps(list(classes)).encode()},
    )


def record_batch(
    first_row: int,
    ids: Sequence[bytes],
    labels: Sequence[bytes],
    scores: npt.NDArray[np.float32],
    schema: pa.Schema,
) -> pa.RecordBatch:
    """Builds a batch of predictions for rows from ``first_row`` on; scores [n, classes]."""
    flat = pa.array(scores.reshape(-1), pa.float32())
    return pa.RecordBatch.from_arrays(
        [
            pa.array(np.arange(first_row, first_row + len(scores))),
            pa.array([decoded(value) for value in ids], pa.string()),
            pa.array([decoded(value) for value in labels], pa.string()),
            pa.FixedSizeListArray.from_arrays(flat, scores.shape[1]),
        ],
        schema=schema,
    )


def read_scores(path: Path) -> RowScores:
    """Reads a file of predictions.

    Raises:
        ValueError: a label is not one of the classes.
    """
    with open_parquet(str(path)) as file:
        table = file.read()
    classes = tuple(json.loads(table.schema.metadata[_CLASSES]))
    table = table.sort_by("row").combine_chunks()
    known = {name: number for number, name in enumerate(classes)}
    names = table["label"].to_pylist()
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ValueError(f"{path}: label {unknown[0]!r} is none of {', '.join(classes)}")
    scores = table["scores"].combine_chunks()
    flat = scores.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    return RowScores(
        classes,
        tuple(table["id"].to_pylist()),
        np.array([known[name] for name in names], np.int64),
        flat.reshape(-1, len(classes)),
    )


def decoded(value: bytes) -> str:
    """Decodes UTF-8; invalid bytes become U+FFFD."""
    return value.decode("utf-8", "replace")
