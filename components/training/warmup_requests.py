"""Warm-up requests, which TF Serving replays when it loads a version."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from components.contracts import features
from components.contracts.columns import ARXIV
from components.scoring.text_inputs import filled, input_names

# TF Serving refuses a file with more: kMaxWarmupRequests in saved_model_warmup_util.h.
MAX_RECORDS = 1000
SINGLES = 16
BATCHES = 4
# Rows of a batch, as a server forms them from single requests.
BATCH_ROWS = 64


def warmup_requests(
    texts: Sequence[bytes], names: Sequence[str]
) -> Iterator[predict_pb2.PredictRequest]:
    """Yields requests for ``serving_default``: `SINGLES` texts, then `BATCHES` of `BATCH_ROWS`.

    Args:
        texts: real texts, repeated if there are too few.
        names: of the inputs of ``serving_default``.

    Raises:
        ValueError: there are no texts.
    """
    if not texts:
        raise ValueError("warm-up needs at least one text")
    endless = itertools.cycle(texts)
    for rows in [1] * SINGLES + [BATCH_ROWS] * BATCHES:
        request = predict_pb2.PredictRequest()
        request.model_spec.signature_name = features.SERVING_TEXT
        chosen = list(itertools.islice(endless, rows))
        for name, values in filled(names, chosen).items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values, tf.string, [rows]))
        yield request


def write_warmup(
    path: Path, texts: Sequence[bytes], text_columns: Sequence[str] = ARXIV.text
) -> None:
    """Writes the requests as a TFRecord file of PredictionLogs, deterministically.

    Args:
        path: ``assets.extra/tf_serving_warmup_requests`` of a SavedModel.
        texts: see :func:`warmup_requests`.
        text_columns: columns that are joined to the text.
    """
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in warmup_requests(texts, input_names(text_columns)):
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(request)
            writer.write(log.SerializeToString(deterministic=True))


def read_warmup(path: Path) -> list[predict_pb2.PredictRequest]:
    """Reads the requests of a warm-up file.

    Raises:
        tf.errors.OpError: the file cannot be read.
        google.protobuf.message.DecodeError: a record is not a PredictionLog.
    """
    return [
        prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        for record in tf.data.TFRecordDataset(str(path))
    ]
