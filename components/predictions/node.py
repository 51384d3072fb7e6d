"""Predictions: scores each row of the test split with the model and the baseline.

TFX's BulkInferrer loads models in a TensorFlow 1 session, which does not restore the variables of a
Keras 3 SavedModel.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
from absl import logging
from tfx import types
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import path_utils

from components import atomic
from components.arrow import pq
from components.contracts import artifact_files, features
from components.contracts.columns import ARXIV, Columns
from components.contracts.predictions import record_batch, schema_of
from components.predictions.prediction_rows import read_records, split_files
from components.scoring.scorer import Scorer, score_by_length

# Rows in memory at a time; among them, batches are formed by length to save padding.
_CHUNK = 8192
_BATCH = 256


class RowPredictions(types.Artifact):
    """Folder with a file of each model's predictions; see `components.contracts.predictions`."""

    TYPE_NAME = "RowPredictions"


def write_predictions(
    files: Sequence[str], model: str, target: Path, names: Columns = ARXIV
) -> int:
    """Writes a SavedModel's scores of a split's rows to parquet; returns the number of rows.

    Raises:
        ValueError: the split has no rows.
    """
    scorer = Scorer(Path(model))
    text = tf.io.FixedLenFeature([], tf.string, default_value="")
    # Without a column of ids, no feature has this name, and all ids are empty.
    spec = {names.id or f"no {names.label}": text, names.label: text}
    rows = 0
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(atomic.replacing(target))
        writer: pq.ParquetWriter | None = None
        for chunk in read_records(files).batch(_CHUNK).as_numpy_iterator():
            records = chunk.tolist()
            scored = score_by_length(scorer, records, _BATCH, features.SERVING_EXAMPLES)
            if writer is None:
                schema = schema_of(scored.classes)
                writer = stack.enter_context(pq.ParquetWriter(scratch, schema))
            columns = tf.io.parse_example(tf.constant(records), spec)
            ids, labels = (columns[name].numpy() for name in spec)
            writer.write_batch(record_batch(rows, ids, labels, scored.scores, writer.schema))
            rows += len(records)
        if not rows:
            raise ValueError(f"{', '.join(files) or 'the split'}: no rows to score")
    return rows


@component  # type: ignore[untyped-decorator]
def Predictions(  # noqa: N802
    examples: InputArtifact[standard_artifacts.Examples],
    model: InputArtifact[standard_artifacts.Model],
    predictions: OutputArtifact[RowPredictions],
    split: Parameter[str],
    names: Parameter[str],
    fingerprint: Parameter[str],
    baseline_model: InputArtifact[standard_artifacts.Model] = None,
) -> None:
    """Scores a split with the model and, if there is one, the baseline model.

    Args:
        split: which of the examples' splits.
        names: a dump of `Columns`, JSON.
        fingerprint: hash of the sources that the node uses; part of the cache key.
        baseline_model: the model to compare with; may resolve to nothing.
    """
    del fingerprint
    files = split_files(artifact_utils.get_split_uri([examples], split))
    folder = Path(predictions.uri)
    for scored, name in (
        (model, artifact_files.CANDIDATE_PREDICTIONS),
        (baseline_model, artifact_files.BASELINE_PREDICTIONS),
    ):
        if scored is not None:
            path = path_utils.serving_model_path(scored.uri)
            rows = write_predictions(files, path, folder / name, Columns.model_validate_json(names))
            logging.info("predictions: %d rows scored by %s", rows, path)
