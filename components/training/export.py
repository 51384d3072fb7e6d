"""Exports the SavedModel: from raw texts or serialized examples to scores, on any device."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_transform as tft
from scipy.special import softmax

from components.contracts import features
from components.contracts.columns import Columns
from components.contracts.golden_predictions import GoldenPredictions, GoldenText
from components.scoring.text_inputs import input_names
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
        columns: Columns,
        trim: bool,
    ) -> None:
        """Stores the parts.

        Args:
            scorer: a model from token ids int [n, length] to scores float32 [n, k].
            transform, classes: output of the Transform node, and names of the scores' columns.
            columns: names of the texts' columns, which are the inputs of ``serving_default``.
            trim: whether to trim padding that all rows of a request share.
        """
        super().__init__(name="classifier")
        self._scorer = scorer
        # As tracked attributes, so that the transform graph's vocabulary becomes an asset.
        self._transform = transform.transform_features_layer()
        self._raw_spec = dict(transform.raw_feature_spec())
        self._classes = list(classes)
        self._columns = columns
        self._trim = trim

    def signatures(self) -> dict[str, Any]:
        """Returns concrete functions by signature name."""
        strings = tf.TensorSpec([None], tf.string, name=features.EXAMPLES_INPUT)
        return {
            features.SERVING_TEXT: text_function(self._scored, self._columns.text),
            features.SERVING_EXAMPLES: self.score_examples.get_concrete_function(strings),
            features.TRANSFORM_FEATURES: self.transform_examples.get_concrete_function(strings),
        }

    @tf.function
    def score_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Maps serialized raw tf.Examples, string [n], to label, scores and classes."""
        name = self._columns.feature
        return self._scored(self._read(examples, [name])[name])

    @tf.function
    def transform_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Maps serialized raw tf.Examples, string [n], to the transformed features."""
        columns = self._read(examples, list(self._raw_spec))
        return dict(self._transform({name: self._raw(name, columns[name]) for name in columns}))

    def _read(self, examples: tf.Tensor, names: Sequence[str]) -> dict[str, tf.Tensor]:
        """Reads columns, string [n]; the text from its columns where the joined one is empty."""
        text = self._columns.feature
        found = string_columns(examples, list(dict.fromkeys([*names, *self._columns.text])))
        parts = joined_texts([found[name] for name in self._columns.text])
        found[text] = tf.where(tf.equal(found[text], ""), parts, found[text])
        return {name: found[name] for name in names}

    def _scored(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Maps texts, string [n], to label [n], scores [n, k] and classes [n, k]."""
        name = self._columns.feature
        raw = {name: self._raw(name, texts)}
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


def joined_texts(columns: Sequence[tf.Tensor]) -> tf.Tensor:
    """Joins columns, string [n] each, by newlines, without empty ones; string [n]."""
    joined = columns[0]
    for column in columns[1:]:
        between = tf.where((joined == "") | (column == ""), "", "\n")
        joined = tf.strings.join([joined, between, column])
    return joined


def text_function(
    answer: Callable[[tf.Tensor], dict[str, tf.Tensor]], columns: Sequence[str]
) -> Any:
    """Returns a function of one string input [n] per column that scores the joined texts.

    With several columns, an input may be left out and counts as empty.
    """
    names = input_names(columns)
    specs = [tf.TensorSpec([None], tf.string, name=name) for name in names]
    if len(names) == 1:
        return tf.function(answer).get_concrete_function(specs[0])

    def score(*texts: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = tf.reduce_max([tf.size(text) for text in texts])
        blank = tf.fill([rows], "")
        return answer(
            joined_texts([tf.cond(tf.size(one) == 0, lambda: blank, lambda: one) for one in texts])  # noqa: B023
        )

    # A SavedModel takes the defaults of its inputs from the function's parameters.
    nothing = tf.constant([], tf.string)
    score.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=nothing)
            for name in names
        ]
    )
    return tf.function(score, input_signature=specs)


def golden_predictions(
    texts: Sequence[GoldenText],
    model: keras.Model,
    transform: tft.TFTransformOutput,
    classes: Sequence[str],
    *,
    columns: Columns,
    temperature: float,
    bias: npt.NDArray[np.float64],
) -> GoldenPredictions:
    """Scores texts with Transform's graph and the network, without the exported signatures.

    The scores are computed in float32 on the CPU, independently of the training device.

    Args:
        texts: any texts.
        model: from :func:`rebuild_for_serving`.
        transform, classes: see :class:`Classifier`.
        columns: names of the texts' columns.
        temperature, bias: scores are ``softmax((logits + bias) / temperature)``.
    """
    raw = tf.constant([[text.content] for text in texts])
    ids = transform.transform_features_layer()({columns.feature: raw})[features.TOKENS].numpy()
    with tf.device("/CPU:0"):
        logits = model(tf.constant(ids, tf.int32), training=False).numpy()
    scores = softmax((logits.astype(np.float64) + bias) / temperature, axis=1)
    return GoldenPredictions.of(classes, texts, ids, scores.astype(np.float32), columns.text)


def read_texts(files: Sequence[str], feature: str) -> Iterator[bytes]:
    """Yields the non-empty texts of raw tf.Examples, in gzipped TFRecords of these patterns."""
    names = tf.data.Dataset.list_files(list(files), shuffle=False)
    records = tf.data.TFRecordDataset(names, compression_type="GZIP").batch(_READ_ROWS)
    for batch in records.map(lambda rows: string_columns(rows, [feature])):
        yield from filter(None, batch[feature].numpy())
