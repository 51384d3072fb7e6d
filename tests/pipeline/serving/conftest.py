"""A push folder without real models, and programs on PATH."""

from __future__ import annotations

import shlex
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FAKE_SERVER = Path(__file__).with_name("fake_model_server.py")


@pytest.fixture
def push_folder(tmp_path: Path, saved_model: Callable[..., Path]) -> Path:
    """Versions 5 and 12, and what a push in progress leaves."""
    folder = tmp_path / "serving" / "arxiv-tiny"
    for name in ("5", "12", ".staging-7"):
        saved_model(folder / name)
    (folder / ".push.lock").touch()
    return folder


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is all of PATH, and a folder for temporary files."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return folder


@pytest.fixture
def fake_server(programs: Path) -> None:
    """The stand-in as tensorflow_model_server on PATH."""
    command = f"exec {shlex.quote(sys.executable)} {shlex.quote(str(FAKE_SERVER))}"
    path = programs / "tensorflow_model_server"
    path.write_text(f'#!/bin/sh\n{command} "$@"\n')
    path.chmod(0o755)


@pytest.fixture
def ports() -> tuple[int, int]:
    """Two ports that were free a moment ago: gRPC and REST."""
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]
