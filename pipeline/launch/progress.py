"""Turns log records of a run into what the terminal shows of its nodes."""

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

# What a node logs for the terminal starts with one of these; the second stays in the line.
PROGRESS_PREFIXES = ("[progress] ", "training: ")

# Format strings of TFX's own log calls. Only lines on the terminal hang on them: what a run came
# to is read from ML Metadata.
_NODE_STARTS = "Component %s is running."
_NODE_ENDS = "Component %s is finished."
_NODE_CACHED = "A cached execution %d is used."
_NODE_UNRESOLVED = "[%s] Input resolution error: %s"

_EPOCH = re.compile(
    r"training: phase (?P<phase>\d+) epoch (?P<epoch>\d+)/(?P<epochs>\d+)  loss (?P<loss>\S+)"
    r"(?:.*?  val accuracy (?P<accuracy>\S+))?.*?  (?P<seconds>[\d.]+) s\b(?P<rest>.*)"
)


@dataclass(frozen=True)
class Epoch:
    """A finished epoch, as the Trainer's line tells it.

    Attributes:
        phase: 1 or 2.
        epoch: in its phase, from 1.
        epochs: most epochs of the phase.
        loss: as it was printed.
        accuracy: on the eval split, as it was printed; empty where it was not.
        seconds: that it took.
        stopped: True where the phase ended before its last epoch.
    """

    phase: int
    epoch: int
    epochs: int
    loss: str
    accuracy: str
    seconds: float
    stopped: bool

    @property
    def left_in_phase(self) -> int:
        """Epochs of the phase that are still to come, at most."""
        return 0 if self.stopped else self.epochs - self.epoch


def read_epoch(message: str) -> Epoch | None:
    """Reads the line that the Trainer logs after each epoch; None for any other."""
    found = _EPOCH.match(message)
    if found is None:
        return None
    return Epoch(
        phase=int(found["phase"]),
        epoch=int(found["epoch"]),
        epochs=int(found["epochs"]),
        loss=found["loss"],
        accuracy=found["accuracy"] or "",
        seconds=float(found["seconds"]),
        stopped="stopped early" in found["rest"],
    )


class Display(Protocol):
    """What shows the progress of a run."""

    def start(self, place: str, node: str) -> None:
        """A node starts."""

    def note(self, line: str) -> None:
        """The running node says something."""

    def epoch(self, epoch: Epoch) -> None:
        """The running node has finished an epoch of training."""

    def end(self, place: str, node: str, outcome: str, seconds: float, rate: float | None) -> None:
        """A node ends; ``rate`` is in rows a second, None where the rows are not known."""


@dataclass
class NodeTimes:
    """What was seen of the nodes.

    Attributes:
        current: the node now running; after a failure, the one that failed.
        seconds: wall-clock seconds of each finished node, its resolving and publishing included.
    """

    current: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)


class ProgressHandler(logging.Handler):
    """A logging handler that says when nodes start and end, and passes progress records on.

    A node reports progress with ``absl.logging.info("[progress] ...")``; the Trainer's own lines
    start with ``training: ``.

    Args:
        nodes: ids of the run's nodes, in order.
        display: shows it; None shows nothing, and only ``times`` is kept.
        rows: returns how many rows a node has just read; None where that is not known.
    """

    def __init__(
        self,
        nodes: list[str],
        display: Display | None = None,
        rows: Callable[[str], int | None] = lambda _: None,
    ) -> None:
        super().__init__(logging.INFO)
        self.times = NodeTimes()
        self._nodes = nodes
        self._display = display
        self._rows = rows
        self._started = 0.0
        self._outcome = "done"

    def emit(self, record: logging.LogRecord) -> None:
        """Takes one log record."""
        try:
            self._take(record)
        except Exception:
            self.handleError(record)

    def _take(self, record: logging.LogRecord) -> None:
        arguments = record.args if isinstance(record.args, tuple) else ()
        if record.msg == _NODE_STARTS:
            self._start(str(arguments[0]))
        elif record.msg == _NODE_ENDS:
            self._end(str(arguments[0]))
        elif record.msg == _NODE_CACHED:
            self._outcome = "cached"
        elif record.msg == _NODE_UNRESOLVED:
            self._outcome = "failed: an input could not be resolved"
        else:
            message = record.getMessage()
            if self._display is not None and message.startswith(PROGRESS_PREFIXES):
                epoch = read_epoch(message)
                if epoch is not None:
                    self._display.epoch(epoch)
                self._display.note(message.removeprefix(PROGRESS_PREFIXES[0]))

    def _start(self, node: str) -> None:
        self.times.current = node
        self._outcome = "done"
        self._started = time.monotonic()
        if self._display is not None:
            self._display.start(self._place(node), node)

    def _end(self, node: str) -> None:
        seconds = time.monotonic() - self._started
        self.times.seconds[node] = seconds
        self.times.current = None
        if self._display is None:
            return
        rows = self._rows(node) if self._outcome == "done" else None
        rate = rows / seconds if rows and seconds > 0 else None
        self._display.end(self._place(node), node, self._outcome, seconds, rate)

    def _place(self, node: str) -> str:
        place = self._nodes.index(node) + 1 if node in self._nodes else 0
        return f"[{place:>2}/{len(self._nodes)}]"
