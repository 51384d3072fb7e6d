"""Starts TF Serving on a push folder, waits for the model, and asks it something."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from components.errors import UserError
from components.model_server import BINARY, IMAGE, NO_RETRIES
from components.pushing.versions import list_versions
from pipeline.serving.docker_engine import docker_missing
from pipeline.serving.labels import (
    BASE_PATH,
    CANARY,
    CONFIG_FILE,
    MODEL,
    STABLE,
    models_config,
    versions_to_serve,
)

GRPC_PORT = 8500
REST_PORT = 8501
# Any user but root that has nothing on this machine.
CONTAINER_USER = "10001:10001"
EXAMPLE = "We prove that every smooth projective curve of genus two has infinitely many points."

_HERE = Path(__file__).parent / "deployment"
_STOP_SECONDS = 30.0


def server_flags(config_dir: str, grpc_port: int, rest_port: int) -> list[str]:
    """Returns TF Serving's flags; compose.yaml and kubernetes.yaml have the same.

    Args:
      config_dir: folder of the three .config files as the server sees it.
      grpc_port, rest_port: that the server listens on.
    """
    return [
        f"--port={grpc_port}",
        f"--rest_api_port={rest_port}",
        f"--model_config_file={config_dir}/{CONFIG_FILE}",
        "--model_config_file_poll_wait_seconds=30",
        # Without it, a label in the file that a server starts with stops the server.
        "--allow_version_labels_for_unavailable_models=true",
        "--enable_batching=true",
        f"--batching_parameters_file={config_dir}/batching.config",
        f"--monitoring_config_file={config_dir}/monitoring.config",
    ]


@dataclass(frozen=True)
class Serving:
    """A server that has answered.

    Attributes:
      url: of the model's REST API.
      version: the version that was waited for.
      answer: what it said of :data:`EXAMPLE`.
      config_file: read again every 30 s.
      log_file: the server's output.
      process: the server, or the ``docker run`` in front of it.
    """

    url: str
    version: int
    answer: dict[str, Any]
    config_file: Path
    log_file: Path
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def serving(
    folder: Path,
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
      runtime: ``native`` (the binary on PATH), ``docker``, or ``auto``: the first that is there.
      stable, canary: versions to serve with these labels; without them, the newest version.
      grpc_port, rest_port: on this machine.
      timeout: seconds until the model must be AVAILABLE.
      say: gets a line for each thing that is waited for.

    Raises:
      UserError: one line that names what is missing.
    """
    folder = folder.absolute()
    versions = versions_to_serve(folder)
    labels = {
        label: version
        for label, version in ((STABLE, stable), (CANARY, canary))
        if version is not None
    }
    for label, version in labels.items():
        if version not in versions:
            listed = ", ".join(map(str, versions))
            raise UserError(f"{label} {version}: not in {folder}, which has {listed}")
    newest = list_versions(folder)[-1]
    if not labels and newest != versions[-1]:
        raise UserError(
            f"{folder / str(newest)}: no SavedModel, and TF Serving takes it for the newest "
            f"version; remove it, or serve {versions[-1]} with --stable {versions[-1]}"
        )
    awaited = stable or canary or versions[-1]
    runtime = _choose(runtime)
    for port, option in ((grpc_port, "--grpc-port"), (rest_port, "--rest-port")):
        _need_free(port, option)

    state = Path(tempfile.mkdtemp(prefix="arxiv-serving-"))
    # The container's user reads it too.
    state.chmod(0o755)
    base_path = str(folder) if runtime == "native" else BASE_PATH
    (state / CONFIG_FILE).write_text(models_config(base_path, labels), encoding="utf-8")
    for name in ("batching.config", "monitoring.config"):
        shutil.copyfile(_HERE / name, state / name)
    if runtime == "native":
        command = [BINARY, *server_flags(str(state), grpc_port, rest_port)]
    else:
        command = _docker_run(folder, state, grpc_port, rest_port)
    # Someone waits for it.
    command.append(NO_RETRIES)

    log_file = state / "log.txt"
    say(f"starting {command[0]} (log: {log_file})")
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    url = f"http://127.0.0.1:{rest_port}/v1/models/{MODEL}"
    try:
        with httpx.Client(timeout=10.0, trust_env=False) as client:
            say(f"waiting for version {awaited} to be AVAILABLE")
            _wait(client, url, awaited, process, log_file, timeout)
            answer = _ask(client, f"{url}/versions/{awaited}:predict", log_file)
        yield Serving(url, awaited, answer, state / CONFIG_FILE, log_file, process)
    finally:
        _stop(process)


def _choose(runtime: str) -> str:
    """The runtime that is there; raises with what is missing."""
    native = shutil.which(BINARY) is not None
    if runtime == "native" and not native:
        raise UserError(f"{BINARY} is not on PATH; install it, or use --runtime docker")
    if runtime == "native" or (runtime == "auto" and native):
        return "native"
    missing = docker_missing()
    if not missing:
        return "docker"
    if runtime == "docker":
        raise UserError(f"{missing}; start Docker, or use --runtime native with {BINARY}")
    raise UserError(f"{BINARY} is not on PATH and {missing}; install or start one of the two")


def _need_free(port: int, option: str) -> None:
    with socket.socket() as probe:
        # As a server does, so that connections of an ended one do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise UserError(
                f"port {port}: {error.strerror}; end what uses it or name another with {option}"
            ) from error


def _docker_run(folder: Path, state: Path, grpc_port: int, rest_port: int) -> list[str]:
    mount = "type=bind,readonly,source={},target={}".format
    return [
        *("docker", "run", "--rm", "--init"),
        *("--publish", f"127.0.0.1:{grpc_port}:{GRPC_PORT}"),
        *("--publish", f"127.0.0.1:{rest_port}:{REST_PORT}"),
        *("--mount", mount(folder, BASE_PATH)),
        *("--mount", mount(state, "/config")),
        *("--user", CONTAINER_USER, "--read-only", "--tmpfs", "/tmp"),
        *("--cap-drop", "ALL", "--security-opt", "no-new-privileges:true"),
        *("--entrypoint", BINARY, IMAGE),
        *server_flags("/config", GRPC_PORT, REST_PORT),
    ]


def _wait(
    client: httpx.Client,
    url: str,
    version: int,
    process: subprocess.Popen[bytes],
    log_file: Path,
    timeout: float,
) -> None:
    deadline = time.monotonic() + timeout
    seen = "it does not answer yet"
    while True:
        if process.poll() is not None:
            raise UserError(
                f"the server ended with code {process.returncode}: "
                f"{_last_line(log_file)} (log: {log_file})"
            )
        state, reason = _state(client, url, version)
        if state == "AVAILABLE":
            return
        if state == "END" and reason:
            raise UserError(f"version {version} cannot be loaded: {reason} (log: {log_file})")
        seen = f"its state is {state}" if state else seen
        if time.monotonic() > deadline:
            raise UserError(
                f"version {version} is not AVAILABLE after {timeout:g} s: {seen}; "
                f"allow more with --timeout, or see {log_file}"
            )
        time.sleep(0.2)


def _state(client: httpx.Client, url: str, version: int) -> tuple[str, str]:
    """State of a version and, where it went wrong, why; empty where it is not known yet."""
    try:
        statuses = client.get(url).json().get("model_version_status", [])
        for status in statuses:
            if int(status["version"]) == version:
                failed = status["status"]["error_code"] != "OK"
                return status["state"], status["status"]["error_message"] if failed else ""
    except (httpx.HTTPError, ValueError, KeyError, AttributeError, TypeError):
        pass
    return "", ""


def _ask(client: httpx.Client, url: str, log_file: Path) -> dict[str, Any]:
    try:
        response = client.post(url, json={"instances": [EXAMPLE]})
        body = response.json()
        answer = body["predictions"][0]
        scores = dict(zip(answer["classes"], answer["scores"], strict=True))
        return {"label": answer["label"], "scores": scores}
    except (httpx.HTTPError, ValueError) as error:
        raise UserError(f"{url}: no usable answer: {error} (log: {log_file})") from error
    except (KeyError, IndexError, TypeError) as error:
        raise UserError(
            f"{url}: the model is loaded but answers {str(body)[:200]}; is it this classifier?"
        ) from error


def _last_line(log_file: Path) -> str:
    lines = log_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it said nothing"


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
