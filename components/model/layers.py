"""Layers of the wide-and-deep classifier, written with backend-neutral Keras operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

# Odd 31-bit multipliers, one for each place in an n-gram: different, so that order counts, and
# small enough that no product with a token id leaves 64 bits.
_MULTIPLIERS = (1_640_531_527, 1_812_433_253, 2_147_001_325, 1_103_515_245)
_SHIFT = 13

NGRAM_TABLE = "ngram_table"
# Texts hashed at a time while counting; has no effect on the result.
_ADAPT_ROWS = 1024


@keras.saving.register_keras_serializable("arxiv")
class MaskedPooling(keras.layers.Layer):
    """Reduces float ``[n, length, d]`` to ``[n, d]`` over the positions that the mask keeps.

    Modes: ``max``, ``mean``, ``attention`` (softmax over one learned score a position). A row with
    no kept position gives zeros.
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
        super().build(input_shape)

    def call(self, inputs: Any, mask: Any = None) -> Any:
        if mask is None:
            mask = ops.ones(ops.shape(inputs)[:2], dtype="bool")
        kept = ops.cast(mask, inputs.dtype)[:, :, None]
        if self.mode == "max":
            return ops.max(inputs - (1.0 - kept) * 1e4, axis=1) * ops.max(kept, axis=1)
        if self.mode == "mean":
            return ops.sum(inputs * kept, axis=1) / ops.maximum(ops.sum(kept, axis=1), 1.0)
        scores = ops.matmul(inputs, self.query) - (1.0 - kept) * 1e4
        # Not ops.softmax, which warns about texts of one token.
        shares = ops.exp(scores - ops.max(scores, axis=1, keepdims=True)) * kept
        total = ops.maximum(ops.sum(shares, axis=1), 1e-9)
        return ops.sum(inputs * shares, axis=1) / total

    def compute_mask(self, *_: Any, **__: Any) -> None:
        return None

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mode": self.mode}


@keras.saving.register_keras_serializable("arxiv")
class WordDropout(keras.layers.Layer):
    """In training, replaces words of ``[n, length]`` by the unknown word; padding stays."""

    def __init__(self, rate: float, replacement: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.replacement = replacement
        self._seeds = keras.random.SeedGenerator()

    def call(self, tokens: Any, training: bool = False) -> Any:
        if not training or not self.rate:
            return tokens
        draws = keras.random.uniform(ops.shape(tokens), seed=self._seeds)
        dropped = ops.logical_and(draws < self.rate, ops.not_equal(tokens, 0))
        return ops.where(dropped, ops.full_like(tokens, self.replacement), tokens)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "replacement": self.replacement}


@keras.saving.register_keras_serializable("arxiv")
class GroupedLogits(keras.layers.Layer):
    """Logits of categories, float ``[n, categories]``, to those of the classes they belong to.

    A class's logit is the log of the sum of its categories' exponentials, so that its probability
    is the sum of theirs.
    """

    def __init__(self, groups: Sequence[int], **kwargs: Any) -> None:
        """Keeps the class of each category; each of the classes 0 to max needs one."""
        super().__init__(**kwargs)
        self.groups = [int(group) for group in groups]
        self.classes = max(self.groups) + 1
        if set(self.groups) != set(range(self.classes)):
            raise ValueError("groups must give each class at least one category")

    def call(self, logits: Any) -> Any:
        outside = np.where(np.arange(self.classes)[:, None] == np.array(self.groups), 0.0, -1e9)
        outside = ops.convert_to_tensor(outside.astype("float32"))
        return ops.logsumexp(logits[:, None, :] + outside, axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.classes)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "groups": self.groups}


@keras.saving.register_keras_serializable("arxiv")
class RightPaddedBiLSTM(keras.layers.Layer):
    """A BiLSTM over right-padded texts: float ``[n, length, d]`` to ``[n, length, 2 units]``.

    Where the mask keeps a place, its states are those of a masked ``keras.layers.Bidirectional``.
    The backward direction reads each text turned around within its own length, so that neither
    direction meets padding before words and the loop, which a mask slows by a quarter on CPUs,
    needs none. States at padding are of no use.
    """

    def __init__(
        self, units: int, dropout: float = 0.0, use_cudnn: bool | str = "auto", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.dropout = dropout
        self.use_cudnn = use_cudnn
        self.supports_masking = True
        self.forward_layer, self.backward_layer = (
            keras.layers.LSTM(
                units,
                dropout=dropout,
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
        super().build(input_shape)

    def call(self, inputs: Any, mask: Any = None, training: bool = False) -> Any:
        # A computed tensor carries no mask, which the LSTMs would else pick up by themselves.
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

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:2], 2 * self.units)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "dropout": self.dropout,
            "use_cudnn": self.use_cudnn,
        }


def hash_ngrams(tokens: Any, order: int, buckets: int) -> tuple[Any, Any]:
    """Hashes every run of ``order`` adjacent tokens into ``buckets`` (a power of two) rows.

    Args:
        tokens: integer ``[n, length]``, 0 for padding on the right.

    Returns:
        int64 ``[n, length - order + 1]`` rows and a bool array of that shape, false where the run
        holds padding. Empty along the second axis when the text is shorter than ``order``.
    """
    tokens = ops.cast(tokens, "int64")
    size = ops.maximum(ops.shape(tokens)[1] - (order - 1), 0)
    mixed: Any = order * 97_531
    real: Any = True
    for place in range(order):
        part = tokens[:, place : place + size]
        mixed = mixed + part * _MULTIPLIERS[place]
        real = ops.logical_and(real, ops.not_equal(part, 0))
    mixed = ops.bitwise_xor(mixed, ops.right_shift(mixed, 2 * _SHIFT))
    return ops.bitwise_and(ops.right_shift(mixed, _SHIFT), buckets - 1), real


@keras.saving.register_keras_serializable("arxiv")
class WideNgrams(keras.layers.Layer):
    """A linear model over hashed n-grams: token ids ``[n, length]`` to logits ``[n, width]``.

    Each n-gram owns a row of a ``[buckets, width]`` table and a fixed weight (see
    :meth:`adapt`). A text's rows are summed by weight and divided by the Euclidean norm of its
    weights. Dropout removes whole n-grams.
    """

    def __init__(
        self,
        width: int,
        buckets: int,
        orders: Sequence[int],
        dropout: float = 0.0,
        scale: float = 1.0,
        rare: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.buckets = buckets
        self.orders = tuple(orders)
        self.dropout = dropout
        self.scale = scale
        self.rare = rare
        self._seeds = keras.random.SeedGenerator()

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.table = self.add_weight(
            name=NGRAM_TABLE, shape=(self.buckets, self.width), initializer="zeros"
        )
        self.importance = self.add_weight(
            name="importance", shape=(self.buckets,), initializer="ones", trainable=False
        )
        super().build(input_shape)

    def adapt(self, tokens: npt.NDArray[np.integer[Any]]) -> None:
        """Sets the weight of each row from the texts of the train split, int ``[n, length]``.

        A row that occurs in d of n texts weighs ``(1 + log((n + 1) / (d + 1))) * min(1, d / rare)``
        and nothing when d < 2. The first factor is scikit-learn's inverse document frequency; the
        second can hold back rare rows, which adaptive optimizers learn as fast as common ones.
        Rows of texts unlike any seen keep weight 0.
        """
        texts = np.zeros(self.buckets, np.int64)
        for start in range(0, len(tokens), _ADAPT_ROWS):
            part = np.asarray(tokens[start : start + _ADAPT_ROWS])
            found = []
            for order in self.orders:
                rows, real = hash_ngrams(part, order, self.buckets)
                text = np.broadcast_to(np.arange(len(part))[:, None], rows.shape)
                kept = ops.convert_to_numpy(real)
                found.append(text[kept] * self.buckets + ops.convert_to_numpy(rows)[kept])
            texts += np.bincount(
                np.unique(np.concatenate(found)) % self.buckets, minlength=self.buckets
            )
        rarity = 1.0 + np.log((len(tokens) + 1) / (texts + 1))
        importance = np.where(texts < 2, 0.0, rarity * np.minimum(1.0, texts / self.rare))
        self.importance.assign(importance.astype(np.float32))

    def call(self, tokens: Any, training: bool = False) -> Any:
        hashed = [hash_ngrams(tokens, order, self.buckets) for order in self.orders]
        rows = ops.concatenate([pair[0] for pair in hashed], axis=1)
        real = ops.concatenate([pair[1] for pair in hashed], axis=1)
        weights = ops.cast(real, self.compute_dtype) * ops.take(self.importance, rows, axis=0)
        norm = ops.sqrt(ops.sum(ops.square(weights), axis=1, keepdims=True))
        if training and self.dropout:
            weights = keras.random.dropout(weights, self.dropout, seed=self._seeds)
        logits = ops.sum(ops.take(self.table, rows, axis=0) * weights[:, :, None], axis=1)
        return logits * self.scale / ops.maximum(norm, 1e-6)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.width)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "width": self.width,
            "buckets": self.buckets,
            "orders": self.orders,
            "dropout": self.dropout,
            "scale": self.scale,
            "rare": self.rare,
        }
