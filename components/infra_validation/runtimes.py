"""Two ways to ask a SavedModel: TensorFlow in this process, and a model server over gRPC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import grpc
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from components.infra_validation.checks import Signature, TensorKind
from components.infra_validation.process_memory import peak_memory_mib

# Of a message; the default of 4 MiB would refuse a batch with a few long texts.
_MAX_MESSAGE = 256 << 20
# TensorFlow's own signature, which initializes and is not for clients.
_INTERNAL = "__saved_model_init_op"


class ModelRuntime(Protocol):
    """A loaded model."""

    def signatures(self) -> dict[str, Signature]:
        """Returns what the model says of itself."""

    def ask(self, signature: str, name: str, rows: Sequence[bytes]) -> dict[str, Any]:
        """Returns a signature's outputs as arrays, for a string input [n] of this name.

        Raises:
            RuntimeError: the model or the server refused; in one line.
        """

    def memory_mib(self) -> float | None:
        """Returns the peak resident memory of the process that serves, MiB; None if unknown."""


class InProcess:
    """TensorFlow's own runtime, in this process.

    Args:
        model: folder of the SavedModel.
    """

    def __init__(self, model: Path) -> None:
        self._model = model
        self._loaded = tf.saved_model.load(str(model))

    def signatures(self) -> dict[str, Signature]:
        """Returns the signatures in the file."""
        content = saved_model_pb2.SavedModel.FromString(
            (self._model / "saved_model.pb").read_bytes()
        )
        return _described(content.meta_graphs[0].signature_def)

    def ask(self, signature: str, name: str, rows: Sequence[bytes]) -> dict[str, Any]:
        """Calls the signature."""
        try:
            outputs = self._loaded.signatures[signature](
                **{name: tf.constant(list(rows), tf.string, shape=[len(rows)])}
            )
        except tf.errors.OpError as error:
            raise RuntimeError(_cause(error.message)) from error
        return {key: value.numpy() for key, value in outputs.items()}

    def memory_mib(self) -> float | None:
        """Returns this process's peak."""
        return peak_memory_mib("self")


class Server:
    """A model server's PredictionService.

    Args:
        address: host:port of its gRPC.
        name: of the model there.
        pid: of the server's process on this machine, or None.
        timeout: of a request, seconds.
    """

    def __init__(self, address: str, name: str, pid: int | None, timeout: float) -> None:
        self._name, self._pid, self._timeout = name, pid, timeout
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(
            grpc.insecure_channel(
                address,
                [
                    ("grpc.max_send_message_length", _MAX_MESSAGE),
                    ("grpc.max_receive_message_length", _MAX_MESSAGE),
                    ("grpc.enable_http_proxy", 0),
                ],
            )
        )

    def signatures(self) -> dict[str, Signature]:
        """Returns the server's metadata of the model."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = self._name
        reply = self._call(self._stub.GetModelMetadata, request)
        found = get_model_metadata_pb2.SignatureDefMap()
        reply.metadata["signature_def"].Unpack(found)
        return _described(found.signature_def)

    def ask(self, signature: str, name: str, rows: Sequence[bytes]) -> dict[str, Any]:
        """Sends a PredictRequest."""
        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._name
        request.model_spec.signature_name = signature
        request.inputs[name].CopyFrom(tf.make_tensor_proto(list(rows), tf.string, [len(rows)]))
        reply = self._call(self._stub.Predict, request)
        return {key: tf.make_ndarray(value) for key, value in reply.outputs.items()}

    def memory_mib(self) -> float | None:
        """Returns the peak of the server's process, where that is one of this machine."""
        return None if self._pid is None else peak_memory_mib(self._pid)

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise RuntimeError(_one_line(f"{error.code().name}: {error.details()}")) from error


def texts_of(array: npt.NDArray[Any]) -> list[str]:
    """Returns a string array [n] as text."""
    return [value.decode("utf-8", "replace") for value in np.asarray(array).ravel()]


def _described(signatures: Mapping[str, Any]) -> dict[str, Signature]:
    return {
        name: Signature(
            {key: _kind(info) for key, info in signature.inputs.items()},
            {key: _kind(info) for key, info in signature.outputs.items()},
        )
        for name, signature in signatures.items()
        if name != _INTERNAL
    }


def _kind(info: Any) -> TensorKind:
    shape = tuple(int(dimension.size) for dimension in info.tensor_shape.dim)
    return TensorKind(tf.dtypes.as_dtype(info.dtype).name, shape)


def _cause(message: str) -> str:
    """The line of TensorFlow's message that says what is wrong, below the trace of the node."""
    lines = [line.strip() for line in message.splitlines()]
    return _one_line(next(line for line in reversed(lines) if line and not line.startswith("[[")))


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]
