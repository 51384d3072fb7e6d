"""Stops before a run begins, in whichever program starts it."""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType

from pipeline.launch.supervisor import STOPS

# Names the command that starts the run, for a runner that the TFX CLI has registered.
COMMAND_VARIABLE = "ARXIV_PIPELINE_COMMAND"


def end_at_once(command: str) -> None:
    """Lets SIGINT and SIGTERM end this process with a line that names its command.

    An exception would not do: modules being imported, and the TFX CLI, turn it into another. There
    is nothing to clean up before the run.
    """
    # Standard error goes to a log file while the TFX CLI registers the pipeline.
    screen = os.dup(2)

    def stop(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):
            line = f"error: stopped before the run began; start it with: {command}\n"
            os.write(screen, line.encode())
        os._exit(128 + number)

    for number in STOPS:
        signal.signal(number, stop)
    # They are held back while `make run` becomes the runner.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
