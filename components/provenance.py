"""Finds the commit and the library versions that an artifact was made with."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

_LIBRARIES = (
    "tfx",
    "tensorflow",
    "keras",
    "tensorflow-transform",
    "tensorflow-data-validation",
    "tensorflow-model-analysis",
    "apache-beam",
    "numpy",
)
_GIT_SECONDS = 10.0
_ROOT = Path(__file__).resolve().parent.parent


def commit(root: Path = _ROOT) -> str | None:
    """Returns the checked-out commit, with "-dirty" if tracked files differ from it.

    None if ``root`` is not the root of a git checkout: it may lie inside another project's.
    """
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top) != root:
        return None
    return _git(root, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the main libraries."""
    found = {"python": platform.python_version()}
    return found | {name: metadata.version(name) for name in _LIBRARIES}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
