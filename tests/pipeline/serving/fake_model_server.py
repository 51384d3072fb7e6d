"""A stand-in for tensorflow_model_server: its flags, its REST status, metadata and predict.

It reads the config files as the real one does and answers in its words; it loads no model. The
environment variable FAKE_SERVER says how it behaves: well, dies, loads (for ever), broken, other,
columns (takes two text columns).
"""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

BEHAVIOUR = os.environ.get("FAKE_SERVER", "well")
flags = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[1:])
config = text_format.Parse(
    Path(flags["model_config_file"]).read_text(), model_server_config_pb2.ModelServerConfig()
)
(model,) = config.model_config_list.config
present = sorted(int(path.name) for path in Path(model.base_path).iterdir() if path.name.isdigit())
versions = list(model.model_version_policy.specific.versions) or present[-1:]
for name in ("batching_parameters_file", "monitoring_config_file"):
    assert Path(flags[name]).read_text()

if BEHAVIOUR == "dies":
    print("starting")
    if flags.get("max_num_load_retries") != "0":
        time.sleep(300)
    sys.exit("Failed to start server. Error: Unknown: 1 servable(s) did not become available")


class Handler(BaseHTTPRequestHandler):
    """Answers as TF Serving 2.16 does."""

    def _answer(self, code, body):
        raw = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def do_GET(self):
        """Status and metadata."""
        state, status = "AVAILABLE", {"error_code": "OK", "error_message": ""}
        if BEHAVIOUR == "loads":
            state = "LOADING"
        if BEHAVIOUR == "broken":
            state, status = "END", {"error_code": "NOT_FOUND", "error_message": "no variables"}
        listed = [{"version": str(v), "state": state, "status": status} for v in versions]
        chosen = ["", *(f"/versions/{v}" for v in versions)]
        metadata = [f"/v1/models/{model.name}{one}/metadata" for one in chosen]
        if self.path == f"/v1/models/{model.name}":
            self._answer(200, {"model_version_status": listed})
        elif self.path in metadata and state == "AVAILABLE":
            inputs = {"title": {}, "body": {}}
            signatures = {"signature_def": {"serving_default": {"inputs": inputs}}}
            self._answer(200, {"metadata": {"signature_def": signatures}})
        else:
            self._answer(404, {"error": f"Servable not found for request: {self.path}"})

    def do_POST(self):
        """Predict, in the column format."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        paths = [f"/v1/models/{model.name}/versions/{v}:predict" for v in versions]
        if self.path not in paths:
            self._answer(404, {"error": f"Servable not found for request: {self.path}"})
        elif BEHAVIOUR == "other":
            self._answer(200, {"outputs": [[0.5] for _ in body["inputs"]["abstract"]]})
        elif BEHAVIOUR == "columns" and body["inputs"].keys() != {"title", "body"}:
            self._answer(400, {"error": "Missing named input: title in saved model."})
        else:
            row = {"label": "math", "scores": [0.75, 0.25], "classes": ["math", "cs"]}
            rows = len(next(iter(body["inputs"].values())))
            self._answer(200, {"outputs": {name: [one] * rows for name, one in row.items()}})

    def log_message(self, *arguments):
        """Says nothing."""


print("[evhttp_server.cc : 250] NET_LOG: Entering the event loop ...", flush=True)
ThreadingHTTPServer(("127.0.0.1", int(flags["rest_api_port"])), Handler).serve_forever()
