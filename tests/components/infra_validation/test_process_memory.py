"""The peak is that of the process itself."""

from __future__ import annotations

import subprocess
import sys

from components.infra_validation.process_memory import peak_memory_mib

_BALLAST = """
import subprocess, sys
held = bytearray(300 << 20)
held[:: 4096] = b"x" * len(held[:: 4096])
from components.infra_validation.process_memory import peak_memory_mib
own = peak_memory_mib("self")
child = (
    "from components.infra_validation.process_memory import peak_memory_mib as p; "
    "print(p('self'))"
)
print(own, subprocess.check_output([sys.executable, "-c", child], text=True))
"""


def test_memory_of_the_process_that_started_it_does_not_count() -> None:
    said = subprocess.check_output([sys.executable, "-c", _BALLAST], text=True)
    parent, child = (float(figure) for figure in said.split())
    assert 300 < parent < 500
    assert 1 < child < 150


def test_memory_of_a_process_that_is_gone_is_not_known() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert peak_memory_mib(str(process.pid)) is None
