"""Connects a command that starts a run through the TFX CLI with the runner's process.

Only the environment reaches that process, so a variable names a session file. The runner reads from
it the command that resumes the run, and writes its process id and exit code to it.
"""

import contextlib
import json
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from components import atomic

SESSION_VARIABLE = "ARXIV_PIPELINE_SESSION"


@dataclass(frozen=True)
class Session:
    """A session file.

    Attributes:
        file: JSON with the keys ``command`` and, once the runner has ended, ``exit_code``.
    """

    file: Path

    @property
    def command(self) -> str:
        """The command that resumes the run."""
        return str(self._read().get("command", ""))

    @property
    def exit_code(self) -> int | None:
        """The runner's exit code; None if it was killed before it could write one."""
        value = self._read().get("exit_code")
        return value if isinstance(value, int) else None

    def leave(self, exit_code: int) -> None:
        """Records the runner's exit code."""
        # Atomic, since the other process may be reading.
        atomic.write_text(self.file, json.dumps({**self._read(), "exit_code": exit_code}))

    def _read(self) -> dict[str, object]:
        content = json.loads(self.file.read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}


def current() -> Session | None:
    """Returns the session this process was started in; None if there is none."""
    named = os.environ.get(SESSION_VARIABLE, "")
    file = Path(named)
    return Session(file) if named and file.is_file() else None


@contextlib.contextmanager
def opened(command: str) -> Iterator[Session]:
    """Opens a session for the processes started in its body; ``command`` resumes the run."""
    with tempfile.TemporaryDirectory(prefix="arxiv-pipeline-") as folder:
        file = Path(folder) / "session.json"
        file.write_text(json.dumps({"command": command}), encoding="utf-8")
        before = os.environ.get(SESSION_VARIABLE)
        os.environ[SESSION_VARIABLE] = os.fspath(file)
        try:
            yield Session(file)
        finally:
            if before is None:
                del os.environ[SESSION_VARIABLE]
            else:
                os.environ[SESSION_VARIABLE] = before


def end_at_once_on_signals(line: str = "") -> None:
    """Lets SIGINT and SIGTERM end this process, with a line on standard error, until a run begins.

    An exception would not do: modules being imported, and the TFX CLI, turn it into another. There
    is nothing to clean up before the run.

    Args:
        line: empty in a runner, whose session reports the signal.
    """
    # Standard error goes to a log file while the TFX CLI registers the pipeline.
    screen = os.dup(2)

    def stop(number: int, _frame: FrameType | None) -> None:
        if line:
            with contextlib.suppress(OSError):
                os.write(screen, f"{line}\n".encode())
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def stopped_early(command: str) -> str:
    """Returns the line that reports a stop before the run; ``command`` starts it."""
    return f"error: stopped before the run began; start it with: {command}"


@contextlib.contextmanager
def signals_to(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Sets a handler for SIGINT and SIGTERM, and restores the earlier ones at the end."""
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
