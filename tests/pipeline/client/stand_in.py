"""A stand-in for tensorflow_model_server, for tests and benchmarks where there is none.

It speaks the real wire protocol on loopback: PredictionService and ModelService through the
generated stubs of tensorflow-serving-api, and TF Serving's REST shapes, statuses and error
messages (https://www.tensorflow.org/tfx/serving/api_rest, tensorflow_serving/util/json_tensor.cc,
tensorflow_serving/model_servers/http_server.cc). It can be told to fail. What it cannot stand for
is the real server's speed, batching and version policies.

python tests/pipeline/client/stand_in.py SAVED_MODEL NAME prints its addresses as JSON and serves
until its stdin is closed.
"""

from __future__ import annotations

import base64
import collections
import contextlib
import json
import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

# string [n] by input name -> outputs by name.
Signature = Callable[[dict[str, np.ndarray]], Mapping[str, np.ndarray]]

_PREDICT = re.compile(r"(?i)/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?:predict")
_METADATA = re.compile(r"(?i)/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?/metadata")
_STATUS = re.compile(r"(?i)/v1/models(?:/([^/:]+))?(?:/versions/(\d+))?")

# tensorflow_serving/model_servers/http_server.cc, ToHTTPStatusCode.
HTTP_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


class Refused(Exception):  # noqa: N818
    """A request that the server answers with an error."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass
class Failure:
    """What happens to the next request.

    Attributes:
        code: status of the answer; None where none is sent.
        message: its message.
        delay: seconds before the answer.
        drop: whether the connection is closed without one (REST).
        headers: further headers (REST).
        body: the body instead of TF Serving's (REST).
        trickle: seconds before each byte of that body.
        status: HTTP status of that body; by default the code's.
    """

    code: grpc.StatusCode | None = None
    message: str = ""
    delay: float = 0.0
    drop: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    trickle: float = 0.0
    status: int | None = None


@dataclass
class Model:
    """What is served.

    Attributes:
        signature: the computation of ``serving_default``.
        name: the model's name.
        inputs, outputs: names of its tensors.
        states: state of each version; requests go to the newest that is AVAILABLE.
        labels: version by label.
    """

    signature: Signature
    name: str = "arxiv"
    inputs: tuple[str, ...] = ("abstract",)
    outputs: tuple[str, ...] = ("label", "scores", "classes")
    states: dict[int, str] = field(default_factory=lambda: {1: "AVAILABLE"})
    labels: dict[str, int] = field(default_factory=dict)

    def available(self, name: str, version: int | None, label: str | None) -> int:
        """The version that answers; messages as TF Serving's."""
        loaded = [number for number, state in self.states.items() if state == "AVAILABLE"]
        if label is not None:
            if label not in self.labels:
                raise Refused(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"Unrecognized servable version label: {label}",
                )
            version = self.labels[label]
        asked = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        if name != self.name or not loaded or (version is not None and version not in loaded):
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {asked}")
        return max(loaded) if version is None else version

    def statuses(self, name: str, version: int | None) -> list[tuple[int, str]]:
        """Version and state, as TF Serving lists them."""
        if name != self.name:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {name}")
        if version is not None and version not in self.states:
            raise Refused(
                grpc.StatusCode.NOT_FOUND, f"Could not find version {version} of model {name}"
            )
        wanted = [version] if version is not None else sorted(self.states, reverse=True)
        return [(number, self.states[number]) for number in wanted]


class StandIn:
    """The two servers; what they were asked and how they are to fail.

    Attributes:
        model: what is served; may be exchanged while it runs.
        failures: one is taken from the left by each request.
        requests: texts of each prediction, in the order of arrival.
        versions: the version that each prediction came from.
        headers: headers or metadata of each request, names in lower case.
        required: a header that each request must have, or None.
    """

    def __init__(
        self,
        model: Model,
        tls: tuple[Path, Path, Path | None] | None = None,
        grpc_port: int = 0,
    ) -> None:
        """Starts listening.

        Args:
            model: what is served.
            tls: certificate, key, and the authority whose client certificates are asked for.
            grpc_port: by default a free one.
        """
        self.model = model
        self.failures: collections.deque[Failure] = collections.deque()
        self.requests: list[list[bytes]] = []
        self.versions: list[int] = []
        self.headers: list[dict[str, str]] = []
        self.required: tuple[str, str] | None = None
        self._busy = 0
        self._idle = threading.Condition()
        self._hurry = threading.Event()
        self._grpc = grpc.server(
            ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)]
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            _Predict(self), self._grpc
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Status(self), self._grpc)
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.stand_in = self
        if tls is None:
            self.grpc_port = self._grpc.add_insecure_port(f"127.0.0.1:{grpc_port}")
        else:
            certificate, key, authority = tls
            trusted = authority.read_bytes() if authority else None
            pair = [(key.read_bytes(), certificate.read_bytes())]
            credentials = grpc.ssl_server_credentials(pair, trusted, trusted is not None)
            self.grpc_port = self._grpc.add_secure_port(f"127.0.0.1:{grpc_port}", credentials)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            if authority:
                context.load_verify_locations(authority)
                context.verify_mode = ssl.CERT_REQUIRED
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.rest_port = self._http.server_address[1]
        self._secure = "s" if tls else ""
        self._grpc.start()
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def rest(self) -> str:
        """Address of the REST server."""
        return f"http{self._secure}://localhost:{self.rest_port}"

    @property
    def grpc(self) -> str:
        """Address of the gRPC server."""
        return f"grpc{self._secure}://localhost:{self.grpc_port}"

    def fail(self, *failures: Failure) -> None:
        """Lets the next requests fail, one each."""
        self.failures.extend(failures)

    def reset(self, model: Model) -> None:
        """Forgets what happened and serves that model; late answers of before are hurried up."""
        self._hurry.set()
        with self._idle:
            self._idle.wait_for(lambda: not self._busy)
        self._hurry.clear()
        self.model = model
        self.failures.clear()
        self.requests.clear()
        self.versions.clear()
        self.headers.clear()
        self.required = None

    def stop(self) -> None:
        """Stops both servers."""
        self._grpc.stop(None).wait()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Counts a request that is being answered."""
        with self._idle:
            self._busy += 1
        try:
            yield
        finally:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()

    def take(self, headers: Mapping[str, str]) -> Failure:
        """Counts a request and returns what happens to it; waits where it says so."""
        self.headers.append({name.lower(): value for name, value in headers.items()})
        failure = self.failures.popleft() if self.failures else Failure()
        if failure.delay:
            self._hurry.wait(failure.delay)
        if self.required and self.headers[-1].get(self.required[0]) != self.required[1]:
            failure = Failure(grpc.StatusCode.UNAUTHENTICATED, "no valid token")
        return failure

    def predict(self, version: int, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs the signature on inputs whose names were checked."""
        self.versions.append(version)
        self.requests.append([bytes(text) for text in next(iter(inputs.values()))])
        answer = self.model.signature(inputs)
        return {name: np.asarray(answer[name]) for name in self.model.outputs}


class _Predict(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, server: StandIn) -> None:
        self._server = server

    def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802
        with _grpc_errors(self._server, context):
            model, spec = self._server.model, request.model_spec
            version = model.available(
                spec.name,
                spec.version.value if spec.HasField("version") else None,
                spec.version_label if spec.HasField("version_label") else None,
            )
            signature = spec.signature_name or "serving_default"
            if signature != "serving_default":
                raise Refused(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f'Serving signature key "{signature}" not found.',
                )
            sent, wanted = set(request.inputs), set(model.inputs)
            if sent != wanted:
                # tensorflow_serving/servables/tensorflow/predict_util.cc
                raise Refused(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"input size does not match signature: {len(sent)}!={len(wanted)} "
                    f"len({{{','.join(sorted(sent))}}}) != len({{{','.join(sorted(wanted))}}}). "
                    f"Sent extra: {{{','.join(sorted(sent - wanted))}}}. "
                    f"Missing but required: {{{','.join(sorted(wanted - sent))}}}.",
                )
            for name in request.output_filter:
                if name not in model.outputs:
                    raise Refused(
                        grpc.StatusCode.INVALID_ARGUMENT,
                        f"output tensor alias not found in signature: {name} Outputs expected to "
                        f"be in the set {{{','.join(sorted(model.outputs))}}}.",
                    )
            arrays = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
            outputs = self._server.predict(version, arrays)
            response = predict_pb2.PredictResponse()
            response.model_spec.name = spec.name
            response.model_spec.version.value = version
            for name in request.output_filter or model.outputs:
                _as_proto_field(outputs[name], response.outputs[name])
            return response

    def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        with _grpc_errors(self._server, context):
            spec, model = request.model_spec, self._server.model
            model.available(spec.name, None, None)
            found = get_model_metadata_pb2.SignatureDefMap()
            for name in model.inputs:
                found.signature_def["serving_default"].inputs[name].name = f"{name}:0"
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.metadata["signature_def"].Pack(found)
            return response


class _Status(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, server: StandIn) -> None:
        self._server = server

    def GetModelStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        with _grpc_errors(self._server, context):
            spec = request.model_spec
            version = spec.version.value if spec.HasField("version") else None
            response = get_model_status_pb2.GetModelStatusResponse()
            for number, state in self._server.model.statuses(spec.name, version):
                response.model_version_status.add(version=number, state=state)
            return response


@contextlib.contextmanager
def _grpc_errors(server: StandIn, context: Any) -> Iterator[None]:
    with server.answering():
        failure = server.take(dict(context.invocation_metadata()))
        if failure.code is not None:
            context.abort(failure.code, failure.message)
        try:
            yield
        except Refused as error:
            context.abort(error.code, error.message)


def _as_proto_field(array: np.ndarray, tensor: Any) -> None:
    """As Tensor::AsProtoField, which TF Serving answers with: typed values, no raw content."""
    tensor.dtype = tf.as_dtype(array.dtype).as_datatype_enum
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if array.dtype == np.float32:
        tensor.float_val.extend(array.ravel().tolist())
    elif array.dtype == object:
        tensor.string_val.extend(array.ravel().tolist())
    else:
        tensor.CopyFrom(tf.make_tensor_proto(array))


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    stand_in: StandIn

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away, or whose certificate is refused, are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body leave as one packet or at once; without it Nagle's algorithm waits 40 ms.
    disable_nagle_algorithm = True
    server: _Http

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        self._handle(b"")

    def do_POST(self) -> None:
        self._handle(self.rfile.read(int(self.headers.get("content-length", 0))))

    def _handle(self, body: bytes) -> None:
        with self.server.stand_in.answering():
            self._serve(body)

    def _serve(self, body: bytes) -> None:
        failure = self.server.stand_in.take(dict(self.headers.items()))
        if failure.drop:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        try:
            if failure.body is not None:
                status = failure.status or (HTTP_STATUS[failure.code] if failure.code else 200)
                self._send(status, failure.body, trickle=failure.trickle)
                return
            if failure.code is not None:
                raise Refused(failure.code, failure.message)
            self._send(200, self._answer(body))
        except Refused as error:
            text = error.message.encode("unicode_escape").decode().replace('"', '\\"')
            self._send(
                HTTP_STATUS[error.code], f'{{ "error": "{text}" }}'.encode(), failure.headers
            )

    def _send(
        self,
        status: int,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        trickle: float = 0.0,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if not trickle:
            self.wfile.write(body)
            return
        with contextlib.suppress(OSError):
            for i in range(len(body)):
                time.sleep(trickle)
                self.wfile.write(body[i : i + 1])

    def _answer(self, body: bytes) -> bytes:
        stand_in = self.server.stand_in
        model = stand_in.model
        if self.command == "GET" and (match := _STATUS.fullmatch(self.path)):
            if not match[1]:
                raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "Missing model name in request.")
            found = model.statuses(match[1], int(match[2]) if match[2] else None)
            shown = [
                {
                    "version": str(number),
                    "state": state,
                    "status": {"error_code": "OK", "error_message": ""},
                }
                for number, state in found
            ]
            return json.dumps({"model_version_status": shown}, indent=1).encode()
        if self.command == "GET" and (match := _METADATA.fullmatch(self.path)):
            model.available(match[1], int(match[2]) if match[2] else None, match[3])
            inputs = {name: {"dtype": "DT_STRING", "name": f"{name}:0"} for name in model.inputs}
            signatures = {"serving_default": {"inputs": inputs}}
            metadata = {"signature_def": {"signature_def": signatures}}
            return json.dumps({"metadata": metadata}).encode()
        if self.command == "POST" and (match := _PREDICT.fullmatch(self.path)):
            version = int(match[2]) if match[2] else None
            version = model.available(match[1], version, match[3])
            columns, inputs = _parse(body, model)
            return _print(stand_in.predict(version, inputs), columns).encode()
        raise Refused(
            grpc.StatusCode.INVALID_ARGUMENT, f"Malformed request: {self.command} {self.path}"
        )


def _parse(body: bytes, model: Model) -> tuple[bool, dict[str, np.ndarray]]:
    """Whether the request has columns, and its inputs; errors as in json_tensor.cc."""
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    try:
        document = json.loads(body)
    except ValueError:
        raise Refused(invalid, "JSON Parse error: Invalid value. at offset: 0") from None
    if not isinstance(document, dict):
        raise Refused(invalid, f"JSON Value: {json.dumps(document)} Is not object")
    signature = document.get("signature_name", "serving_default")
    if signature != "serving_default":
        raise Refused(invalid, f'Serving signature name: "{signature}" not found in signature def')
    if "inputs" in document:
        given = document["inputs"]
        if not isinstance(given, dict) or set(given) == {"b64"}:
            given = {model.inputs[0]: given}
        for name in model.inputs:
            if name not in given:
                raise Refused(invalid, f"Missing named input: {name} in 'inputs' object.")
        columns = {name: given[name] for name in model.inputs}
        return True, {name: _strings(values) for name, values in columns.items()}
    if "instances" not in document:
        raise Refused(invalid, "Missing 'inputs' or 'instances' key")
    rows = document["instances"]
    if not isinstance(rows, list) or not rows:
        raise Refused(invalid, "JSON Value: Excepting 'instances' to be an list/array")
    named = [
        row if isinstance(row, dict) and set(row) != {"b64"} else {model.inputs[0]: row}
        for row in rows
    ]
    for number, row in enumerate(named):
        if set(row) != set(model.inputs):
            raise Refused(
                invalid,
                f"Failed to process element: {number} of 'instances' list. JSON object: "
                f"{json.dumps(row)} keys must be equal to: {','.join(sorted(model.inputs))}",
            )
    return False, {name: _strings([row[name] for row in named]) for name in model.inputs}


def _strings(values: list[Any]) -> np.ndarray:
    return np.array([_string(value) for value in values], object)


def _string(value: Any) -> bytes:
    if isinstance(value, dict) and set(value) == {"b64"}:
        return base64.b64decode(value["b64"])
    if not isinstance(value, str):
        raise Refused(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"JSON Value: {json.dumps(value)} Type: {type(value).__name__} is not of expected "
            "type: string",
        )
    return value.encode()


def _print(outputs: dict[str, np.ndarray], columns: bool) -> str:
    """The answer; a single output has no name, as in json_tensor.cc."""
    count = len(next(iter(outputs.values())))
    if columns:
        whole = {name: _json(array) for name, array in outputs.items()}
        return f'{{"outputs": {_one_or_named(whole)}}}'
    rows = [
        _one_or_named({name: _json(array[i]) for name, array in outputs.items()})
        for i in range(count)
    ]
    return f'{{"predictions": [{", ".join(rows)}]}}'


def _one_or_named(values: dict[str, str]) -> str:
    if len(values) == 1:
        return next(iter(values.values()))
    return "{" + ", ".join(f'"{name}": {value}' for name, value in values.items()) + "}"


def _json(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return "[" + ", ".join(_json(one) for one in value) + "]"
    if isinstance(value, bytes):
        return json.dumps(value.decode("utf-8", "replace"))
    return _decimal(value)


def _decimal(value: Any) -> str:
    """WriteDecimal of json_tensor.cc: six digits where they suffice, else nine."""
    text = f"{value:.6g}"
    if np.float32(text) != value:
        text = f"{value:.9g}"
    return text if "." in text or "e" in text else f"{text}.0"


def load(folder: Path) -> Signature:
    """The ``serving_default`` of a SavedModel."""
    loaded = tf.saved_model.load(str(folder))

    def signature(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        tensors = {name: tf.constant(values) for name, values in inputs.items()}
        outputs = loaded.signatures["serving_default"](**tensors)
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    return signature


def main() -> None:
    """Serves the SavedModel that the command line names."""
    server = StandIn(Model(load(Path(sys.argv[1])), name=sys.argv[2]))
    print(json.dumps({"rest": server.rest, "grpc": server.grpc}), flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
