"""Predictions: the scores that a model, and the one before it, give each row of the test split.

The stock BulkInferrer loads models by TensorFlow 1's session, which does not restore the variables
of a Keras 3 SavedModel.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging
from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.utils import path_utils

from components.arrow import pa, pq
from components.contracts import artifact_files, features
from components.contracts.predictions import record_batch, schema_of
from components.predictions.prediction_rows import read_records, split_files

Signature = Callable[..., Mapping[str, tf.Tensor]]

# Rows in memory at a time. Within them, batches go by length, so that little of them is padding.
_CHUNK = 8192
_BATCH = 256


class RowPredictions(types.Artifact):
    """Folder with a file of predictions for each model; see `components.contracts.predictions`."""

    TYPE_NAME = "RowPredictions"


class PredictionsSpec(ComponentSpec):
    """Inputs, outputs and parameters of Predictions."""

    PARAMETERS = {  # noqa: RUF012
        "split": ExecutionParameter(type=str),
        "fingerprint": ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "model": ChannelParameter(type=standard_artifacts.Model),
        "baseline_model": ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {"predictions": ChannelParameter(type=RowPredictions)}  # noqa: RUF012


def score_records(
    records: Sequence[bytes], signature: Signature
) -> tuple[list[str], np.ndarray[Any, np.dtype[np.float32]]]:
    """Scores serialized tf.Examples.

    Args:
      records: n of them.
      signature: of `features.SERVING_EXAMPLES`.

    Returns:
      The classes, and the scores in the order of the records, float32 [n, classes].
    """
    order = np.argsort([len(record) for record in records], kind="stable")
    scores: np.ndarray[Any, np.dtype[np.float32]] | None = None
    classes: list[str] = []
    for start in range(0, len(order), _BATCH):
        chosen = order[start : start + _BATCH]
        answers = signature(examples=tf.constant([records[index] for index in chosen]))
        found = answers[features.SCORES_OUTPUT].numpy()
        if scores is None:
            scores = np.zeros((len(records), found.shape[1]), np.float32)
            names = answers[features.CLASSES_OUTPUT].numpy()[0]
            classes = [name.decode("utf-8") for name in names]
        scores[chosen] = found
    if scores is None:
        raise ValueError("there are no records to score")
    return classes, scores


def write_predictions(files: Sequence[str], model: str, target: Path) -> int:
    """Scores every row of a split with a SavedModel and writes them; returns the number of rows.

    Args:
      files: of the split, gzipped TFRecords of tf.Examples.
      model: folder of the SavedModel.
      target: parquet file to write.

    Raises:
      ValueError: the split has no rows.
    """
    # The signature does not keep the loaded model's variables alive; this name does.
    loaded = tf.saved_model.load(model)
    signature = loaded.signatures[features.SERVING_EXAMPLES]
    rows = 0
    with contextlib.ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        for records in read_records(files).batch(_CHUNK).as_numpy_iterator():
            classes, scores = score_records(list(records), signature)
            if writer is None:
                schema = schema_of(classes)
                writer = stack.enter_context(pq.ParquetWriter(target, schema))
            writer.write_batch(_batch(rows, records, scores, writer.schema))
            rows += len(records)
    if not rows:
        raise ValueError(f"{', '.join(files) or 'the split'}: no rows to score")
    return rows


def _batch(
    first_row: int,
    records: Sequence[bytes],
    scores: np.ndarray[Any, np.dtype[np.float32]],
    schema: pa.Schema,
) -> pa.RecordBatch:
    text = tf.io.FixedLenFeature([], tf.string, default_value="")
    columns = tf.io.parse_example(tf.constant(records), {features.ID: text, features.LABEL: text})
    ids, labels = (columns[name].numpy() for name in (features.ID, features.LABEL))
    return record_batch(first_row, ids, labels, scores, schema)


class PredictionsExecutor(base_executor.BaseExecutor):
    """Writes the files of predictions."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Scores the split with the model and, where there is one, the baseline model."""
        examples = input_dict["examples"]
        files = split_files(artifact_utils.get_split_uri(examples, exec_properties["split"]))
        folder = Path(artifact_utils.get_single_uri(output_dict["predictions"]))
        folder.mkdir(parents=True, exist_ok=True)
        for model, name in _models(input_dict):
            path = path_utils.serving_model_path(model.uri)
            rows = write_predictions(files, path, folder / name)
            logging.info("predictions: %d rows scored by %s", rows, path)


def _models(input_dict: dict[str, list[types.Artifact]]) -> Iterator[tuple[types.Artifact, str]]:
    yield (
        artifact_utils.get_single_instance(input_dict["model"]),
        artifact_files.CANDIDATE_PREDICTIONS,
    )
    if input_dict.get("baseline_model"):
        baseline = artifact_utils.get_single_instance(input_dict["baseline_model"])
        yield baseline, artifact_files.BASELINE_PREDICTIONS


class Predictions(base_component.BaseComponent):
    """Scores a split row by row.

    Args:
      examples: ParquetExampleGen's.
      model: the Trainer's.
      baseline_model: the model to compare with; may resolve to nothing.
      split: of the examples.
      fingerprint: hash of the sources that the node uses; part of the cache key.
    """

    SPEC_CLASS = PredictionsSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(PredictionsExecutor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        baseline_model: types.BaseChannel,
        split: str,
        fingerprint: str,
    ) -> None:
        spec = PredictionsSpec(
            examples=examples,
            model=model,
            baseline_model=baseline_model,
            split=split,
            fingerprint=fingerprint,
            predictions=types.Channel(type=RowPredictions),
        )
        super().__init__(spec=spec)
