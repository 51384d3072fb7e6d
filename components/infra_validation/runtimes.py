"""Client of a model server over gRPC, with the interface of `components.scoring.scorer.Scorer`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from components.errors import one_line
from components.scoring.errors import RefusedError
from components.scoring.signatures import Signature, described
from components.scoring.text_inputs import filled

# gRPC's default of 4 MiB would refuse a batch with a few long texts.
_MAX_MESSAGE = 256 << 20


class ModelRuntime(Protocol):
    """A loaded model: a `Scorer` or a `Server`."""

    @property
    def signatures(self) -> dict[str, Signature]:
        """The model's signatures by name."""

    def ask(self, signature: str, rows: Sequence[bytes]) -> dict[str, Any]:
        """Returns a signature's outputs as arrays.

        Raises:
            ScoringError: the model or the server refused the request; one line.
        """


class Server:
    """A model server's PredictionService; requests may take ``timeout`` seconds."""

    def __init__(self, address: str, name: str, timeout: float) -> None:
        self._name, self._timeout = name, timeout
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

    @cached_property
    def signatures(self) -> dict[str, Signature]:
        """The model's signatures by name; raises as :meth:`ask` does."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = self._name
        reply = self._call(self._stub.GetModelMetadata, request)
        found = get_model_metadata_pb2.SignatureDefMap()
        reply.metadata["signature_def"].Unpack(found)
        return described(found.signature_def)

    def ask(self, signature: str, rows: Sequence[bytes]) -> dict[str, Any]:
        """Sends a PredictRequest.

        Raises:
            RefusedError: the server returns an error, or does not answer.
        """
        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._name
        request.model_spec.signature_name = signature
        for name, values in filled(self.signatures[signature].inputs, rows).items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values, tf.string, [len(rows)]))
        reply = self._call(self._stub.Predict, request)
        return {key: tf.make_ndarray(value) for key, value in reply.outputs.items()}

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise RefusedError(one_line(f"{error.code().name}: {error.details()}")) from error
