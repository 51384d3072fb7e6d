"""Layers of the wide-and-deep classifier, with Keras operations only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

# Odd 64-bit multipliers, one for each position in an n-gram, so that order counts. Products and
# sums wrap around 64 bits; collisions among n-grams of real texts are practically impossible.
_MULTIPLIERS = (
    -7_046_029_254_386_353_131,
    -4_417_276_706_812_531_889,
    1_609_587_929_392_839_161,
    7_625_597_484_987_140_463,
)
# Code of unused rows, above every counted n-gram's.
_FREE = 2**63 - 1

NGRAM_TABLE = "ngram_table"
# Texts counted at a time; does not affect the result.
_ADAPT_ROWS = 8192


class MaskedPooling(keras.layers.Layer):
    """Reduces float ``[n, length, d]`` to ``[n, d]`` over the positions that the mask keeps.

    Modes: ``max``, ``mean``, ``attention`` (softmax over one learned score per position). Rows
    without any kept position become zeros.
    """

    def __init__(self, mode: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if mode not in ("max", "mean", "attention"):
            raise ValueError(f"mode must be max, mean or attention, received {mode!r}")
        self.mode = mode
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if self.mode == "attention":
            self.query = self.add_weight(
                name="query", shape=(input_shape[-1], 1), initializer="glorot_uniform"
            )

    def call(self, inputs: Any, mask: Any = None) -> Any:
        if mask is None:
            mask = ops.ones(ops.shape(inputs)[:2], dtype="bool")
        kept = ops.cast(mask, inputs.dtype)[:, :, None]
        if self.mode == "max":
            return ops.max(inputs - (1.0 - kept) * 1e4, axis=1) * ops.max(kept, axis=1)
        if self.mode == "mean":
            return ops.sum(inputs * kept, axis=1) / ops.maximum(ops.sum(kept, axis=1), 1.0)
        scores = ops.matmul(inputs, self.query) - (1.0 - kept) * 1e4
        # ops.softmax warns about texts of one token.
        shares = ops.exp(scores - ops.max(scores, axis=1, keepdims=True)) * kept
        total = ops.maximum(ops.sum(shares, axis=1), 1e-9)
        return ops.sum(inputs * shares, axis=1) / total

    def compute_mask(self, *_: Any, **__: Any) -> None:
        return None


class GroupedLogits(keras.layers.Layer):
    """Turns logits of categories, float ``[n, categories]``, into logits of their classes.

    A class's logit is the log-sum-exp of its categories' logits, so its probability is the sum of
    theirs.
    """

    def __init__(self, groups: Sequence[int], **kwargs: Any) -> None:
        """Takes the class of each category; raises ValueError if a class has none."""
        super().__init__(**kwargs)
        self.groups = [int(group) for group in groups]
        self.classes = max(self.groups) + 1
        if set(self.groups) != set(range(self.classes)):
            raise ValueError("groups must give each class at least one category")

    def call(self, logits: Any) -> Any:
        outside = np.where(np.arange(self.classes)[:, None] == np.array(self.groups), 0.0, -1e9)
        outside = ops.convert_to_tensor(outside.astype("float32"))
        return ops.logsumexp(logits[:, None, :] + outside, axis=-1)


class RightPaddedBiLSTM(keras.layers.Layer):
    """A BiLSTM over right-padded texts: float ``[n, length, d]`` to ``[n, length, 2 units]``.

    At unmasked positions, the states equal those of a masked ``keras.layers.Bidirectional``. Each
    text is reversed within its own length for the backward direction, so neither direction reads
    padding before words, and the loop needs no mask, which would slow it by a quarter on CPUs.
    States at padding are meaningless.
    """

    def __init__(self, units: int, use_cudnn: bool | str = "auto", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.use_cudnn = use_cudnn
        self.supports_masking = True
        self.forward_layer, self.backward_layer = (
            keras.layers.LSTM(
                units,
                return_sequences=True,
                use_cudnn=use_cudnn,
                dtype=self.dtype_policy,
                name=name,
            )
            for name in ("forward", "backward")
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.forward_layer.build(input_shape)
        self.backward_layer.build(input_shape)

    def call(self, inputs: Any, mask: Any = None, training: bool = False) -> Any:
        # A computed tensor has no mask, which the LSTMs would otherwise pick up.
        inputs = ops.multiply(inputs, 1)
        n, length = ops.shape(inputs)[0], ops.shape(inputs)[1]
        place = ops.arange(length, dtype="int32")[None]
        if mask is None:
            lengths = ops.full((n, 1), length, dtype="int32")
        else:
            lengths = ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True)
        turned = ops.where(place < lengths, lengths - 1 - place, place)
        rows = ops.reshape(turned + ops.arange(n, dtype="int32")[:, None] * length, (-1,))

        def turn(sequence: Any, width: int) -> Any:
            flat = ops.take(ops.reshape(sequence, (-1, width)), rows, axis=0)
            return ops.reshape(flat, (n, length, width))

        forward = self.forward_layer(inputs, mask=None, training=training)
        backward = self.backward_layer(turn(inputs, inputs.shape[-1]), mask=None, training=training)
        return ops.concatenate([forward, turn(backward, self.units)], axis=-1)


class WordPrefixes(keras.layers.Layer):
    """Maps token ids to ids of word prefixes, int32 of the same shape.

    Padding and the out-of-vocabulary word keep their ids, which are below ``first``. Before
    :meth:`adapt`, every word is its own prefix.
    """

    def __init__(self, vocabulary_size: int, letters: int, first: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        self.letters = letters
        self.first = first

    def build(self, _: tuple[int | None, ...]) -> None:
        self.prefixes = self.add_weight(
            name="prefixes",
            shape=(self.vocabulary_size,),
            dtype="int32",
            initializer=lambda shape, dtype: ops.arange(shape[0], dtype=dtype),
            trainable=False,
        )

    def adapt(self, words: Sequence[str]) -> None:
        """Assigns ids to the prefixes of words; word i has the token id i + ``first``."""
        numbers: dict[str, int] = {}
        ids = np.arange(self.vocabulary_size, dtype=np.int32)
        for token, word in enumerate(words, self.first):
            ids[token] = numbers.setdefault(word[: self.letters], len(numbers) + self.first)
        self.prefixes.assign(ids)

    def call(self, tokens: Any) -> Any:
        return ops.take(self.prefixes, tokens, axis=0)


def ngram_codes(tokens: Any, order: int) -> tuple[Any, Any]:
    """Computes a code for each n-gram of length ``order``.

    Args:
        tokens: integer ``[n, length]``, 0 for padding on the right.
        order: length of the n-grams.

    Returns:
        int64 codes ``[n, max(length - order + 1, 0)]``, and a bool array of that shape, false for
        n-grams with padding.
    """
    tokens = ops.cast(tokens, "int64")
    size = ops.maximum(ops.shape(tokens)[1] - (order - 1), 0)
    codes: Any = order
    real: Any = True
    for place in range(order):
        part = tokens[:, place : place + size]
        codes = codes + part * _MULTIPLIERS[place]
        real = ops.logical_and(real, ops.not_equal(part, 0))
    return codes, real


class WideNgrams(keras.layers.Layer):
    """A linear model over TF-IDF of n-grams: token ids ``[n, length]`` to logits ``[n, width]``.

    Each of the ``size`` most frequent n-grams (see :meth:`adapt`) has a row of a ``[size, width]``
    table and a fixed importance; others are ignored. An n-gram that occurs c times in a text has
    the weight ``(1 + log c) * importance``. The logits are the weighted sum of the rows, divided by
    the Euclidean norm of the weights, as in scikit-learn's ``TfidfTransformer`` with sublinear term
    frequencies.
    """

    def __init__(
        self,
        width: int,
        size: int,
        orders: Sequence[int],
        scale: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.size = size
        self.orders = tuple(orders)
        self.scale = scale

    def build(self, _: tuple[int | None, ...]) -> None:
        self.table = self.add_weight(
            name=NGRAM_TABLE, shape=(self.size, self.width), initializer="zeros"
        )
        # Ascending codes of the rows' n-grams.
        self.codes = self.add_weight(
            name="codes", shape=(self.size,), dtype="int64", initializer="zeros", trainable=False
        )
        self.importance = self.add_weight(
            name="importance", shape=(self.size,), initializer="zeros", trainable=False
        )

    def adapt(self, tokens: npt.NDArray[np.integer[Any]]) -> None:
        """Chooses the n-grams and their importance from the train split, int ``[n, length]``.

        Takes those with the highest document frequency, at least 2; ties go to the lower code. The
        importance of one in d of n texts is ``1 + log((n + 1) / (d + 1))``, scikit-learn's smoothed
        inverse document frequency.
        """
        codes, texts = np.empty(0, np.int64), np.empty(0, np.int64)
        for start in range(0, len(tokens), _ADAPT_ROWS):
            part = np.asarray(tokens[start : start + _ADAPT_ROWS])
            found = np.concatenate([_distinct_codes(part, order) for order in self.orders])
            codes, places = np.unique(np.concatenate([codes, found]), return_inverse=True)
            texts = np.bincount(
                places, np.concatenate([texts, np.ones(len(found), np.int64)]), len(codes)
            ).astype(np.int64)
        common = texts >= 2
        codes, texts = codes[common], texts[common]
        # Stable, so that ties stay in the order of their codes.
        chosen = np.sort(np.argsort(-texts, kind="stable")[: self.size])
        free = self.size - len(chosen)
        importance = 1.0 + np.log((len(tokens) + 1) / (texts[chosen] + 1))
        self.codes.assign(np.pad(codes[chosen], (0, free), constant_values=_FREE))
        self.importance.assign(np.pad(importance, (0, free)).astype(np.float32))

    def call(self, tokens: Any) -> Any:
        rows, counts = self._counted(tokens)
        importance = ops.take(self.importance, rows, axis=0)
        weights = ops.where(
            counts > 0,
            (1.0 + ops.log(ops.maximum(ops.cast(counts, self.compute_dtype), 1.0))) * importance,
            0.0,
        )
        norm = ops.sqrt(ops.sum(ops.square(weights), axis=1, keepdims=True))
        logits = ops.matmul(weights[:, None, :], ops.take(self.table, rows, axis=0))[:, 0]
        return logits * self.scale / ops.maximum(norm, 1e-6)

    def _rows(self, tokens: Any) -> Any:
        """Returns the row of each n-gram, int32 ``[n, m]``; ``size`` for those without one."""
        coded = [ngram_codes(tokens, order) for order in self.orders]
        codes = ops.concatenate([pair[0] for pair in coded], axis=1)
        real = ops.concatenate([pair[1] for pair in coded], axis=1)
        known = ops.convert_to_tensor(self.codes)
        rows = ops.searchsorted(known, ops.reshape(codes, (-1,)))
        rows = ops.cast(ops.reshape(ops.minimum(rows, self.size - 1), ops.shape(codes)), "int32")
        found = ops.logical_and(real, ops.equal(ops.take(known, rows, axis=0), codes))
        return ops.where(found, rows, ops.full_like(rows, self.size))

    def _counted(self, tokens: Any) -> tuple[Any, Any]:
        """Returns the distinct rows of each text and their counts, both int32 ``[n, d]``.

        d is the highest number of distinct n-grams in a text; other texts are padded with counts 0.
        """
        rows = ops.sort(self._rows(tokens), axis=1)
        n, places = ops.shape(rows)[0], ops.shape(rows)[1]
        first = ops.concatenate(
            [ops.ones((n, 1), dtype="bool"), ops.not_equal(rows[:, 1:], rows[:, :-1])], axis=1
        )
        found = ops.less(rows, self.size)
        first = ops.logical_and(first, found)
        # Positions where runs of equal rows start, in order, then where the last one ends.
        ends = ops.sum(ops.cast(found, "int32"), axis=1, keepdims=True)
        starts = ops.where(first, ops.arange(places, dtype="int32")[None], ends)
        starts = ops.concatenate([ops.sort(starts, axis=1), ends], axis=1)
        most = ops.maximum(ops.max(ops.sum(ops.cast(first, "int32"), axis=1)), 1)
        counts = starts[:, 1 : most + 1] - starts[:, :most]
        chosen = ops.minimum(starts[:, :most], places - 1)
        # Any row will do where the count is 0.
        chosen = ops.where(counts > 0, ops.take_along_axis(rows, chosen, axis=1), 0)
        return chosen, counts


def _distinct_codes(tokens: npt.NDArray[np.integer[Any]], order: int) -> npt.NDArray[np.int64]:
    """Returns the distinct n-gram codes of each text, concatenated over all texts."""
    codes, real = (ops.convert_to_numpy(part) for part in ngram_codes(tokens, order))
    # The code of an n-gram with padding may equal that of a real one.
    codes = np.sort(np.where(real, codes, _FREE), axis=1)
    first = np.ones(codes.shape, bool)
    first[:, 1:] = codes[:, 1:] != codes[:, :-1]
    return codes[first & (codes != _FREE)]
