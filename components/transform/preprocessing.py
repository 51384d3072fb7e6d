"""The ``preprocessing_fn`` of the Transform node, and its text ops."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from components.contracts import features
from components.contracts.columns import Columns
from components.text.cleaning import clean_tensor, without_formulas

# Words per cleaned abstract; on arXiv p50 is 144 and p90 is 228.
_LENGTH_EDGES = (50, 100, 150, 200, 250)
_LENGTH_NAMES = ("000-049", "050-099", "100-149", "150-199", "200-249", "250+")
# Share of an abstract's characters that lie in $...$.
_LATEX_EDGES = (1e-9, 0.02, 0.05, 0.10)
_LATEX_NAMES = ("none", "0-2%", "2-5%", "5-10%", "10%+")
_UNKNOWN_YEAR = "unknown"
# With fewer train papers, a category adds nothing to its class.
_MIN_CATEGORY_COUNT = 5


def split_words(text: tf.Tensor) -> tf.RaggedTensor:
    """Splits cleaned texts, string [n], into words, string [n, (words)]."""
    return tf.strings.split(text).with_row_splits_dtype(tf.int64)


def words_or_oov(words: tf.RaggedTensor) -> tf.RaggedTensor:
    """Gives each abstract without words one empty word, which is out of vocabulary.

    cuDNN's LSTM fails on rows with nothing but padding.
    """
    fill = tf.cast(words.row_lengths() == 0, tf.int64)
    blanks = tf.RaggedTensor.from_row_lengths(tf.fill([tf.reduce_sum(fill)], ""), fill)
    return tf.concat([words, blanks], axis=1)


def _dense_column(column: tf.Tensor | tf.SparseTensor, default: str = "") -> tf.Tensor:
    """Returns a string column, [n] or [n, 1] or sparse, as string [n]."""
    if isinstance(column, tf.SparseTensor):
        column = tf.sparse.SparseTensor(column.indices, column.values, [column.dense_shape[0], 1])
        column = tf.sparse.to_dense(column, default_value=default)
    return tf.reshape(column, [-1])


def _bucket(values: tf.Tensor, edges: tuple[float, ...], names: tuple[str, ...]) -> tf.Tensor:
    """Returns the name of each value's bucket; an edge belongs to the bucket above it."""
    index = tf.searchsorted(tf.constant(edges, tf.float32), tf.cast(values, tf.float32), "right")
    return tf.gather(tf.constant(names), index)


def latex_share(text: tf.Tensor) -> tf.Tensor:
    """Returns the share of characters in inline formulas, float32 [n]."""
    length = tf.strings.length(text, unit="UTF8_CHAR")
    rest = tf.strings.length(without_formulas(text), unit="UTF8_CHAR")
    return tf.cast(length - rest, tf.float32) / tf.cast(tf.maximum(length, 1), tf.float32)


def label_ids(labels: tf.Tensor, classes: list[str]) -> tf.Tensor:
    """Returns each label's index in ``classes``, int64 [n]; -1 for other labels."""
    hits = tf.cast(labels[:, tf.newaxis] == tf.constant(classes)[tf.newaxis, :], tf.int64)
    return tf.argmax(hits, axis=1) - (1 - tf.reduce_max(hits, axis=1))


def preprocessing_fn(inputs: dict[str, Any], custom_config: dict[str, Any]) -> dict[str, Any]:
    """Maps raw papers to model inputs, the label id and the slice features.

    Args:
        inputs: the features of the reviewed schema, string.
        custom_config: ``vocabulary_size`` (including padding and out-of-vocabulary),
            ``sequence_length`` (words kept from the start), ``classes`` (in the schema's order) and
            ``columns`` (a dump of `Columns`).

    Returns:
        ``tokens`` int64 [n, sequence_length], ``label_id`` and ``category_id`` int64 [n] (-1 if
        unknown), and string [n] for each slice feature.
    """
    columns = Columns.model_validate(custom_config.get("columns", {}))
    text = _dense_column(inputs[columns.feature])

    def column(name: str) -> tf.Tensor:
        """Returns a column, or empty strings where the corpus has none."""
        return _dense_column(inputs[name]) if name in inputs else tf.zeros_like(text)

    words = split_words(clean_tensor(text))
    vocabulary = tft.vocabulary(
        words.to_sparse(),
        top_k=custom_config["vocabulary_size"] - features.FIRST_WORD_ID,
        vocab_filename=features.VOCABULARY,
    )
    length = custom_config["sequence_length"]
    # The vocabulary's default id, -1, becomes the out-of-vocabulary id.
    ids = tft.apply_vocabulary(words_or_oov(words)[:, :length], vocabulary) + features.FIRST_WORD_ID
    category = column(columns.category)
    categories = tft.vocabulary(
        tf.boolean_mask(category, category != ""),
        frequency_threshold=_MIN_CATEGORY_COUNT,
        vocab_filename=features.CATEGORIES,
    )
    year = tf.strings.substr(column(columns.date), 0, 4)
    return {
        features.TOKENS: tf.ensure_shape(
            ids.to_tensor(features.PAD_ID, shape=[None, length]), [None, length]
        ),
        features.LABEL_ID: label_ids(column(columns.label), list(custom_config["classes"])),
        features.CATEGORY_ID: tft.apply_vocabulary(category, categories, default_value=-1),
        features.LENGTH_BUCKET: _bucket(words.row_lengths(), _LENGTH_EDGES, _LENGTH_NAMES),
        features.YEAR: tf.where(
            tf.strings.regex_full_match(year, r"[0-9]{4}"), year, _UNKNOWN_YEAR
        ),
        features.LATEX_BUCKET: _bucket(latex_share(text), _LATEX_EDGES, _LATEX_NAMES),
    }
