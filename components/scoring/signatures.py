"""The inputs and outputs of a SavedModel's signatures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from components.contracts import features

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


def _kind(info: Any) -> TensorKind:
    import tensorflow as tf

    shape = tuple(int(dimension.size) for dimension in info.tensor_shape.dim)
    return TensorKind(tf.dtypes.as_dtype(info.dtype).name, shape)
