"""The few messages of TF Serving's gRPC interface that the client exchanges.

The generated modules of tensorflow-serving-api import the whole of TensorFlow, some ten seconds.
These are the same messages on the wire, with the fields that are used here. Numbers and types are
those of

- tensorflow/core/framework/tensor.proto, tensor_shape.proto, types.proto;
- tensorflow_serving/apis/model.proto, predict.proto, get_model_status.proto;
- tensorflow_serving/util/status.proto.

An enum is an int32 on the wire and a map is a repeated pair of key and value, so they are declared
so. The messages live in a pool of their own, where the generated ones cannot clash with them.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PREDICT = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"

# tensorflow.DataType
DT_FLOAT = 1
DT_STRING = 7

# tensorflow.serving.ModelVersionStatus.State
STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}

_PACKAGE = "arxiv_client"
_MANY = "repeated "

# Message: {field: (number, type)}; a capitalized type is another message.
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "Dim": {"size": (1, "int64")},
    "TensorShape": {"dim": (2, _MANY + "Dim")},
    "Tensor": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "TensorShape"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, _MANY + "float"),
        "string_val": (8, _MANY + "bytes"),
    },
    "NamedTensor": {"key": (1, "string"), "value": (2, "Tensor")},
    "Int64Value": {"value": (1, "int64")},
    "ModelSpec": {
        "name": (1, "string"),
        "version": (2, "Int64Value"),
        "signature_name": (3, "string"),
        "version_label": (4, "string"),
    },
    "PredictRequest": {
        "model_spec": (1, "ModelSpec"),
        "inputs": (2, _MANY + "NamedTensor"),
        "output_filter": (3, _MANY + "string"),
    },
    "PredictResponse": {"outputs": (1, _MANY + "NamedTensor")},
    "GetModelStatusRequest": {"model_spec": (1, "ModelSpec")},
    "Status": {"error_code": (1, "int32"), "error_message": (2, "string")},
    "ModelVersionStatus": {
        "version": (1, "int64"),
        "state": (2, "int32"),
        "status": (3, "Status"),
    },
    "GetModelStatusResponse": {"model_version_status": (1, _MANY + "ModelVersionStatus")},
}


def _build() -> dict[str, Any]:
    """Message classes by name."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto3"
    )
    for message, fields in _MESSAGES.items():
        declared = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            label = field.LABEL_REPEATED if kind.startswith(_MANY) else field.LABEL_OPTIONAL
            kind = kind.removeprefix(_MANY)
            one = declared.field.add(name=name, number=number, label=label)
            if kind in _MESSAGES:
                one.type = field.TYPE_MESSAGE
                one.type_name = f".{_PACKAGE}.{kind}"
            else:
                one.type = getattr(field, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    factory = message_factory.MessageFactory(pool)
    return {
        name: factory.GetPrototype(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }


_classes = _build()
PredictRequest = _classes["PredictRequest"]
PredictResponse = _classes["PredictResponse"]
GetModelStatusRequest = _classes["GetModelStatusRequest"]
GetModelStatusResponse = _classes["GetModelStatusResponse"]


def string_tensor(values: Sequence[bytes]) -> dict[str, Any]:
    """Fields of a string tensor [n]."""
    return {
        "dtype": DT_STRING,
        "tensor_shape": {"dim": [{"size": len(values)}]},
        "string_val": list(values),
    }


def shape_of(tensor: Any) -> list[int]:
    """A tensor's dimensions."""
    return [dim.size for dim in tensor.tensor_shape.dim]


def read_strings(tensor: Any) -> list[str]:
    """The values of a string tensor, flat.

    Raises:
        ValueError: it is of another type, or its values do not fill its shape.
    """
    if tensor.dtype != DT_STRING:
        raise ValueError(f"type {tensor.dtype} in place of strings")
    return [value.decode("utf-8", "replace") for value in _filled(tensor, tensor.string_val)]


def read_floats(tensor: Any) -> list[float]:
    """The values of a float32 tensor, flat.

    Raises:
        ValueError: it is of another type, or its values do not fill its shape.
    """
    if tensor.dtype != DT_FLOAT:
        raise ValueError(f"type {tensor.dtype} in place of float32")
    if tensor.tensor_content:
        # Little-endian, as every platform that TensorFlow runs on.
        return list(_filled(tensor, array("f", tensor.tensor_content)))
    return list(_filled(tensor, tensor.float_val))


def rows_of(tensor: Any, values: list[Any]) -> list[list[Any]]:
    """Flat values of a tensor [n, k] as n rows.

    Raises:
        ValueError: the tensor has another rank.
    """
    shape = shape_of(tensor)
    if len(shape) != 2:
        raise ValueError(f"shape {shape} in place of [n, k]")
    return [values[i * shape[1] : (i + 1) * shape[1]] for i in range(shape[0])]


def _filled(tensor: Any, values: Any) -> list[Any]:
    """All values of a tensor; a single one stands for all of them, as tensor.proto says."""
    size = math.prod(shape_of(tensor))
    found = list(values)
    if len(found) == 1:
        found *= size
    if len(found) != size:
        raise ValueError(f"{len(found)} values for shape {shape_of(tensor)}")
    return found
