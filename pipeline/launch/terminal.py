"""Keeps the terminal for a run's own lines; all other output goes into its log file."""

import contextlib
import faulthandler
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console, ConsoleDimensions

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class Screen(Console):
    """A console on its own file descriptor, while 1 and 2 are redirected to the log file."""

    @property  # type: ignore[misc]  # rich has a setter, which nobody here uses
    def size(self) -> ConsoleDimensions:
        """The terminal's current size; rich would query descriptors 0 to 2."""
        if "COLUMNS" not in os.environ:
            with contextlib.suppress(OSError, ValueError):
                columns, lines = os.get_terminal_size(self.file.fileno())
                if columns > 0 and lines > 0:
                    return ConsoleDimensions(columns, lines)
        return super().size

    def show_cursor(self, show: bool = True) -> bool:
        """Never hides the cursor: a killed run could not show it again."""
        return super().show_cursor() if show else False


@dataclass
class Terminal:
    """The terminal that a run was started on.

    Attributes:
        out: console of the process's original standard output.
        err: console of the process's original standard error.
        before_warning: called before each warning, to remove the live lines.
        muted: drops every line, once a stop has been reported.
    """

    out: Console
    err: Console
    before_warning: Callable[[], None] | None = None
    muted: bool = False
    # Reentrant: a signal handler may interrupt a line.
    _mutex: threading.RLock = field(default_factory=threading.RLock, repr=False)

    @property
    def moves(self) -> bool:
        """Whether lines can be redrawn: on a terminal that is not dumb."""
        with contextlib.suppress(ValueError, OSError):
            return self.out.file.isatty() and not self.out.is_dumb_terminal
        return False

    def say(self, line: str) -> None:
        """Writes one plain line to standard output, never wrapped or styled."""
        self._write(self.out, line)

    def warn(self, line: str) -> None:
        """Writes one plain line to standard error, never wrapped or styled."""
        if self.before_warning is not None:
            self.before_warning()
        self._write(self.err, line)

    def _write(self, console: Console, line: str) -> None:
        if self.muted:
            return
        # A closed terminal (`make run | head`) must not end a run that has hours behind it.
        with self._mutex, contextlib.suppress(BrokenPipeError, OSError):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def captured(log_file: Path) -> Iterator[Terminal]:
    """Sends file descriptors 1 and 2, Python logging and warnings to the end of a log file.

    Native libraries and child processes write to the descriptors, not to ``sys.stderr``. Everything
    is restored at the end. Yields the original terminal.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept_out, kept_err = os.dup(1), os.dup(2)
    with (
        os.fdopen(kept_out, "w", encoding="utf-8", errors="replace") as out,
        os.fdopen(kept_err, "w", encoding="utf-8", errors="replace") as err,
        log_file.open("a", encoding="utf-8", errors="replace") as log,
        log_file.open("a", encoding="utf-8", errors="replace", buffering=1) as lines,
    ):
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            with (
                _logging_to(log_file),
                contextlib.redirect_stdout(log),
                contextlib.redirect_stderr(lines),
            ):
                faulthandler.enable(log)
                yield Terminal(Screen(file=out), Screen(file=err, stderr=True))
        finally:
            faulthandler.disable()
            with contextlib.suppress(OSError):
                log.flush()
            os.dup2(kept_out, 1)
            os.dup2(kept_err, 2)


@contextlib.contextmanager
def _logging_to(log_file: Path) -> Iterator[None]:
    root = logging.getLogger()
    handler = logging.FileHandler(log_file, encoding="utf-8", errors="replace")
    handler.setFormatter(logging.Formatter(_FORMAT))
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        try:
            yield
        finally:
            logging.captureWarnings(False)
            root.handlers[:] = handlers
            root.setLevel(level)
            handler.close()
