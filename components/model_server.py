"""Starts and stops TF Serving, from the binary on PATH or in Docker.

Used by the infrastructure validation before a push and for serving after it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

BINARY = "tensorflow_model_server"
# Matches TensorFlow 2.16, which writes the SavedModel; compose.yaml and kubernetes.yaml use the
# same image.
IMAGE = "tensorflow/serving:2.16.1"
GRPC_PORT = 8500
REST_PORT = 8501
# By default a server retries loading five times, a minute apart, and does not listen before a model
# is loaded. Here someone is waiting.
NO_RETRIES = "--max_num_load_retries=0"

# Any user without rights on this machine.
CONTAINER_USER = "10001:10001"
_ENGINE_SECONDS = 20.0
_PULL_SECONDS = 600.0
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.1
# Exit code of `docker run` if the engine could not start the container.
_ENGINE_FAILED = 125


class NoServerError(RuntimeError):
    """TF Serving cannot be started on this machine; the message is one line."""


class ServerError(RuntimeError):
    """The server failed to serve the model; the message is one line."""


class ServerLateError(ServerError):
    """The model was not available in time."""


@dataclass(frozen=True)
class Runtime:
    """A way to start TF Serving; ``program`` is the path of the binary, or ``docker``."""

    program: str
    in_docker: bool

    @property
    def description(self) -> str:
        """Names the server in messages."""
        return f"{IMAGE} in Docker" if self.in_docker else self.program

    def seen(self, folder: Path, mount: str) -> str:
        """Returns a folder's path as the server sees it; a container has it at ``mount``."""
        return mount if self.in_docker else str(folder)


def find(runtime: str = "auto") -> Runtime:
    """Finds a TF Serving: ``native`` (the binary on PATH), ``docker``, or ``auto``, the first one.

    Raises:
        NoServerError: none is available; says what is missing.
    """
    missing = []
    if runtime != "docker":
        binary = shutil.which(BINARY)
        if binary is not None:
            return Runtime(binary, in_docker=False)
        missing.append(f"{BINARY} is not on PATH")
    if runtime != "native":
        problem = _docker_missing()
        if not problem:
            return Runtime("docker", in_docker=True)
        missing.append(problem)
    raise NoServerError(" and ".join(missing))


def _docker_missing() -> str:
    """Returns why Docker cannot be used; empty if a local engine answers."""
    if shutil.which("docker") is None:
        return "docker is not on PATH"
    try:
        version = _docker("version", "--format", "{{.Server.Version}}")
        if version.returncode:
            return f"no Docker engine answers ({_last_line(version.stderr, 'no reason given')})"
        address = _docker("context", "inspect", "--format", "{{.Endpoints.docker.Host}}").stdout
    except subprocess.TimeoutExpired:
        return f"the Docker engine does not answer within {_ENGINE_SECONDS:g} s"
    # A remote engine can neither mount a local folder nor publish a local port.
    remote = address.startswith(("tcp://", "ssh://", "http"))
    return "the Docker engine is on another machine" if remote else ""


def _docker(*words: str, seconds: float = _ENGINE_SECONDS) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", *words], capture_output=True, text=True, check=False, timeout=seconds
    )


def _need_image() -> None:
    """Pulls a missing image beforehand, so that the load time does not include the pull."""
    try:
        if _docker("image", "inspect", IMAGE).returncode == 0:
            return
        pull = _docker("pull", "--quiet", IMAGE, seconds=_PULL_SECONDS)
    except subprocess.TimeoutExpired:
        raise NoServerError(f"Docker cannot get {IMAGE}: it takes too long") from None
    if pull.returncode:
        raise NoServerError(f"Docker cannot get {IMAGE}: {_last_line(pull.stderr)}")


def port_flags(grpc_port: int, rest_port: int) -> list[str]:
    """Returns the flags for the server's ports."""
    return [f"--port={grpc_port}", f"--rest_api_port={rest_port}"]


@dataclass(frozen=True)
class Server:
    """A started server.

    Attributes:
        process: the server, or the ``docker run`` in front of it.
        runtime: how it was started.
        grpc_port, rest_port: ports on this machine.
        log_file: the server's output.
        started: start time by ``time.monotonic``.
    """

    process: subprocess.Popen[bytes]
    runtime: Runtime
    grpc_port: int
    rest_port: int
    log_file: Path
    started: float

    @property
    def address(self) -> str:
        """host:port of the gRPC API."""
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def pid(self) -> str:
        """The server's process id on this machine; empty in Docker."""
        return "" if self.runtime.in_docker else str(self.process.pid)

    def url(self, model: str) -> str:
        """Returns the URL of a model's REST API."""
        return f"http://127.0.0.1:{self.rest_port}/v1/models/{model}"

    def wait(self, model: str, version: int, timeout: float) -> float:
        """Waits until a version is available; returns the seconds since the server's start.

        Raises:
            NoServerError: the Docker engine could not start the server.
            ServerError: the server ended or cannot load the version.
            ServerLateError: the version is not available after ``timeout`` seconds.
        """
        seen = "it does not answer yet"
        with httpx.Client(timeout=10.0, trust_env=False) as client:
            while True:
                code = self.process.poll()
                if code is not None:
                    said = _last_line(self.log_file.read_text("utf-8", "replace"))
                    if self.runtime.in_docker and code == _ENGINE_FAILED:
                        raise NoServerError(f"docker run ended with code {code}: {said}")
                    raise ServerError(f"{BINARY} ended with code {code}: {said}")
                state, reason = _state(client, self.url(model), version)
                taken = time.monotonic() - self.started
                if state == "AVAILABLE":
                    return taken
                if state == "END" and reason:
                    raise ServerError(f"version {version} cannot be loaded: {reason}")
                seen = f"its state is {state}" if state else seen
                if taken > timeout:
                    raise ServerLateError(
                        f"version {version} is not AVAILABLE after {timeout:g} s: {seen}"
                    )
                time.sleep(_POLL_SECONDS)


@contextlib.contextmanager
def running(
    runtime: Runtime,
    flags: Sequence[str],
    mounts: Mapping[str, Path],
    *,
    grpc_port: int,
    rest_port: int,
    log_file: Path,
    gpu: bool,
) -> Iterator[Server]:
    """Starts a server, and stops it afterwards.

    Args:
        flags: all but the ports'; paths as the server sees them (:meth:`Runtime.seen`).
        mounts: folders mounted read-only, by their path in the container. They must be readable by
            all users, since the container's user is neither root nor this one.
        grpc_port, rest_port: ports on this machine; a container's are on loopback only.
        log_file: receives the server's output.
        gpu: whether the binary may use GPUs; the image cannot.

    Raises:
        NoServerError: Docker cannot get the image.
    """
    name = f"arxiv-{uuid.uuid4().hex}"
    if runtime.in_docker:
        _need_image()
        command = [
            *("docker", "run", "--name", name, "--rm", "--init"),
            *("--publish", f"127.0.0.1:{grpc_port}:{GRPC_PORT}"),
            *("--publish", f"127.0.0.1:{rest_port}:{REST_PORT}"),
            *(
                word
                for target, source in mounts.items()
                for word in ("--mount", f"type=bind,readonly,source={source},target={target}")
            ),
            *("--user", CONTAINER_USER, "--read-only", "--tmpfs", "/tmp"),
            *("--cap-drop", "ALL", "--security-opt", "no-new-privileges:true"),
            *("--entrypoint", BINARY, IMAGE, *port_flags(GRPC_PORT, REST_PORT)),
        ]
    else:
        command = [runtime.program, *port_flags(grpc_port, rest_port)]
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [*command, *flags, NO_RETRIES],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=None if gpu else {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        )
    try:
        yield Server(process, runtime, grpc_port, rest_port, log_file, time.monotonic())
    finally:
        _stop(process)
        if runtime.in_docker:
            # `docker run` may have ended before its container.
            with contextlib.suppress(subprocess.TimeoutExpired):
                _docker("rm", "--force", name)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _state(client: httpx.Client, url: str, version: int) -> tuple[str, str]:
    """Returns a version's state and error message; both empty while unknown."""
    try:
        statuses = client.get(url).json().get("model_version_status", [])
        for status in statuses:
            if int(status["version"]) == version:
                failed = status["status"]["error_code"] != "OK"
                return status["state"], status["status"]["error_message"] if failed else ""
    except (httpx.HTTPError, ValueError, KeyError, AttributeError, TypeError):
        pass
    return "", ""


def _last_line(text: str, otherwise: str = "it said nothing") -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip()[:300] if lines else otherwise
