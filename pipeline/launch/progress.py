"""Turns log messages of a run into what is shown of its nodes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from components.contracts.progress import EpochProgress, progress_in
from components.metadata_store import Execution

# Format strings of TFX's own log calls. Only lines on the terminal depend on them: what a run came
# to is read from ML Metadata.
_NODE_STARTS = "Component %s is running."
_NODE_ENDS = "Component %s is finished."
_OUTCOMES = {
    "A cached execution %d is used.": "cached",
    "[%s] Input resolution error: %s": "failed: an input could not be resolved",
}
_DONE = "done"
_INDENT = " " * 8

# Nodes that go through papers, and the properties of the Examples that count them.
_ALL_SPLITS = ("rows_train", "rows_eval", "rows_test")
_ROW_READERS = {
    "ParquetExampleGen": ("rows_read",),
    "StatisticsGen": _ALL_SPLITS,
    "Transform": _ALL_SPLITS,
    "Evaluator": ("rows_test",),
}


class PlainDisplay:
    """A line for each thing that happens.

    Args:
        say: writes one line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def start(self, place: str, node: str) -> None:
        """Says that a node starts."""
        self._say(f"{place} {node} ...")

    def note(self, line: str) -> None:
        """Passes on what the running node says."""
        self._say(f"{_INDENT}{line}")

    def epoch(self, epoch: EpochProgress) -> None:
        """Says what came of an epoch of training."""
        self.note(str(epoch))

    def end(self, place: str, node: str, outcome: str, seconds: float, rate: float | None) -> None:
        """Says how a node ended; ``rate`` is in rows a second, None if the rows are not known."""
        rows = f", {rate:,.0f} rows/s" if rate is not None else ""
        self._say(f"{place} {node} {outcome} ({seconds:.1f} s{rows})")


class ProgressHandler(logging.Handler):
    """A logging handler that says when nodes start and end, and passes progress records on.

    Attributes:
        current: the node now running; after a failure, the one that failed.
        seconds: wall-clock seconds of each finished node, its resolving and publishing included.

    Args:
        nodes: ids of the run's nodes, in order.
        display: shows it.
        rows: returns how many rows a node has just read; None if that is not known.
    """

    def __init__(
        self,
        nodes: list[str],
        display: PlainDisplay,
        rows: Callable[[str], int | None] = lambda _: None,
    ) -> None:
        super().__init__(logging.INFO)
        self.current: str | None = None
        self.seconds: dict[str, float] = {}
        self._nodes = nodes
        self._display = display
        self._rows = rows
        self._started = 0.0
        self._outcome = _DONE

    def emit(self, record: logging.LogRecord) -> None:
        """Takes one log message."""
        try:
            self._take(record)
        except Exception:
            self.handleError(record)

    def _take(self, record: logging.LogRecord) -> None:
        if record.msg in (_NODE_STARTS, _NODE_ENDS) and isinstance(record.args, tuple):
            node = str(record.args[0])
            number = self._nodes.index(node) + 1 if node in self._nodes else 0
            place = f"[{number:>2}/{len(self._nodes)}]"
            (self._start if record.msg == _NODE_STARTS else self._end)(place, node)
        elif record.msg in _OUTCOMES:
            self._outcome = _OUTCOMES[record.msg]
        else:
            progress = progress_in(record)
            if isinstance(progress, EpochProgress):
                self._display.epoch(progress)
            elif progress is not None:
                self._display.note(str(progress))

    def _start(self, place: str, node: str) -> None:
        self.current = node
        self._outcome = _DONE
        self._started = time.monotonic()
        self._display.start(place, node)

    def _end(self, place: str, node: str) -> None:
        self.seconds[node] = seconds = time.monotonic() - self._started
        self.current = None
        rows = self._rows(node) if self._outcome == _DONE else None
        rate = rows / seconds if rows and seconds > 0 else None
        self._display.end(place, node, self._outcome, seconds, rate)


def rows_read(execution: Execution | None) -> int | None:
    """Returns how many rows of papers an execution read; None if that is not known.

    It is known of nodes that go through a parquet file, or through tf.Examples whose splits' sizes
    are recorded.
    """
    if execution is None or execution.node not in _ROW_READERS:
        return None
    for link in (*execution.inputs, *execution.outputs):
        counts = link.artifact.properties
        rows = sum(counts.get(name, 0) for name in _ROW_READERS[execution.node])
        if rows:
            return int(rows)
    return None
