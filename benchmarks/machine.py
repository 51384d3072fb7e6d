"""Describes the commit and the machine of a measurement; used by all benchmarks."""

import functools
import os
import platform
import resource
import subprocess
from pathlib import Path


@functools.cache
def commit() -> str:
    """Returns the commit's short hash, with "-dirty" if files differ from it.

    Cached, since a benchmark may write its results into the repository.
    """
    result = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout.strip() or "none"


def processor() -> str:
    """Returns the processor's name and the number of cores available to this process."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def peak_mib() -> float:
    """Returns this process's peak resident memory in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
