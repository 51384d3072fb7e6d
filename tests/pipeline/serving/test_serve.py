"""Starting a server: against a stand-in that speaks TF Serving's REST, and what can be missing."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from components.errors import UserError
from pipeline.client.types import Classification
from pipeline.serving.serve import serving

ENGINE_ANSWERS = 'if [ "$1" != run ]; then exit 0; fi'
NO_ENGINE = "echo 'Cannot connect to the Docker daemon' >&2; exit 1"


def install(programs, name, script):
    """Puts a shell script on PATH."""
    path = programs / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def start(push_folder, ports, model="arxiv", **options):
    """Serves for a moment; returns what the server was and said."""
    grpc_port, rest_port = ports
    with serving(
        push_folder, model, grpc_port=grpc_port, rest_port=rest_port, **options
    ) as running:
        assert running.server.process.poll() is None
        return running


def refused(push_folder, ports, **options):
    """The one line with which nothing is served."""
    with pytest.raises(UserError) as caught:
        start(push_folder, ports, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.usefixtures("fake_server")
def test_newest_version_is_served_and_asked_and_the_server_ends(push_folder, ports):
    running = start(push_folder, ports)

    assert running.version == 12
    assert running.answer == Classification("math", {"math": 0.75, "cs": 0.25})
    assert running.server.process.poll() is not None
    with pytest.raises(httpx.ConnectError):
        httpx.get(running.url, trust_env=False)


@pytest.mark.usefixtures("fake_server")
def test_labels_decide_what_is_loaded(push_folder, ports):
    running = start(push_folder, ports, stable=5, canary=12)

    assert running.version == 5
    text = running.config_file.read_text()
    assert 'key: "stable"' in text
    assert text.count("versions:") == 2


@pytest.mark.usefixtures("fake_server")
def test_model_is_served_under_its_name(push_folder, ports):
    running = start(push_folder, ports, "tickets")

    assert running.url == f"http://127.0.0.1:{ports[1]}/v1/models/tickets"
    assert 'name: "tickets"' in running.config_file.read_text()


@pytest.mark.usefixtures("programs")
def test_no_model_is_said(tmp_path, ports):
    (tmp_path / "1").mkdir()

    assert "no model" in refused(tmp_path, ports)
    assert "no model" in refused(tmp_path / "absent", ports)


@pytest.mark.usefixtures("fake_server")
def test_numeric_folder_without_a_model_is_never_what_is_served(push_folder, ports):
    (push_folder / "99").mkdir()

    assert f"{push_folder / '99'} cannot be served: no saved_model.pb; remove it" in refused(
        push_folder, ports
    )
    assert "stable 99: not in" in refused(push_folder, ports, stable=99)
    assert start(push_folder, ports, stable=12).version == 12


@pytest.mark.usefixtures("fake_server")
@pytest.mark.parametrize(("taken", "option"), [(0, "--grpc-port"), (1, "--rest-port")])
def test_port_in_use_is_said_with_the_option(push_folder, ports, taken, option):
    with socket.socket() as other:
        other.bind(("127.0.0.1", ports[taken]))
        other.listen()
        message = refused(push_folder, ports)

    assert f"port {ports[taken]}: Address already in use" in message
    assert option in message


@pytest.mark.usefixtures("programs")
def test_neither_binary_nor_docker_is_said(push_folder, ports):
    message = refused(push_folder, ports)
    assert "tensorflow_model_server is not on PATH and docker is not on PATH" in message
    assert "not on PATH" in refused(push_folder, ports, runtime="native")


def test_docker_without_its_engine_is_said_in_its_words(push_folder, ports, programs):
    install(programs, "docker", NO_ENGINE)

    for runtime in ("auto", "docker"):
        assert "no Docker engine answers (Cannot connect to the Docker daemon)" in refused(
            push_folder, ports, runtime=runtime
        )


def test_container_has_no_rights_and_sees_the_models_read_only(
    push_folder, ports, programs, tmp_path
):
    noted = tmp_path / "arguments"
    install(programs, "docker", f'{ENGINE_ANSWERS}\nprintf "%s\\n" "$@" > {noted}; exit 125')

    assert "ended with code 125" in refused(push_folder, ports)

    arguments = shlex.join(noted.read_text().splitlines())
    assert f"type=bind,readonly,source={push_folder},target=/models/arxiv" in arguments
    assert "--user 10001:10001 --read-only" in arguments
    assert "--cap-drop ALL --security-opt no-new-privileges:true" in arguments
    assert f"127.0.0.1:{ports[1]}:8501" in arguments
    assert "tensorflow/serving:2.16.1 --port=8500 --rest_api_port=8501" in arguments
    assert arguments.endswith("--max_num_load_retries=0")


@pytest.mark.usefixtures("fake_server")
def test_server_that_dies_is_quoted(push_folder, ports, monkeypatch):
    monkeypatch.setenv("FAKE_SERVER", "dies")

    message = refused(push_folder, ports)

    assert "ended with code 1: Failed to start server. Error: Unknown: 1 servable(s)" in message


@pytest.mark.usefixtures("fake_server")
def test_model_that_cannot_be_loaded_is_said_at_once(push_folder, ports, monkeypatch):
    monkeypatch.setenv("FAKE_SERVER", "broken")

    assert "version 12 cannot be loaded: no variables" in refused(push_folder, ports)


@pytest.mark.usefixtures("fake_server")
def test_model_that_never_loads_is_given_up(push_folder, ports, monkeypatch):
    monkeypatch.setenv("FAKE_SERVER", "loads")

    message = refused(push_folder, ports, timeout=3)

    assert "version 12 is not AVAILABLE after 3 s: its state is LOADING" in message


@pytest.mark.usefixtures("fake_server")
def test_another_model_behind_the_name_is_noticed(push_folder, ports, monkeypatch):
    monkeypatch.setenv("FAKE_SERVER", "other")

    assert "is it a text classifier?" in refused(push_folder, ports)


@pytest.mark.usefixtures("fake_server")
def test_model_of_several_text_columns_is_asked_too(push_folder, ports, monkeypatch):
    monkeypatch.setenv("FAKE_SERVER", "columns")

    assert start(push_folder, ports).answer.label == "math"


@pytest.mark.usefixtures("fake_server")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_command_serves_until_it_is_stopped(push_folder, ports, repository, number):
    process = subprocess.Popen(
        [
            *(sys.executable, "-u", "-m", "pipeline", "serve", "--folder", str(push_folder)),
            *("--grpc-port", str(ports[0]), "--rest-port", str(ports[1])),
        ],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(repository)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    printed = [process.stdout.readline() for _ in range(5)]
    url = f"http://127.0.0.1:{ports[1]}/v1/models/arxiv"
    assert httpx.get(url, trust_env=False).status_code == 200
    process.send_signal(number)

    assert process.wait(timeout=30) == (0 if number == signal.SIGINT else 128 + number)
    assert printed[0].startswith("version 12 is AVAILABLE; it says math of")
    assert f"{url}:predict" in printed[2]
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            httpx.get(url, trust_env=False)
        except httpx.ConnectError:
            return
    pytest.fail("the server outlived the command")
