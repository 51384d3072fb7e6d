"""TF Serving's gRPC interface: PredictionService and ModelService."""

from __future__ import annotations

import math
import os
import ssl
import sys
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.contracts import features
from pipeline.client.errors import ClientError, UnavailableError, one_line
from pipeline.client.transports import tf_serving_pb2 as messages
from pipeline.client.transports.base import OUTPUTS
from pipeline.client.transports.server import ServerClient, make_tls_context
from pipeline.client.types import Address, Options, VersionStatus

if "grpc" not in sys.modules:
    # gRPC's core logs each failed handshake to stderr, although the error says the same.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc


class GrpcClient(ServerClient):
    """Uses one HTTP/2 connection, which the first request opens."""

    interface = "gRPC"

    def __init__(self, address: Address, options: Options) -> None:
        super().__init__(address, options)
        self._metadata = tuple(options.all_headers().items())
        settings: list[tuple[str, int]] = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            # Only transports.server.retried retries.
            ("grpc.enable_retries", 0),
            # A retry must find a channel that reconnects, not one that waits a second. The minimum
            # backoff keeps its default, since it is also the timeout for connecting.
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.max_reconnect_backoff_ms", 2000),
        ]
        if address.loopback:
            # No proxy to this machine itself, whatever the environment says.
            settings.append(("grpc.enable_http_proxy", 0))
        self._channel = (
            grpc.secure_channel(address.target, _credentials(options), settings)
            if address.tls
            else grpc.insecure_channel(address.target, settings)
        )
        self._predict = self._method("PredictionService/Predict", messages.PredictResponse)
        self._get_status = self._method(
            "ModelService/GetModelStatus", messages.GetModelStatusResponse
        )
        self._spec: dict[str, Any] = {"name": options.model_name}
        if options.version is not None:
            self._spec["version"] = {"value": options.version}
        elif options.version_label is not None:
            self._spec["version_label"] = options.version_label

    def _method(self, name: str, response: Any) -> Any:
        return self._channel.unary_unary(
            f"/tensorflow.serving.{name}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=response.FromString,
        )

    def status(self) -> list[VersionStatus]:
        request = messages.GetModelStatusRequest(model_spec={"name": self.options.model_name})
        found = self._call(self._get_status, request).model_version_status
        return [
            VersionStatus(one.version, _state(one.state), one_line(one.status.error_message))
            for one in sorted(found, key=lambda one: -one.version)
        ]

    def close(self) -> None:
        self._channel.close()

    def _outputs(self, texts: Sequence[bytes]) -> Mapping[str, Any]:
        spec = {**self._spec, "signature_name": features.SERVING_TEXT}
        inputs = {features.ABSTRACT: string_tensor(texts)}
        request = messages.PredictRequest(model_spec=spec, inputs=inputs, output_filter=OUTPUTS)
        outputs = self._call(self._predict, request).outputs
        return {name: read_tensor(tensor) for name, tensor in outputs.items()}

    def _call(self, method: Any, request: Any) -> Any:
        def send(seconds: float) -> Any:
            try:
                return method(request, timeout=seconds, metadata=self._metadata)
            except grpc.RpcError as error:
                raise self._rpc_error(error.code(), error.details() or "") from None

        return self._ask(send)

    def _rpc_error(self, code: grpc.StatusCode, details: str) -> ClientError:
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            return self._too_slow()
        if code == grpc.StatusCode.UNAVAILABLE:
            message, said = one_line(details), details.lower()
            if "certificate_verify_failed" in said:
                return self._untrusted(message)
            # The only sign of a client certificate that is missing or that the server refuses.
            closed = self._address.tls and "socket closed" in said
            hint = "; does it ask for another client certificate?" if closed else ""
            return UnavailableError(
                f"{self._where}: not reachable or overloaded ({message}){hint}", transient=True
            )
        return self._refusal(code.name, details, code.name)


def string_tensor(values: Sequence[bytes]) -> messages.Tensor:
    """Returns a string tensor [n]."""
    shape = {"dim": [{"size": len(values)}]}
    return messages.Tensor(dtype=messages.DT_STRING, tensor_shape=shape, string_val=values)


def read_tensor(tensor: messages.Tensor) -> list[Any]:
    """Returns the values of a string or float32 tensor: a list for [n], n lists for [n, k].

    Raises:
        ValueError: another type or rank, or the wrong number of values for its shape.
    """
    values: Sequence[Any]
    if tensor.dtype == messages.DT_STRING:
        values = [value.decode("utf-8", "replace") for value in tensor.string_val]
    elif tensor.dtype != messages.DT_FLOAT:
        raise ValueError(f"tensor of type {tensor.dtype}, neither float32 nor string")
    elif tensor.tensor_content:
        # Little-endian, like every platform that TensorFlow runs on.
        values = array("f", tensor.tensor_content)
    else:
        values = tensor.float_val
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if len(shape) not in (1, 2):
        raise ValueError(f"tensor of shape {shape}, neither [n] nor [n, k]")
    # A single value is repeated to fill the shape, as tensor.proto says.
    values = list(values) * (math.prod(shape) if len(values) == 1 else 1)
    if len(values) != math.prod(shape):
        raise ValueError(f"{len(values)} values for shape {shape}")
    if len(shape) == 1:
        return values
    return [values[row * shape[1] : (row + 1) * shape[1]] for row in range(shape[0])]


def _state(number: int) -> str:
    """Returns the name of a version's state; the number of an unknown one."""
    states = messages.ModelVersionStatus.State
    return states.Name(number) if number in states.values() else str(number)


def _credentials(options: Options) -> grpc.ChannelCredentials:
    # Checks the files: gRPC would report a bad certificate as an unreachable server.
    make_tls_context(options)
    trusted = options.ca_file or ssl.get_default_verify_paths().cafile
    chain = options.cert_file.read_bytes() if options.cert_file else None
    key = options.key_file.read_bytes() if options.key_file else chain
    return grpc.ssl_channel_credentials(Path(trusted).read_bytes() if trusted else None, key, chain)
