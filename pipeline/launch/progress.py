"""Turns log messages of a run into the progress of its nodes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from components import push_gate
from components.contracts import features, node_ids, properties
from components.contracts.progress import EpochProgress, progress_in
from components.metadata_store import Execution

# Format strings of TFX's own log calls. Only lines on the terminal depend on them: a run's outcome
# is read from ML Metadata.
_NODE_STARTS = "Component %s is running."
_NODE_ENDS = "Component %s is finished."
_OUTCOMES = {
    "A cached execution %d is used.": "cached",
    "[%s] Input resolution error: %s": "failed: an input could not be resolved",
}
_DONE = "done"
_INDENT = " " * 8

# Nodes that read papers, and the properties of the Examples that count them.
_ALL_SPLITS = tuple(map(properties.split_rows, features.SPLITS))
_ROW_READERS = {
    node_ids.EXAMPLE_GEN: (properties.ROWS_READ,),
    node_ids.STATISTICS_GEN: _ALL_SPLITS,
    node_ids.TRANSFORM: _ALL_SPLITS,
    node_ids.EVALUATOR: (properties.split_rows(features.TEST),),
}


class PlainDisplay:
    """Writes a line per event with ``say``."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def start(self, place: str, node: str) -> None:
        self._say(f"{place} {node} ...")

    def note(self, line: str) -> None:
        """Prints a message of the running node."""
        self._say(f"{_INDENT}{line}")

    def epoch(self, epoch: EpochProgress) -> None:
        self.note(str(epoch))

    def end(self, place: str, node: str, outcome: str, seconds: float, rate: float | None) -> None:
        """Prints a node's outcome; ``rate`` is in rows per second, None if unknown."""
        rows = f", {rate:,.0f} rows/s" if rate is not None else ""
        self._say(f"{place} {node} {outcome} ({seconds:.1f} s{rows})")


class ProgressHandler(logging.Handler):
    """Logging handler that shows when nodes start and end, and passes progress records on.

    Attributes:
        current: the running node; after a failure, the one that failed.
        seconds: wall-clock seconds of each finished node, including resolving and publishing.

    Args:
        nodes: ids of the run's nodes, in order.
        rows: returns how many rows a node has just read; None if unknown.
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
        # ML Metadata knows the node's outputs now, a push included.
        push_gate.release()
        self.seconds[node] = seconds = time.monotonic() - self._started
        self.current = None
        rows = self._rows(node) if self._outcome == _DONE else None
        rate = rows / seconds if rows and seconds > 0 else None
        self._display.end(place, node, self._outcome, seconds, rate)


def rows_read(execution: Execution | None) -> int | None:
    """Returns how many papers an execution read; None if the node reads none or has no counts."""
    if execution is None or execution.node not in _ROW_READERS:
        return None
    for link in (*execution.inputs, *execution.outputs):
        counts = link.artifact.properties
        rows = sum(counts.get(name, 0) for name in _ROW_READERS[execution.node])
        if rows:
            return int(rows)
    return None
