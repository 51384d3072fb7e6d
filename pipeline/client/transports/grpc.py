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
from pipeline.client.errors import ClientError, ServerError
from pipeline.client.transports.base import OUTPUTS
from pipeline.client.transports.server import ServerClient
from pipeline.client.transports.tf_serving import messages
from pipeline.client.types import Address, Options, VersionStatus

if "grpc" not in sys.modules:
    # gRPC's core logs each failed handshake to stderr, although the error says the same.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
from google.protobuf.message import DecodeError

# Prefixes of gRPC's own messages; any other message of this status is the server's.
_UNREACHED = ("failed to connect", "DNS resolution failed", "Socket closed", "recvmsg")
# A tensor of one value takes a few bytes, whatever its shape.
_MOST_VALUES = 2**24


class GrpcClient(ServerClient):
    """Uses one HTTP/2 connection, which the first request opens."""

    interface = "gRPC"

    def __init__(self, address: Address, options: Options) -> None:
        super().__init__(address, options)
        self._metadata = tuple(options.all_headers().items())
        settings: list[tuple[str, int | str]] = [
            ("grpc.max_receive_message_length", options.max_reply_bytes),
            # No compression: the limit would count the compressed bytes.
            ("grpc.compression_enabled_algorithms_bitset", 1),
            ("grpc.max_send_message_length", -1),
            # Only ServerClient._ask retries.
            ("grpc.enable_retries", 0),
            # A retry must find a channel that reconnects, not one that waits a second. The minimum
            # backoff keeps its default, since it is also the timeout for connecting.
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.max_reconnect_backoff_ms", 2000),
            ("grpc.http_proxy", self._proxy.geturl())
            if self._proxy
            else ("grpc.enable_http_proxy", 0),
        ]
        if self._tls:
            # Without it, a gRPC server closes a plain connection, too.
            self._tls.set_alpn_protocols(["h2"])
            self._channel = grpc.secure_channel(address.target, _credentials(options), settings)
        else:
            self._channel = grpc.insecure_channel(address.target, settings)

    def status(self) -> list[VersionStatus]:
        request = messages.GetModelStatusRequest(model_spec={"name": self.options.model_name})
        reply = self._call("ModelService/GetModelStatus", request, messages.GetModelStatusResponse)
        names = dict(map(reversed, messages.ModelVersionStatus.State.items()))
        return self._versions(
            (one.version, names.get(one.state, one.state), one.status.error_message)
            for one in reply.model_version_status
        )

    def close(self) -> None:
        self._channel.close()

    @property
    def _spec(self) -> dict[str, Any]:
        version = self.options.version
        # A field that is None stays unset.
        return {
            "name": self.options.model_name,
            "version": None if version is None else {"value": version},
            "version_label": self.options.version_label,
        }

    def _predict(self, inputs: Mapping[str, Sequence[bytes]]) -> Mapping[str, Any]:
        request = messages.PredictRequest(
            model_spec={**self._spec, "signature_name": features.SERVING_TEXT},
            inputs={name: string_tensor(texts) for name, texts in inputs.items()},
            output_filter=OUTPUTS,
        )
        reply = self._call("PredictionService/Predict", request, messages.PredictResponse)
        return {name: read_tensor(reply.outputs[name]) for name in OUTPUTS if name in reply.outputs}

    def _input_names(self) -> tuple[str, ...]:
        request = messages.GetModelMetadataRequest(
            model_spec=self._spec, metadata_field=["signature_def"]
        )
        reply = self._call(
            "PredictionService/GetModelMetadata", request, messages.GetModelMetadataResponse
        )
        found = messages.SignatureDefMap.FromString(reply.metadata["signature_def"].value)
        return tuple(found.signature_def[features.SERVING_TEXT].inputs)

    def _call(self, name: str, request: Any, response: Any) -> Any:
        method = self._channel.unary_unary(f"/tensorflow.serving.{name}")
        content = request.SerializeToString()

        def send(seconds: float) -> Any:
            try:
                return method(content, timeout=seconds, metadata=self._metadata)
            except grpc.RpcError as error:
                raise self._rpc_error(error.code(), error.details() or "") from None

        try:
            return response.FromString(self._ask(send))
        except DecodeError:
            raise ServerError(f"{self._where}: the reply to {name} is not TF Serving's") from None

    def _rpc_error(self, code: grpc.StatusCode, details: str) -> ClientError:
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            return self._too_slow()
        if code == grpc.StatusCode.UNAVAILABLE and details.startswith(_UNREACHED):
            return self._unreached(details)
        if f" vs. {self.options.max_reply_bytes})" in details:
            return self._too_long()
        return self._refusal(code.name, details, code.name)


def string_tensor(values: Sequence[bytes]) -> Any:
    """Returns a string tensor [n]."""
    shape = {"dim": [{"size": len(values)}]}
    return messages.Tensor(dtype=messages.Tensor.DT_STRING, tensor_shape=shape, string_val=values)


def read_tensor(tensor: Any) -> list[Any]:
    """Returns the values of a string or float32 tensor: a list for [n], n lists for [n, k].

    Raises:
        ValueError: another type or rank, or the wrong number of values for its shape.
    """
    values: Sequence[Any]
    if tensor.dtype == tensor.DT_STRING:
        values = [value.decode("utf-8", "replace") for value in tensor.string_val]
    elif tensor.dtype != tensor.DT_FLOAT:
        raise ValueError(f"tensor of type {tensor.dtype}, neither float32 nor string")
    elif tensor.tensor_content:
        # Little-endian, like every platform that TensorFlow runs on.
        values = array("f", tensor.tensor_content)
    else:
        values = tensor.float_val
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if len(shape) not in (1, 2) or max(*shape, math.prod(shape)) > _MOST_VALUES:
        raise ValueError(f"tensor of shape {shape}, neither [n] nor [n, k], or too large")
    # A single value is repeated to fill the shape, as tensor.proto says.
    values = list(values) * (math.prod(shape) if len(values) == 1 else 1)
    if len(values) != math.prod(shape):
        raise ValueError(f"{len(values)} values for shape {shape}")
    if len(shape) == 1:
        return values
    return [values[row * shape[1] : (row + 1) * shape[1]] for row in range(shape[0])]


def _credentials(options: Options) -> grpc.ChannelCredentials:
    trusted = options.ca_file or ssl.get_default_verify_paths().cafile
    chain = options.cert_file.read_bytes() if options.cert_file else None
    key = options.key_file.read_bytes() if options.key_file else chain
    return grpc.ssl_channel_credentials(Path(trusted).read_bytes() if trusted else None, key, chain)
