"""The inputs and outputs of a SavedModel's signatures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from components.contracts import features

SIGNATURES = (features.SERVING_TEXT, features.SERVING_EXAMPLES, features.TRANSFORM_FEATURES)
# Outputs of a scoring signature.
OUTPUTS = (features.LABEL_OUTPUT, features.SCORES_OUTPUT, features.CLASSES_OUTPUT)
# TensorFlow's initializer, not for clients.
_INTERNAL = "__saved_model_init_op"


class TensorKind(NamedTuple):
    """TensorFlow's type name and the shape, -1 for any size, of an input or output."""

    dtype: str
    shape: tuple[int, ...]


class Signature(NamedTuple):
    """The inputs and outputs of a signature, by name."""

    inputs: dict[str, TensorKind]
    outputs: dict[str, TensorKind]


def input_names(columns: Sequence[str]) -> list[str]:
    """Returns the inputs' names of ``serving_default`` for the text columns.

    They are the columns' names where these are ASCII identifiers, which any client can type, else
    ``text``, numbered if there are several.
    """
    if all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) for name in columns):
        return list(columns)
    return [f"text_{i + 1}" for i in range(len(columns))] if len(columns) > 1 else ["text"]


def described(signature_defs: Mapping[str, Any]) -> dict[str, Signature]:
    """Returns a model's signatures, given its ``SignatureDef`` protos, both by name."""
    return {
        name: Signature(
            {key: _kind(info) for key, info in signature.inputs.items()},
            {key: _kind(info) for key, info in signature.outputs.items()},
        )
        for name, signature in signature_defs.items()
        if name != _INTERNAL
    }


def filled(names: Iterable[str], rows: Sequence[bytes]) -> dict[str, list[bytes]]:
    """Returns the named inputs of a signature for texts or serialized tf.Examples.

    Of several inputs, the first one has the rows and the others are empty: joining passes over
    empty texts.
    """
    first, *others = sorted(names)
    return {first: list(rows), **{name: [b""] * len(rows) for name in others}}


def _kind(info: Any) -> TensorKind:
    import tensorflow as tf

    shape = tuple(int(dimension.size) for dimension in info.tensor_shape.dim)
    return TensorKind(tf.dtypes.as_dtype(info.dtype).name, shape)
