"""Builds the networks from their settings, with Keras operations only."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from components.contracts import features
from components.model.layers import (
    GroupedLogits,
    MaskedPooling,
    RightPaddedBiLSTM,
    WideNgrams,
    WordPrefixes,
)
from components.model.model_settings import ModelSettings

EMBEDDING_LAYER = "embedding"
LOGITS_LAYER = "logits"
DEEP_LAYER = "deep_logits"
WIDE_LAYER = "wide_logits"
# Must sort before the other names: TensorFlow may sum the paths in that order, and another order
# would change the scores' last digits.
PREFIX_LAYER = "by_prefix_logits"
PATH_LAYERS = (DEEP_LAYER, WIDE_LAYER, PREFIX_LAYER)
CATEGORY_LAYER_OF = {name: name.replace("logits", "category_logits") for name in PATH_LAYERS}
CATEGORY_LAYERS = tuple(CATEGORY_LAYER_OF.values())
# Name patterns of the linear paths' layers.
LINEAR_LAYERS = ("wide_*", "by_prefix_*")


def build_model(
    settings: ModelSettings,
    embedding_matrix: npt.NDArray[np.floating[Any]],
    sequence_length: int | None,
    classes: int,
    *,
    groups: Sequence[int] | None = None,
    serving: bool = False,
) -> keras.Model:
    """Builds the classifier.

    Args:
        settings: architecture and sizes.
        embedding_matrix: float32 ``[vocabulary_size, d]``, initial word vectors; row 0 is padding,
            row 1 the out-of-vocabulary word.
        sequence_length: tokens per text, or None if it varies from batch to batch.
        classes: number of classes.
        groups: class of each category; every class has at least one. Each path then scores
            categories (layers :data:`CATEGORY_LAYERS`) and gives a class (layers
            :data:`PATH_LAYERS`) the sum of their probabilities. Without groups or
            ``settings.categories``, or for architecture "notebook", there are no categories.
        serving: builds for export: without cuDNN, so that the graph also runs on CPUs, and without
            the seed generator of the LSTM's dropout. The weights are the same.

    Returns:
        A model from int ``[n, length]`` token ids (0 = padding, on the right) to float32
        ``[n, classes]`` logits, for :func:`with_probabilities`. The layer :data:`EMBEDDING_LAYER`
        has the word vectors.

    Raises:
        ValueError: the arguments are inconsistent.
    """
    if embedding_matrix.ndim != 2:
        raise ValueError(f"embedding_matrix must have two axes, received {embedding_matrix.shape}")
    if classes < 2:
        raise ValueError(f"classes must be at least 2, received {classes}")
    if not settings.categories:
        groups = None
    if groups is not None and max(groups) + 1 != classes:
        raise ValueError(f"groups must name {classes} classes, received {max(groups) + 1}")
    tokens = keras.Input((sequence_length,), dtype="int32", name="tokens")
    if settings.architecture == "notebook":
        model = _notebook(embedding_matrix.shape, tokens, classes, serving)
    else:
        model = _bilstm_wide(settings, embedding_matrix.shape, tokens, classes, groups, serving)
    for layer in model.layers:
        if layer.name == EMBEDDING_LAYER:
            # An initializer would put the matrix into the model's configuration.
            layer.set_weights([embedding_matrix])
    return model


def adapt(model: keras.Model, tokens: npt.NDArray[np.integer[Any]], words: Sequence[str]) -> None:
    """Sets what is counted, not learned: word prefixes, n-grams and their weights.

    Args:
        model: from :func:`build_model`; unchanged if it has no wide path.
        tokens, words: the train split, int ``[n, length]``, and the vocabulary by token id.
    """
    cut = tokens
    for layer in model.layers:
        if isinstance(layer, WordPrefixes):
            layer.adapt(words)
            cut = np.asarray(layer.prefixes)[tokens]
    for layer in model.layers:
        if isinstance(layer, WideNgrams):
            layer.adapt(cut if layer.name.startswith("by_prefix_") else tokens)


def with_probabilities(
    model: keras.Model, temperature: float, bias: npt.NDArray[np.floating[Any]]
) -> keras.Model:
    """Adds the calibrated softmax: ``softmax((logits + bias) / temperature)``, float32.

    Args:
        model: from :func:`build_model`; its weights are shared, not copied.
        temperature: above 0, fitted on the eval split.
        bias: float ``[classes]`` logit adjustment, usually ``-tau * log(prior)``.

    Raises:
        ValueError: an argument is out of range or has a wrong shape.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, received {temperature}")
    classes = model.output_shape[-1]
    if bias.shape != (classes,):
        raise ValueError(f"bias must have shape ({classes},), received {bias.shape}")
    scaled = keras.layers.Rescaling(
        1.0 / temperature, (bias / temperature).tolist(), dtype="float32", name="calibration"
    )(model.output)
    scores = keras.layers.Softmax(dtype="float32", name="scores")(scaled)
    return keras.Model(model.input, scores, name=f"{model.name}_scores")


def _notebook(
    shape: tuple[int, ...], tokens: keras.KerasTensor, classes: int, serving: bool
) -> keras.Model:
    """Builds the original model: fixed sizes, and no mask, so the last state reads the padding."""
    x = keras.layers.Embedding(*shape, name=EMBEDDING_LAYER)(tokens)
    lstm = keras.layers.LSTM(64, use_cudnn=False) if serving else keras.layers.LSTM(64, dropout=0.2)
    x = keras.layers.Bidirectional(lstm, name="bilstm")(x)
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.Dense(32, activation="relu", name="hidden")(x)
    logits = keras.layers.Dense(classes, dtype="float32", name=LOGITS_LAYER)(x)
    return keras.Model(tokens, logits, name="notebook")


def _bilstm_wide(
    settings: ModelSettings,
    shape: tuple[int, ...],
    tokens: keras.KerasTensor,
    classes: int,
    groups: Sequence[int] | None,
    serving: bool,
) -> keras.Model:
    """Builds the ensemble: the mean of the logits of a deep path and of linear paths."""
    width = classes if groups is None else len(groups)
    paths = []

    def add_path(name: str, read: keras.KerasTensor, head: partial[keras.layers.Layer]) -> None:
        """Adds the path whose logits are the layer ``name``."""
        if groups is None:
            paths.append(head(name=name)(read))
        else:
            categories = head(name=CATEGORY_LAYER_OF[name])(read)
            paths.append(GroupedLogits(groups, dtype="float32", name=name)(categories))

    if settings.lstm_units:
        embedded = keras.layers.Embedding(*shape, mask_zero=True, name=EMBEDDING_LAYER)(tokens)
        embedded = keras.layers.SpatialDropout1D(settings.embedding_dropout)(embedded)
        lstm = RightPaddedBiLSTM(settings.lstm_units, False if serving else "auto", name="bilstm")
        states = lstm(embedded)
        pooled = [MaskedPooling(m, name=f"lstm_{m}")(states) for m in settings.lstm_pooling]
        deep = pooled[0] if len(pooled) == 1 else keras.layers.Concatenate()(pooled)
        deep = keras.layers.Dropout(settings.dense_dropout)(deep)
        deep = keras.layers.Dense(settings.dense_units, activation="relu", name="hidden")(deep)
        deep = keras.layers.Dropout(settings.dense_dropout)(deep)
        add_path(DEEP_LAYER, deep, partial(keras.layers.Dense, width, dtype="float32"))
    if settings.wide_ngrams:
        wide = partial(
            WideNgrams,
            width,
            settings.wide_ngrams,
            settings.wide_orders,
            settings.wide_scale,
            dtype="float32",
        )
        add_path(WIDE_LAYER, tokens, wide)
        if settings.wide_letters:
            cut = WordPrefixes(
                shape[0], settings.wide_letters, features.FIRST_WORD_ID, name="prefixes"
            )
            add_path(PREFIX_LAYER, cut(tokens), wide)
    logits = paths[0] if len(paths) == 1 else keras.layers.Average(dtype="float32")(paths)
    logits = keras.layers.Identity(dtype="float32", name=LOGITS_LAYER)(logits)
    return keras.Model(tokens, logits, name="bilstm_wide")
