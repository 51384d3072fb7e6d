"""A stand-in for tensorflow_model_server: its services over TensorFlow's own runtime.

Speaks the real wire protocol (PredictionService of tensorflow-serving-api, and the status of the
REST API) so that what is sent to a server can be tested where there is none. It is no TF Serving.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent import futures
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import grpc
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)


class Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.loaded = tf.saved_model.load(str(folder))
        self.saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())

    def Predict(self, request, context):  # noqa: N802
        if request.model_spec.name != self.name:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.model_spec.name}")
        inputs = {
            key: tf.constant(tf.make_ndarray(value), tf.dtypes.as_dtype(value.dtype))
            for key, value in request.inputs.items()
        }
        try:
            outputs = self.loaded.signatures[request.model_spec.signature_name](**inputs)
        except tf.errors.OpError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
        reply = predict_pb2.PredictResponse()
        for key, value in outputs.items():
            reply.outputs[key].CopyFrom(tf.make_tensor_proto(value))
        return reply

    def GetModelMetadata(self, request, context):  # noqa: N802, ARG002
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for key, value in self.saved.meta_graphs[0].signature_def.items():
            signatures.signature_def[key].CopyFrom(value)
        reply = get_model_metadata_pb2.GetModelMetadataResponse()
        reply.metadata["signature_def"].Pack(signatures)
        return reply


class Status(BaseHTTPRequestHandler):
    def do_GET(self):
        status = {"error_code": "OK", "error_message": ""}
        version = {"version": "1", "state": "AVAILABLE", "status": status}
        self.send_response(200 if self.path == f"/v1/models/{self.server.model}" else 404)
        self.end_headers()
        self.wfile.write(json.dumps({"model_version_status": [version]}).encode())

    def log_message(self, *arguments):
        """Says nothing."""


def start(name: str, folder: Path, port: int = 0) -> tuple[grpc.Server, int]:
    """Starts the services for a SavedModel; returns the server and its port."""
    size = ("grpc.max_receive_message_length", 1 << 28)
    server = grpc.server(futures.ThreadPoolExecutor(2), options=[size])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        Prediction(name, folder), server
    )
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port


def main() -> None:
    """Understands the flags that the project passes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--max_num_load_retries", type=int, choices=[0], required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rest_api_port", type=int, required=True)
    parser.add_argument("--model_name", required=True)
    parser.add_argument("--model_base_path", type=Path, required=True)
    flags = parser.parse_args()
    versions = [path for path in flags.model_base_path.iterdir() if path.name.isdigit()]
    if not versions:
        sys.exit("no versions of the model")
    start(flags.model_name, max(versions, key=lambda path: int(path.name)), flags.port)
    status = HTTPServer(("127.0.0.1", flags.rest_api_port), Status)
    status.model = flags.model_name
    status.serve_forever()


if __name__ == "__main__":
    main()
