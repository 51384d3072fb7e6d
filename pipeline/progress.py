"""Turns log records of a run into plain lines for the terminal."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

# What a node logs for the terminal starts with one of these; the second stays in the line.
PROGRESS_PREFIXES = ("[progress] ", "training: ")

# Format strings of TFX's own log calls. Only lines on the terminal hang on them: what a run came
# to is read from ML Metadata.
_NODE_STARTS = "Component %s is running."
_NODE_ENDS = "Component %s is finished."
_NODE_CACHED = "A cached execution %d is used."
_NODE_UNRESOLVED = "[%s] Input resolution error: %s"


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
        say: writes one line to the terminal.
    """

    def __init__(self, nodes: list[str], say: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self.times = NodeTimes()
        self._nodes = nodes
        self._say = say
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
            if message.startswith(PROGRESS_PREFIXES):
                self._say(f"        {message.removeprefix(PROGRESS_PREFIXES[0])}")

    def _start(self, node: str) -> None:
        self.times.current = node
        self._outcome = "done"
        self._started = time.monotonic()
        self._say(f"{self._place(node)} {node} ...")

    def _end(self, node: str) -> None:
        seconds = time.monotonic() - self._started
        self.times.seconds[node] = seconds
        self.times.current = None
        self._say(f"{self._place(node)} {node} {self._outcome} ({seconds:.1f} s)")

    def _place(self, node: str) -> str:
        place = self._nodes.index(node) + 1 if node in self._nodes else 0
        return f"[{place:>2}/{len(self._nodes)}]"
