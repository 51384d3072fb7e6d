"""Runs TF Serving with the candidate, if this machine has it."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from components import model_server

MODEL_NAME = "candidate"
_MOUNT = f"/models/{MODEL_NAME}"


@contextlib.contextmanager
def serving(model: Path, timeout: float) -> Iterator[tuple[model_server.Server, float]]:
    """Starts a server with the model on a free loopback port, and stops it afterwards.

    Yields the server, and the seconds from its start until the model was available.

    Raises:
        NoServerError: there is neither a binary nor a Docker engine with the image.
        ServerError: the server ended, or did not load the model within ``timeout`` seconds.
    """
    runtime = model_server.find()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        # TF Serving expects <name>/<version>; any version will do here.
        base = Path(folder) / MODEL_NAME
        shutil.copytree(model, base / "1")
        # The image runs as another user, whatever the umask here.
        for path in (base.parent, *base.parent.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        grpc_port, rest_port = _free_ports()
        server = stack.enter_context(
            model_server.running(
                runtime,
                [f"--model_name={MODEL_NAME}", f"--model_base_path={runtime.seen(base, _MOUNT)}"],
                {_MOUNT: base},
                grpc_port=grpc_port,
                rest_port=rest_port,
                log_file=Path(folder) / "log",
                gpu=False,
            )
        )
        yield server, server.wait(MODEL_NAME, 1, timeout)


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]
