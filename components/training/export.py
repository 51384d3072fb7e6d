"""Exports the SavedModel: from raw texts or serialized examples to scores, on any device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_transform as tft
from scipy.special import softmax

from components.contracts import features
from components.contracts.golden_predictions import GoldenPredictions, GoldenText
from components.text.tf_example_wire import string_columns

_READ_ROWS = 1024


def rebuild_for_serving(
    trained: keras.Model, build: Callable[..., keras.Model], embedding_shape: tuple[int, ...]
) -> keras.Model:
    """Copies a trained model into one that computes in float32 without cuDNN.

    A graph traced with a visible GPU would contain cuDNN's kernel and fail on a CPU server.

    Args:
        trained: a model from ``build``.
        build: ``build_model`` with all but the embedding matrix and ``serving``.
        embedding_shape: shape of that matrix.

    Returns:
        A model from token ids int [n, length] to logits float32 [n, classes].
    """
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        model = build(embedding_matrix=np.zeros(embedding_shape, np.float32), serving=True)
    finally:
        keras.config.set_dtype_policy(policy)
    model.set_weights(trained.get_weights())
    return model


class Classifier(tf.Module):
    """What a server loads: the transform graph and the network behind three signatures.

    Texts go through the transform graph of the training data, which prevents training-serving skew.
    No row fails a batch: one without a usable abstract (empty, no words, no text, not a tf.Example)
    is scored like an abstract of one unknown word. Bytes that are not UTF-8 separate words. See
    :mod:`components.text.tf_example_wire` for what counts as a tf.Example.
    """

    def __init__(
        self,
        scorer: keras.Model,
        transform: tft.TFTransformOutput,
        classes: Sequence[str],
        trim: bool,
    ) -> None:
        """Stores the parts.

        Args:
            scorer: a model from token ids int [n, length] to scores float32 [n, k].
            transform, classes: output of the Transform node, and names of the scores' columns.
            trim: whether to trim padding that all rows of a request share.
        """
        super().__init__(name="classifier")
        self._scorer = scorer
        # As tracked attributes, so that the transform graph's vocabulary becomes an asset.
        self._transform = transform.transform_features_layer()
        self._raw_spec = dict(transform.raw_feature_spec())
        self._classes = list(classes)
        self._trim = trim

    def signatures(self) -> dict[str, Any]:
        """Returns concrete functions by signature name."""
        strings = tf.TensorSpec([None], tf.string, name=features.EXAMPLES_INPUT)
        abstracts = tf.TensorSpec([None], tf.string, name=features.ABSTRACT)
        return {
            features.SERVING_TEXT: self.score_texts.get_concrete_function(abstracts),
            features.SERVING_EXAMPLES: self.score_examples.get_concrete_function(strings),
            features.TRANSFORM_FEATURES: self.transform_examples.get_concrete_function(strings),
        }

    @tf.function
    def score_texts(self, abstract: tf.Tensor) -> dict[str, tf.Tensor]:
        """Maps raw abstracts, string [n], to label [n], scores [n, k] and classes [n, k]."""
        return self._scored(abstract)

    @tf.function
    def score_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Maps serialized raw tf.Examples, string [n], to the outputs of :meth:`score_texts`."""
        return self._scored(string_columns(examples, [features.ABSTRACT])[features.ABSTRACT])

    @tf.function
    def transform_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Maps serialized raw tf.Examples, string [n], to the transformed features."""
        columns = string_columns(examples, list(self._raw_spec))
        return dict(self._transform({name: self._raw(name, columns[name]) for name in columns}))

    def _scored(self, abstracts: tf.Tensor) -> dict[str, tf.Tensor]:
        raw = {features.ABSTRACT: self._raw(features.ABSTRACT, abstracts)}
        tokens = self._transform(raw)[features.TOKENS]
        if self._trim:
            longest = tf.reduce_max(tf.reduce_sum(tf.cast(tokens != features.PAD_ID, tf.int32), 1))
            tokens = tokens[:, : tf.maximum(longest, 1)]
        scores = self._scorer(tf.cast(tokens, tf.int32), training=False)
        classes = tf.constant(self._classes)
        return {
            features.LABEL_OUTPUT: tf.gather(classes, tf.argmax(scores, axis=1)),
            features.SCORES_OUTPUT: scores,
            features.CLASSES_OUTPUT: tf.tile(classes[tf.newaxis], [tf.shape(scores)[0], 1]),
        }

    def _raw(self, name: str, values: tf.Tensor) -> tf.Tensor | tf.SparseTensor:
        """Converts a string column [n] to the form that the transform graph takes."""
        spec = self._raw_spec[name]
        if isinstance(spec, tf.io.VarLenFeature):
            return tf.sparse.from_dense(values[:, tf.newaxis])
        return tf.reshape(values, [-1, *spec.shape])


def golden_predictions(
    texts: Sequence[GoldenText],
    model: keras.Model,
    transform: tft.TFTransformOutput,
    classes: Sequence[str],
    *,
    temperature: float,
    bias: npt.NDArray[np.float64],
) -> GoldenPredictions:
    """Scores texts with Transform's graph and the network, without the exported signatures.

    The scores are computed in float32 on the CPU, independently of the training device.

    Args:
        texts: any texts.
        model: from :func:`rebuild_for_serving`.
        transform, classes: see :class:`Classifier`.
        temperature, bias: scores are ``softmax((logits + bias) / temperature)``.
    """
    raw = tf.constant([[text.content] for text in texts])
    ids = transform.transform_features_layer()({features.ABSTRACT: raw})[features.TOKENS].numpy()
    with tf.device("/CPU:0"):
        logits = model(tf.constant(ids, tf.int32), training=False).numpy()
    scores = softmax((logits.astype(np.float64) + bias) / temperature, axis=1)
    return GoldenPredictions.of(classes, texts, ids, scores.astype(np.float32))


def read_abstracts(files: Sequence[str]) -> Iterator[bytes]:
    """Yields the non-empty abstracts of raw tf.Examples, in gzipped TFRecords of these patterns."""
    names = tf.data.Dataset.list_files(list(files), shuffle=False)
    records = tf.data.TFRecordDataset(names, compression_type="GZIP").batch(_READ_ROWS)
    for batch in records.map(lambda rows: string_columns(rows, [features.ABSTRACT])):
        yield from filter(None, batch[features.ABSTRACT].numpy())
