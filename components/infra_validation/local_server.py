"""The real model server, where this machine has one: a binary on PATH or a Docker engine."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import grpc
import requests
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from components.model_server import BINARY, IMAGE, NO_RETRIES

MODEL_NAME = "candidate"

_ENGINE_SECONDS = 5
_POLL_SECONDS = 0.1
_STOP_SECONDS = 10
_GRPC_PORT = 8500
# The docker package's address of an engine behind a socket file.
_LOCAL_ENGINE = "http+docker://"
_AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE
_FAILED = get_model_status_pb2.ModelVersionStatus.END


class ServerError(RuntimeError):
    """The server did not come to serve the model; the message is one line."""


class NoServerError(RuntimeError):
    """There is no server on this machine that could be started; the message says why."""


@dataclass(frozen=True)
class Running:
    """A server that has the model.

    Attributes:
      description: which server it is.
      address: host:port of its gRPC.
      pid: of its process on this machine, where it is one.
      load_seconds: from its start until the model was available.
    """

    description: str
    address: str
    pid: int | None
    load_seconds: float


@contextlib.contextmanager
def serving(model: Path, timeout: float) -> Iterator[Running]:
    """Starts a server with the model on a free loopback port, and stops it afterwards.

    Args:
      model: folder of the SavedModel.
      timeout: seconds until the model must be available.

    Raises:
      NoServerError: there is neither a binary nor an engine with the image.
      ServerError: the server ended, or did not take the model.
    """
    with tempfile.TemporaryDirectory() as folder:
        # A server wants <name>/<version>; the version's number has no meaning here.
        base = Path(folder) / MODEL_NAME
        shutil.copytree(model, base / "1")
        base.parent.chmod(0o755)  # the image's user is another one
        binary = shutil.which(BINARY)
        with _binary(binary, base) if binary else _container(base) as (name, address, pid, ended):
            started = time.monotonic()
            _wait(address, ended, started + timeout)
            yield Running(name, address, pid, time.monotonic() - started)


_Started = tuple[str, str, int | None, Callable[[], str | None]]


@contextlib.contextmanager
def _binary(binary: str, base: Path) -> Iterator[_Started]:
    port = _free_port()
    log = base.parent / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(binary, f"--port={port}", NO_RETRIES),
                *(f"--model_name={MODEL_NAME}", f"--model_base_path={base}"),
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        )

    def ended() -> str | None:
        if process.poll() is None:
            return None
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
        return f"{BINARY} ended with {process.returncode}: {last.strip()[:300]}"

    try:
        yield binary, f"127.0.0.1:{port}", process.pid, ended
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _container(base: Path) -> Iterator[_Started]:
    try:
        engine = docker.from_env(timeout=_ENGINE_SECONDS)
        engine.ping()
    except (docker.errors.DockerException, requests.RequestException):
        raise NoServerError(f"no {BINARY} on PATH, and no Docker engine answers") from None
    if not str(engine.api.base_url).startswith(_LOCAL_ENGINE):
        # It could neither mount the model nor publish a port here.
        raise NoServerError(f"no {BINARY} on PATH, and the Docker engine is on another machine")
    try:
        container = engine.containers.run(
            IMAGE,
            # The image's entry point has the other flags.
            command=[NO_RETRIES],
            detach=True,
            environment={"MODEL_NAME": MODEL_NAME},
            volumes={str(base): {"bind": f"/models/{MODEL_NAME}", "mode": "ro"}},
            ports={f"{_GRPC_PORT}/tcp": ("127.0.0.1", None)},
        )
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise NoServerError(
            f"no {BINARY} on PATH, and Docker cannot start {IMAGE}: "
            f"{' '.join(str(error).split())[:300]}"
        ) from None

    def ended() -> str | None:
        container.reload()
        if container.status in ("created", "running"):
            return None
        last = container.logs(tail=1).decode("utf-8", "replace").strip()
        return f"{IMAGE} ended: {last[:300]}"

    try:
        yield f"{IMAGE} in Docker", f"127.0.0.1:{_published(container)}", None, ended
    finally:
        container.remove(force=True)


def _published(container: Any) -> str:
    deadline = time.monotonic() + _STOP_SECONDS
    while time.monotonic() < deadline:
        container.reload()
        bound = container.ports.get(f"{_GRPC_PORT}/tcp")
        if bound:
            return str(bound[0]["HostPort"])
        time.sleep(_POLL_SECONDS)
    raise NoServerError(f"Docker did not publish the port of {IMAGE}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(address: str, ended: Callable[[], str | None], deadline: float) -> None:
    """Waits until the server has the model.

    Raises:
      ServerError: it ended, gave the model up, or needs longer.
    """
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = MODEL_NAME
    last = "it does not answer"
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        while time.monotonic() < deadline:
            problem = ended()
            if problem:
                raise ServerError(problem)
            try:
                versions = stub.GetModelStatus(
                    request, timeout=_ENGINE_SECONDS
                ).model_version_status
            except grpc.RpcError as error:
                last = " ".join(f"{error.code().name}: {error.details()}".split())[:300]
            else:
                if any(version.state == _AVAILABLE for version in versions):
                    return
                for version in versions:
                    last = version.status.error_message or "the model is being loaded"
                    if version.state == _FAILED:
                        raise ServerError(f"the server gave the model up: {last}")
            time.sleep(_POLL_SECONDS)
    raise ServerError(f"the server has no model in time: {last}")
