"""How a command that starts a run through the TFX CLI learns what came of it.

The runner is a process of its own, which only the environment reaches. The command therefore names
a session file there; the runner reads from it what to print as the command to resume with, and
leaves its process id and its exit code in it.
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
        file: JSON with the keys ``command``, once the runner has started ``pid``, and once it has
            ended ``exit_code``.
    """

    file: Path

    @property
    def command(self) -> str:
        """The command that a person resumes the run with."""
        return str(self._read().get("command", ""))

    @property
    def exit_code(self) -> int | None:
        """The runner's exit code; None where it ended without leaving one (it was killed)."""
        return self._number("exit_code")

    @property
    def pid(self) -> int | None:
        """The runner's process id; None before it has started."""
        return self._number("pid")

    def join(self) -> None:
        """Says that this process is the runner."""
        self._write({"pid": os.getpid()})

    def leave(self, exit_code: int) -> None:
        """Says what the runner ended with."""
        self._write({"exit_code": exit_code})

    def end_at_once_on_signals(self) -> None:
        """Lets Ctrl-C and SIGTERM end this process without a word: whoever opened the session
        speaks. It holds until the run sets handlers of its own."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _frame: os._exit(128 + number))

    def _number(self, key: str) -> int | None:
        value = self._read().get(key)
        return value if isinstance(value, int) else None

    def _read(self) -> dict[str, object]:
        content = json.loads(self.file.read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}

    def _write(self, more: dict[str, object]) -> None:
        # Replaced as a whole: the other process may be reading.
        atomic.write_text(self.file, json.dumps({**self._read(), **more}))


def current() -> Session | None:
    """Returns the session this process was started in; None where there is none."""
    named = os.environ.get(SESSION_VARIABLE, "")
    file = Path(named)
    return Session(file) if named and file.is_file() else None


@contextlib.contextmanager
def opened(command: str) -> Iterator[Session]:
    """Opens a session that processes started within take part in.

    Args:
        command: what a person resumes the run with.
    """
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


@contextlib.contextmanager
def signals_to(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Has a handler take SIGINT and SIGTERM, and on leaving whatever took them before."""
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
