"""Measures the peak memory of a process."""

from __future__ import annotations

from pathlib import Path


def peak_memory_mib(process: str) -> float | None:
    """Returns the peak resident memory of a process id, or "self", in MiB; None if unknown.

    From proc(5)'s ``VmHWM``: the ``ru_maxrss`` of getrusage(2) is inherited from the parent
    process, here a whole pipeline run.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return None
