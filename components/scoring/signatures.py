"""What the signatures of a SavedModel take and give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from components.contracts import features

# The one input, string [n], of each signature that the exporter writes.
INPUTS = {
    features.SERVING_TEXT: features.ABSTRACT,
    features.SERVING_EXAMPLES: features.EXAMPLES_INPUT,
    features.TRANSFORM_FEATURES: features.EXAMPLES_INPUT,
}
# What a scoring signature gives.
OUTPUTS = (features.LABEL_OUTPUT, features.SCORES_OUTPUT, features.CLASSES_OUTPUT)
# TensorFlow's own signature, which initializes and is not for clients.
_INTERNAL = "__saved_model_init_op"


class TensorKind(NamedTuple):
    """Type and shape of a signature's input or output.

    Attributes:
        dtype: TensorFlow's name of the type.
        shape: -1 where any size goes.
    """

    dtype: str
    shape: tuple[int, ...]


class Signature(NamedTuple):
    """The inputs and outputs of a signature, by name."""

    inputs: dict[str, TensorKind]
    outputs: dict[str, TensorKind]


def described(signature_defs: Mapping[str, Any]) -> dict[str, Signature]:
    """Returns the signatures for clients, by name.

    Args:
        signature_defs: ``SignatureDef`` by name, from ``saved_model.pb`` or a server's metadata.
    """
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
