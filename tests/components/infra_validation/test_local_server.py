"""Finding and starting a model server; the binary and the engine are stand-ins."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components import model_server
from components.infra_validation import local_server
from components.model_server import BINARY

STAND_IN = Path(__file__).parent / "stand_in_server.py"


@pytest.fixture
def only_binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a script on PATH under the server's name, and nothing else."""

    def install(text: str) -> Path:
        binary = tmp_path / "bin" / BINARY
        binary.parent.mkdir()
        binary.write_text(text)
        binary.chmod(0o755)
        monkeypatch.setenv("PATH", str(binary.parent))
        return binary

    return install


def test_binary_on_path_serves_the_model_and_is_gone_afterwards(
    good_model: Path, only_binary
) -> None:
    binary = only_binary(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} "$@"\n')
    with local_server.serving(good_model, 120.0) as (server, load_seconds):
        assert server.runtime.description == str(binary)
        assert server.address.startswith("127.0.0.1:")
        assert load_seconds > 0
        assert Path(f"/proc/{server.pid}").exists()
    assert not Path(f"/proc/{server.pid}").exists()


def test_binary_that_ends_says_its_last_line(good_model: Path, only_binary) -> None:
    only_binary("#!/bin/sh\necho starting\necho no such flag: --model_name\nexit 3\n")
    with (
        pytest.raises(
            model_server.ServerError,
            match=r"^tensorflow_model_server ended with code 3: no such flag: --mod",
        ),
        local_server.serving(good_model, 30.0),
    ):
        pass


def test_binary_that_never_serves_is_killed(
    good_model: Path, only_binary, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # It does not end when it is asked to.
    monkeypatch.setattr(model_server, "_STOP_SECONDS", 0.5)
    script = (
        "import os, pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f'pathlib.Path("{tmp_path}/pid").write_text(str(os.getpid())); time.sleep(60)'
    )
    only_binary(f"#!/bin/sh\nexec {sys.executable} -c '{script}'\n")
    with (
        pytest.raises(
            model_server.ServerLateError,
            match=r"^version 1 is not AVAILABLE after 2 s: it does not answer yet$",
        ),
        local_server.serving(good_model, 2.0),
    ):
        pass
    assert not Path("/proc", (tmp_path / "pid").read_text()).exists()


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a stand-in for docker on PATH, and nothing else; returns what it was told."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    def install(**answers: str) -> Callable[[str], list[str]]:
        told = tmp_path / "told"
        scripts = {"version": "echo 27.1", "context": "echo unix:///docker.sock", **answers}
        cases = "\n".join(f"{word}) {script};;" for word, script in scripts.items())
        program = tmp_path / "bin" / "docker"
        program.write_text(
            f'#!/bin/sh\necho "$@" >> {told}\ncase "$1" in\n{cases}\n*) exit 0;;\nesac\n'
        )
        program.chmod(0o755)
        return lambda word: [
            line for line in told.read_text().splitlines() if line.split()[0] == word
        ]

    return install


# Starts the stand-in as the container's process: its ports and paths are this machine's.
RUN_CONTAINER = """
import os, re, sys
words = " ".join(sys.argv[1:])
for port in ("8500", "8501"):
    host = re.search(rf"127.0.0.1:([0-9]+):{port}", words)[1]
    words = words.replace(f"port={port}", f"port={host}")
source, target = re.search("source=([^,]+),target=(\\S+)", words).groups()
flags = words.split("tensorflow/serving:2.16.1 ")[1].replace(target, source).split()
os.execv(sys.executable, [sys.executable, STAND_IN, *flags])
"""


def test_container_gets_the_pinned_image_a_read_only_mount_and_loopback_ports(
    good_model: Path, docker, tmp_path: Path
) -> None:
    # The container's user is another one, and the model's files may be its owner's alone.
    (private := tmp_path / "private").mkdir()
    shutil.copytree(good_model, private / "model")
    for path in (private / "model").rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    good_model = private / "model"
    script = tmp_path / "run_container.py"
    script.write_text(RUN_CONTAINER.replace("STAND_IN", repr(str(STAND_IN))))
    told = docker(run=f'exec {sys.executable} {script} "$@"')
    with local_server.serving(good_model, 120.0) as (server, _):
        assert server.runtime.description == "tensorflow/serving:2.16.1 in Docker"
        assert server.pid == ""
        (words,) = told("run")
        source = Path(re.search("type=bind,readonly,source=([^,]+),target=/models/", words)[1])
        assert (source / "1" / "saved_model.pb").is_file()
        for path in (source.parent, *source.parent.rglob("*")):
            assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)
    assert f"--publish {server.address}:8500" in words
    assert re.search(r"--publish 127\.0\.0\.1:[0-9]+:8501", words)
    assert words.count("--mount") == words.count("readonly")
    assert words.endswith(
        "--entrypoint tensorflow_model_server tensorflow/serving:2.16.1 --port=8500 "
        "--rest_api_port=8501 --model_name=candidate --model_base_path=/models/candidate "
        "--max_num_load_retries=0"
    )
    name = re.search(r"--name (\S+)", words)[1]
    assert told("rm") == [f"rm --force {name}"]
    assert told("pull") == []


def no_server(model: Path) -> str:
    with (
        pytest.raises(model_server.NoServerError) as caught,
        local_server.serving(model, 5.0),
    ):
        pass
    return str(caught.value)


def test_without_binary_and_engine_the_reason_is_said(good_model: Path, docker) -> None:
    docker(version="echo cannot connect >&2; exit 1")
    assert no_server(good_model) == (
        "tensorflow_model_server is not on PATH and no Docker engine answers (cannot connect)"
    )


def test_engine_without_the_image_is_no_server(good_model: Path, docker) -> None:
    told = docker(image="exit 1", pull="echo no such image >&2; exit 1")
    assert no_server(good_model) == "Docker cannot get tensorflow/serving:2.16.1: no such image"
    assert told("run") == []


def test_engine_that_cannot_start_the_container_is_no_server(good_model: Path, docker) -> None:
    docker(run="echo no space left >&2; exit 125")
    assert no_server(good_model) == "docker run ended with code 125: no space left"


def test_container_that_ends_is_a_server_that_failed(good_model: Path, docker) -> None:
    docker(run="echo no such flag; exit 1")
    with (
        pytest.raises(model_server.ServerError, match="ended with code 1: no such flag"),
        local_server.serving(good_model, 30.0),
    ):
        pass


def test_engine_on_another_machine_is_no_server(good_model: Path, docker) -> None:
    told = docker(context="echo tcp://engine.example:2376")
    assert no_server(good_model).endswith("the Docker engine is on another machine")
    assert told("run") == []
