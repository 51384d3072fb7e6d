"""Finding and starting a model server; the binary and the engine are stand-ins."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

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
    with local_server.serving(good_model, 120.0) as running:
        assert running.description == str(binary)
        assert running.address.startswith("127.0.0.1:")
        assert running.load_seconds > 0
        assert Path(f"/proc/{running.pid}").exists()
    assert not Path(f"/proc/{running.pid}").exists()


def test_binary_that_ends_says_its_last_line(good_model: Path, only_binary) -> None:
    only_binary("#!/bin/sh\necho starting\necho no such flag: --model_name\nexit 3\n")
    with (
        pytest.raises(
            local_server.ServerError,
            match=r"^tensorflow_model_server ended with 3: no such flag: --mod",
        ),
        local_server.serving(good_model, 30.0),
    ):
        pass


def test_binary_that_never_serves_is_given_up(good_model: Path, only_binary) -> None:
    only_binary("#!/bin/sh\nexec /bin/sleep 60\n")
    with (
        pytest.raises(local_server.ServerError, match=r"^the server has no model in time: "),
        local_server.serving(good_model, 0.5),
    ):
        pass


def test_without_binary_and_engine_the_reason_is_said(
    good_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine.sock")
    with (
        pytest.raises(
            local_server.NoServerError, match=r"^no tensorflow_model_server on PATH, and no D"
        ),
        local_server.serving(good_model, 5.0),
    ):
        pass


class Engine:
    """What the project asks of Docker: one container, whose port leads to the stand-in."""

    def __init__(self, stand_in) -> None:
        self.stand_in = stand_in
        self.containers = self
        self.api = SimpleNamespace(base_url="http+docker://localhost")
        self.options: dict = {}
        self.removed = False
        self.status = "created"
        self.ports: dict = {}

    def ping(self) -> bool:
        return True

    def run(self, image: str, **options) -> Engine:
        self.options = {"image": image, **options}
        (self.folder,) = options["volumes"]
        self.mode = os.stat(Path(self.folder).parent).st_mode & 0o777  # noqa: PTH116
        self.running, self.port = self.stand_in.start(
            options["environment"]["MODEL_NAME"], Path(self.folder) / "1"
        )
        return self

    def reload(self) -> None:
        self.status = "running"
        self.ports = {"8500/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(self.port)}]}

    def remove(self, force: bool) -> None:
        assert force
        self.running.stop(None)
        self.removed = True


def test_engine_gets_the_pinned_image_a_read_only_mount_and_a_loopback_port(
    good_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("stand_in_server", STAND_IN)
    stand_in = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stand_in)
    engine = Engine(stand_in)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(local_server.docker, "from_env", lambda **_: engine)
    with local_server.serving(good_model, 60.0) as running:
        assert running.description == "tensorflow/serving:2.16.1 in Docker"
        assert (running.address, running.pid) == (f"127.0.0.1:{engine.port}", None)
        assert (Path(engine.folder) / "1" / "saved_model.pb").is_file()
    assert engine.removed
    assert engine.options["image"] == "tensorflow/serving:2.16.1"
    assert engine.options["command"] == ["--max_num_load_retries=0"]
    assert engine.options["ports"] == {"8500/tcp": ("127.0.0.1", None)}
    assert engine.options["volumes"] == {
        engine.folder: {"bind": f"/models/{local_server.MODEL_NAME}", "mode": "ro"}
    }
    assert engine.mode == 0o755


def test_engine_without_the_image_is_no_server(
    good_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise local_server.docker.errors.ImageNotFound("no such image")

    engine = SimpleNamespace(
        ping=lambda: True,
        containers=SimpleNamespace(run=refuse),
        api=SimpleNamespace(base_url="http+docker://localhost"),
    )
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(local_server.docker, "from_env", lambda **_: engine)
    with (
        pytest.raises(
            local_server.NoServerError, match=r"Docker cannot start tensorflow/serving:2\.16"
        ),
        local_server.serving(good_model, 5.0),
    ):
        pass


def test_engine_on_another_machine_is_no_server(
    good_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = SimpleNamespace(base_url="https://engine.example:2376")
    engine = SimpleNamespace(ping=lambda: True, api=remote)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(local_server.docker, "from_env", lambda **_: engine)
    with (
        pytest.raises(
            local_server.NoServerError, match=r"the Docker engine is on another machine$"
        ),
        local_server.serving(good_model, 5.0),
    ):
        pass
