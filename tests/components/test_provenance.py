"""What is said of the code that made a model is true or absent."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from components import provenance


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "code.py").write_text("a = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    git(tmp_path, "tag", "v1", "-m", "a tag is no commit")
    return tmp_path


def test_commit_is_the_checked_out_one_and_dirty_when_files_differ(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    assert provenance.commit(checkout) == head
    (checkout / "sub" / "code.py").write_text("a = 2\n")
    assert provenance.commit(checkout) == f"{head}-dirty"


def test_commit_of_a_project_around_this_one_is_not_taken(checkout: Path) -> None:
    assert provenance.commit(checkout / "sub") is None


def test_no_git_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance.commit(tmp_path) is None


def test_versions_are_those_that_are_imported() -> None:
    assert provenance.versions()["numpy"] == np.__version__
