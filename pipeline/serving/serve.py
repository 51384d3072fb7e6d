"""Starts TF Serving on a push folder, waits for the model, and sends it a request."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from components import model_server
from components.errors import UserError
from components.model_server import BINARY, GRPC_PORT, REST_PORT
from components.pushing.versions import servable_versions
from pipeline.client.connection import connect
from pipeline.client.errors import ClientError
from pipeline.client.types import Classification, Options
from pipeline.serving.labels import (
    CONFIG_FILE,
    labelled,
    models_config,
    mounted,
)

EXAMPLE = "We prove that every smooth projective curve of genus two has infinitely many points."

_HERE = Path(__file__).parent / "deployment"
_CONFIG_PATH = "/config"
_ADVICE = {
    "native": "install it, or use --runtime docker",
    "docker": f"start Docker, or use --runtime native with {BINARY}",
    "auto": "install or start one of the two",
}


def server_flags(config_dir: str) -> list[str]:
    """Returns TF Serving's flags except ports, the same as in compose.yaml and kubernetes.yaml.

    The server sees the three .config files in ``config_dir``.
    """
    return [
        f"--model_config_file={config_dir}/{CONFIG_FILE}",
        "--model_config_file_poll_wait_seconds=30",
        # Without it, a server whose config file has a label fails to start.
        "--allow_version_labels_for_unavailable_models=true",
        "--enable_batching=true",
        f"--batching_parameters_file={config_dir}/batching.config",
        f"--monitoring_config_file={config_dir}/monitoring.config",
    ]


@dataclass(frozen=True)
class Serving:
    """A server that has answered a request.

    Attributes:
        server: with its process and log.
        url: of the model's REST API.
        version: the version that was waited for.
        answer: the prediction for :data:`EXAMPLE`.
        config_file: polled every 30 s.
    """

    server: model_server.Server
    url: str
    version: int
    answer: Classification
    config_file: Path


@contextlib.contextmanager
def serving(
    folder: Path,
    model: str,
    *,
    runtime: str = "auto",
    stable: int | None = None,
    canary: int | None = None,
    grpc_port: int = GRPC_PORT,
    rest_port: int = REST_PORT,
    timeout: float = 120.0,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Serving]:
    """Serves a push folder until the body ends.

    Args:
        folder: the push folder.
        model: its name on the server.
        runtime: ``native`` (the binary on PATH), ``docker``, or ``auto``: the first one available.
        stable, canary: versions to serve with these labels; without any, the newest version.
        grpc_port, rest_port: the server's ports on this machine.
        timeout: seconds until the model must be AVAILABLE.
        say: gets a line for each step that is waited for.

    Raises:
        UserError: no runtime or model, a port in use, or a server that fails or is too slow.
    """
    folder = folder.absolute()
    labels = labelled(folder, stable, canary)
    awaited = stable or canary or servable_versions(folder)[-1]
    try:
        found = model_server.find(runtime)
    except model_server.NoServerError as error:
        raise UserError(f"{error}; {_ADVICE[runtime]}") from error
    for port, option in ((grpc_port, "--grpc-port"), (rest_port, "--rest-port")):
        _need_free(port, option)

    state = Path(tempfile.mkdtemp(prefix="arxiv-serving-"))
    # The container's user must be able to read it.
    state.chmod(0o755)
    config = models_config(model, found.seen(folder, mounted(model)), labels)
    (state / CONFIG_FILE).write_text(config, encoding="utf-8")
    for name in ("batching.config", "monitoring.config"):
        shutil.copyfile(_HERE / name, state / name)
    for path in state.iterdir():
        path.chmod(0o644)
    log_file = state / "log.txt"
    say(f"starting {found.description} (log: {log_file})")
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(
                model_server.running(
                    found,
                    server_flags(found.seen(state, _CONFIG_PATH)),
                    {mounted(model): folder, _CONFIG_PATH: state},
                    grpc_port=grpc_port,
                    rest_port=rest_port,
                    log_file=log_file,
                    gpu=True,
                )
            )
            say(f"waiting for version {awaited} to be AVAILABLE")
            server.wait(model, awaited, timeout)
            options = Options(model_name=model, version=awaited)
            with connect(f"http://127.0.0.1:{rest_port}", options) as client:
                answer = client.classify([EXAMPLE])[0]
        except model_server.ServerLateError as error:
            raise UserError(f"{error}; allow more with --timeout, or see {log_file}") from error
        except (model_server.NoServerError, model_server.ServerError, ClientError) as error:
            raise UserError(f"{error} (log: {log_file})") from error
        yield Serving(server, server.url(model), awaited, answer, state / CONFIG_FILE)


def _need_free(port: int, option: str) -> None:
    with socket.socket() as probe:
        # As servers do: lingering connections of an ended server do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise UserError(
                f"port {port}: {error.strerror}; end what uses it or name another with {option}"
            ) from error
