"""TF Serving's gRPC interface: PredictionService and ModelService."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.contracts import features
from pipeline.client import retry, tls, wire
from pipeline.client.api import Address, Classification, Client, Options, VersionStatus, assemble
from pipeline.client.errors import (
    ClientError,
    DeniedError,
    ModelNotLoadedError,
    ServerError,
    TextTooLongError,
    UnavailableError,
    WrongSignatureError,
    one_line,
)

if "grpc" not in sys.modules:
    # Its core logs each failed handshake to stderr; the error says the same.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc

_OUTPUTS = (features.LABEL_OUTPUT, features.SCORES_OUTPUT, features.CLASSES_OUTPUT)
# Words of TF Serving's INVALID_ARGUMENT and FAILED_PRECONDITION that blame the signature.
_SIGNATURE_WORDS = ("signature", "tensor alias", "expects", "expected to be")
# Of gRPC's message about too many bytes, and of TF Serving's batching about too many rows.
_TOO_LARGE = "larger than max"


class GrpcClient(Client):
    """Asks over one HTTP/2 connection, which is opened by the first request and kept."""

    def __init__(self, address: Address, options: Options) -> None:
        super().__init__(options)
        self._address = address
        self._metadata = tuple(options.all_headers().items())
        settings: list[tuple[str, int]] = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            # One place retries: pipeline.client.retry.
            ("grpc.enable_retries", 0),
            # A new attempt must find a channel that tries again, not one that waits a second. The
            # least backoff stays as it is: it also bounds the time in which to connect.
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.max_reconnect_backoff_ms", 2000),
        ]
        if address.loopback:
            # No proxy stands between a machine and itself, whatever the environment says.
            settings.append(("grpc.enable_http_proxy", 0))
        self._channel = (
            grpc.secure_channel(address.target, _credentials(options), settings)
            if address.tls
            else grpc.insecure_channel(address.target, settings)
        )
        self._predict = self._channel.unary_unary(
            wire.PREDICT,
            request_serializer=wire.PredictRequest.SerializeToString,
            response_deserializer=wire.PredictResponse.FromString,
        )
        self._get_status = self._channel.unary_unary(
            wire.GET_MODEL_STATUS,
            request_serializer=wire.GetModelStatusRequest.SerializeToString,
            response_deserializer=wire.GetModelStatusResponse.FromString,
        )

    def status(self) -> list[VersionStatus]:
        """See :meth:`Client.status`."""
        request = wire.GetModelStatusRequest(model_spec={"name": self.options.model_name})
        found = [
            VersionStatus(
                one.version,
                wire.STATES.get(one.state, str(one.state)),
                one_line(one.status.error_message),
            )
            for one in self._request(self._get_status, request).model_version_status
        ]
        return sorted(found, key=lambda one: -one.version)

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def _classify(self, texts: Sequence[bytes]) -> list[Classification]:
        spec: dict[str, Any] = {
            "name": self.options.model_name,
            "signature_name": features.SERVING_TEXT,
        }
        if self.options.version is not None:
            spec["version"] = {"value": self.options.version}
        elif self.options.version_label is not None:
            spec["version_label"] = self.options.version_label
        request = wire.PredictRequest(
            model_spec=spec,
            inputs=[{"key": features.ABSTRACT, "value": wire.string_tensor(texts)}],
            output_filter=_OUTPUTS,
        )
        response = self._request(self._predict, request)
        outputs = {pair.key: pair.value for pair in response.outputs}
        try:
            label, scores, classes = (outputs[name] for name in _OUTPUTS)
            return assemble(
                wire.read_strings(label),
                wire.rows_of(scores, wire.read_floats(scores)),
                wire.rows_of(classes, wire.read_strings(classes)),
                len(texts),
                str(self._address),
            )
        except KeyError as error:
            raise WrongSignatureError(
                f"{self._address}: the model's answer lacks {error}; is it an abstract classifier?"
            ) from None
        except ValueError as error:
            if isinstance(error, ClientError):
                raise
            raise WrongSignatureError(
                f"{self._address}: label, scores or classes have a wrong form ({error}); "
                "is it an abstract classifier?"
            ) from None

    def _request(self, method: Any, request: Any) -> Any:
        return retry.call(
            lambda seconds: self._send(method, request, seconds),
            deadline=self.options.deadline,
            retries=self.options.retries,
        )

    def _send(self, method: Any, request: Any, seconds: float) -> Any:
        try:
            return method(request, timeout=seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            raise self._refusal(error.code(), error.details() or "") from None

    def _refusal(self, code: grpc.StatusCode, details: str) -> ClientError:
        """The error that a status other than OK stands for."""
        message, said, where = one_line(details), details.lower(), str(self._address)
        status = grpc.StatusCode
        model = f"model {self.options.model_name!r}"
        if code == status.DEADLINE_EXCEEDED:
            return UnavailableError(
                f"{where}: no answer within the deadline of {self.options.deadline:g} s"
            )
        if code == status.UNAVAILABLE and "certificate_verify_failed" in said:
            return DeniedError(
                f"{where}: the server's certificate is not trusted ({message}); "
                "give the authority that signed it"
            )
        if code == status.UNAVAILABLE:
            # All that the client sees of a refused certificate of its own, or of a missing one.
            closed = self._address.tls and "socket closed" in said
            hint = "; does it ask for another client certificate?" if closed else ""
            return UnavailableError(
                f"{where}: not reachable or overloaded ({message}){hint}", transient=True
            )
        if code in (status.RESOURCE_EXHAUSTED, status.INVALID_ARGUMENT) and _TOO_LARGE in said:
            return TextTooLongError(f"{where}: the request is too large for the server ({message})")
        if code == status.RESOURCE_EXHAUSTED:
            return UnavailableError(f"{where}: overloaded ({message})", transient=True)
        if code == status.NOT_FOUND or "version label" in said:
            return ModelNotLoadedError(f"{where}: {model} is not loaded there ({message})")
        if code in (status.INVALID_ARGUMENT, status.FAILED_PRECONDITION) and any(
            words in said for words in _SIGNATURE_WORDS
        ):
            return WrongSignatureError(f"{where}: {model} does not take abstracts ({message})")
        if code in (status.UNAUTHENTICATED, status.PERMISSION_DENIED):
            return DeniedError(f"{where}: the credentials are refused ({message})")
        if code == status.UNIMPLEMENTED:
            return ServerError(f"{where}: {message}; is it TF Serving's gRPC port?")
        return ServerError(f"{where}: {code.name} {message}")


def _credentials(options: Options) -> grpc.ChannelCredentials:
    """What is trusted, and the client's own certificate."""
    # gRPC takes any bytes, and reports a bad certificate as an unreachable server.
    tls.make_context(options)
    trusted = options.ca_file or ssl.get_default_verify_paths().cafile
    chain = options.cert_file.read_bytes() if options.cert_file else None
    key = options.key_file.read_bytes() if options.key_file else chain
    return grpc.ssl_channel_credentials(Path(trusted).read_bytes() if trusted else None, key, chain)
