"""Which TF Serving this machine could start."""

from __future__ import annotations

import shutil
import subprocess

_DOCKER_SECONDS = 20.0


def docker_missing() -> str:
    """Returns why no Docker engine can be used; empty where one answers."""
    if shutil.which("docker") is None:
        return "docker is not on PATH"
    try:
        result = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_DOCKER_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"the Docker engine does not answer within {_DOCKER_SECONDS:g} s"
    if result.returncode == 0:
        return ""
    said = result.stderr.strip().splitlines()
    return f"no Docker engine answers ({said[-1] if said else 'no reason given'})"
