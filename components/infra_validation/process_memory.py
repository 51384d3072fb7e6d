"""Peak memory of a process."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def peak_memory_mib(process: int | Literal["self"]) -> float | None:
    """Returns the highest resident memory of a process so far, MiB; None if unknown.

    From proc(5)'s ``VmHWM``. The ``ru_maxrss`` of getrusage(2) would not do: a process begins with
    that of the one which started it, here a whole pipeline run.

    Args:
        process: its number on this machine, or this process.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return None
