"""``make``'s ways of failing: one clear line, and no success."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
TOOLS = ("sh", "make", "cat", "cmp", "dirname", "grep", "mkdir", "rm", "cp", "awk", "env")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What ``make env`` reads, in a folder whose name has a space, without an environment."""
    folder = tmp_path / "a clone"
    (folder / ".ci").mkdir(parents=True)
    for name in ("Makefile", ".ci/environment", ".python-version", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, folder / name)
    for name in ("requirements.lock", "requirements-uv.lock"):
        shutil.copy(REPOSITORY / name, folder / name)
    return folder


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder for PATH with the tools that the Makefile uses, and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found is not None, name
        (folder / name).symlink_to(found)
    return folder


def make(clone: Path, path: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": str(path), "HOME": str(clone.parent), "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        [str(path / "make"), *arguments],
        cwd=clone,
        env={**env, **more},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def error_lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Standard error without the line that make itself adds to every failure."""
    return [line for line in done.stderr.splitlines() if not line.startswith("make: *** ")]


def write_script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_no_python_is_one_line(clone: Path, tools: Path) -> None:
    done = make(clone, tools, "run")
    assert done.returncode != 0
    (line,) = error_lines(done)
    assert line.startswith("error: Python 3.10 not found: install it")
    assert done.stdout == ""


def test_wrong_python_is_one_line(clone: Path, tools: Path) -> None:
    for name in ("python3", "python3.10"):
        write_script(tools / name, "echo 'pyenv: command not found' >&2; exit 127")
    (line,) = error_lines(make(clone, tools, "test"))
    assert line.startswith("error: Python 3.10 not found: install it")


@pytest.mark.slow
def test_python_of_pyenv_is_found_where_its_shim_refuses_and_no_registry_is_one_line(
    clone: Path, tools: Path, tmp_path: Path
) -> None:
    write_script(tools / "python3.10", "exit 127")
    real = tmp_path / "pyenv" / "versions" / "3.10.99" / "bin" / "python3.10"
    base = Path(sys.base_prefix) / "bin" / "python3.10"
    if not base.is_file():
        pytest.skip(f"no {base} to stand in for pyenv's")
    write_script(real, f'exec "{base}" "$@"')
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": os.devnull}
    done = make(clone, tools, "env", PYENV_ROOT=str(tmp_path / "pyenv"), NO_PROXY="*", **nowhere)
    assert done.returncode != 0
    assert f"with {real} (" in done.stdout
    (line,) = error_lines(done)
    assert line == (
        "error: cannot install uv: the package registry cannot be reached; "
        "details in var/install.log"
    )
    assert "uv==" in (clone / "var" / "install.log").read_text()


def test_folder_that_cannot_be_written_is_one_line(clone: Path, tools: Path) -> None:
    (tools / "python3.10").symlink_to(sys.executable)
    (clone / "var").write_text("in the way")
    (line,) = error_lines(make(clone, tools, "env"))
    assert line == "error: cannot write var/install.log: is the disk full or read-only?"


def test_environment_that_is_up_to_date_is_left_alone(clone: Path, tools: Path) -> None:
    python = clone / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    files = (".python-version", "requirements.lock", "requirements-uv.lock", "pyproject.toml")
    content = "".join((clone / name).read_text() for name in (*files, ".ci/environment"))
    (clone / ".venv" / ".built").write_text(f"{clone}\n{content}")
    done = make(clone, tools, "env")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (clone / "requirements.lock").write_text("changed")
    changed = make(clone, tools, "env")
    assert error_lines(changed)[0].startswith("error: Python 3.10 not found")


@pytest.mark.parametrize("config", ["my run.toml", "it's mine.toml", "plain.toml"])
def test_resume_hint_is_a_command_that_the_shell_reads_as_it_was_given(
    clone: Path, tools: Path, config: str
) -> None:
    (clone / ".ci" / "environment").write_text("")
    # Says what it was called with, one word a line.
    script = 'printf "%s\\n" "$ARXIV_PIPELINE_CONFIG" "$@"'
    write_script(clone / ".venv" / "bin" / "python", script)
    given = make(clone, tools, "run", f"CONFIG={config}")
    assert given.stdout.splitlines() == [
        config, "-m", "pipeline.launch.tfx_cli_session", "make run", f"CONFIG={config}",
    ]  # fmt: skip
    sample = make(clone, tools, "run").stdout.splitlines()
    assert sample[-2:] == ["pipeline.launch.tfx_cli_session", "make run"]


def test_help_lists_the_targets(clone: Path, tools: Path) -> None:
    done = make(clone, tools)
    assert [line.split()[1] for line in done.stdout.splitlines()] == [
        "help", "env", "gpu", "run", "serve", "check", "test", "lint", "format", "types", "layers",
        "dependencies", "fast", "pytest", "docs", "sample", "glove", "lock", "protos", "clean",
    ]  # fmt: skip


def test_contributing_names_files_and_targets_that_are_there() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:components|pipeline|tests)/[\w./]+)`", text)
    assert len(paths) > 20
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []
    targets = set(re.findall(r"`make (\w+)`", text))
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert targets <= set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
