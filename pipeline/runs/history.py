"""The outcomes of earlier runs, from ML Metadata and the runs' own records."""

from __future__ import annotations

import bisect
import socket
import statistics
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

from components.contracts import artifact_files, node_ids
from components.contracts.evaluation_metrics import Evaluation
from components.errors import UserError
from components.metadata_store import Artifact, Execution, Lineage, MetadataStore, State
from pipeline.runs import causes, lock, record
from pipeline.runs.layout import OutputFolder
from pipeline.runs.record import RunRecord
from pipeline.runs.verdict import Verdict, read_evaluation, verdict_of

# The type name in components.report.node, whose import needs TFX.
REPORT_TYPE = "RunReport"
LATEST = "latest"

_USUAL_RUNS = 50
# For more runs than this, reading the whole database is faster than reading them one by one.
_MANY_RUNS = 50


class RunState(str, Enum):
    """State of a run; the values are the words shown in listings."""

    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    # By Ctrl-C or SIGTERM.
    STOPPED = "stopped"
    # It recorded no end.
    KILLED = "killed"


@dataclass(frozen=True)
class NodeStatus:
    """One node in one run; ``execution`` is its latest, None if it did not run."""

    node: str
    execution: Execution | None = None

    @property
    def state(self) -> State:
        return self.execution.state if self.execution else State.NOT_RUN

    @property
    def seconds(self) -> float:
        """Seconds from its registration to its last update; 0.0 if it did not run."""
        return self.execution.seconds if self.execution else 0.0

    @property
    def cause(self) -> str:
        """Why it failed, in one line; empty unless ML Metadata has an error's text."""
        failed = self.state is State.FAILED and self.execution
        return causes.from_traceback(failed.error) if failed and failed.error else ""

    @property
    def put_out(self) -> list[Artifact]:
        return self.execution.put_out if self.execution else []


@dataclass(frozen=True)
class Run:
    """One run, started in this machine's time zone, with its own record if it left one.

    ``nodes`` are in the order in which they ran, then those that did not run.
    """

    id: str
    started: datetime
    seconds: float
    state: RunState
    nodes: tuple[NodeStatus, ...]
    record: RunRecord | None = None

    @property
    def failure(self) -> tuple[str, str] | None:
        """The failed node and the cause, in one line; None if none failed."""
        if self.record is not None and self.record.failed_node:
            return self.record.failed_node, self.record.cause
        for status in self.nodes:
            if status.state is State.FAILED:
                return status.node, status.cause or "the log says why"
        return None

    @cached_property
    def verdict(self) -> Verdict:
        """The model's metrics, blessings and push."""
        return verdict_of(self.put_out)

    @property
    def evaluation(self) -> Evaluation | None:
        """The content of ``metrics.json``; None if there is none."""
        return next(map(read_evaluation, self.put_out(node_ids.EVALUATION_SUMMARY)), None)

    @property
    def data(self) -> dict[str, Any]:
        """The ingested data's row counts, by outcome and by split, and the files' hash."""
        return next((one.properties for one in self.put_out(node_ids.EXAMPLE_GEN)), {})

    @property
    def code(self) -> dict[str, str]:
        """{node: hash of the project's sources that it used}."""
        used = ((one.node, one.execution.fingerprint) for one in self.nodes if one.execution)
        return {node: fingerprint for node, fingerprint in used if fingerprint}

    @property
    def report(self) -> Path | None:
        """The report's page; None if it does not exist."""
        pages = [
            Path(one.uri) / artifact_files.RUN_REPORT for one in self.put_out(node_ids.RUN_REPORT)
        ]
        return next((page for page in pages if page.is_file()), None)

    def put_out(self, node: str) -> list[Artifact]:
        """Returns a node's output artifacts; empty if it has no result."""
        found = [one.put_out for one in self.nodes if one.node == node and one.state.complete]
        return found[0] if found else []


class History:
    """The runs of one output folder.

    Attributes:
        ids: of all runs, oldest first, including those that were stopped before their first node.

    Raises:
        UserError: there is no database, or it cannot be read.
    """

    def __init__(self, folder: OutputFolder) -> None:
        self._folder = folder
        self._store = MetadataStore(folder.metadata_file)
        self._read: dict[str, Lineage] = {}
        self.ids = self._store.run_ids()
        for run_id in {file.stem for file in folder.record_dir.glob("*.json")} - {*self.ids}:
            own = record.read(folder, run_id)
            if own is not None and own.stopped:
                bisect.insort(self.ids, run_id)

    @cached_property
    def lineage(self) -> Lineage:
        """The whole database; a listing of a few runs does not need it."""
        return self._store.lineage()

    def find(self, name: str) -> Run:
        """Returns the run with an id or a unique prefix of it, or the ``latest`` one.

        Raises:
            UserError: no run, or several, have that prefix.
        """
        if not self.ids:
            raise UserError(f"{self._folder.metadata_file} holds no run yet")
        if name == LATEST:
            return self.run(self.ids[-1])
        # Also accept the format of listings, with a blank instead of the T.
        wanted = name.replace(" ", "T", 1)
        found = [run for run in self.ids if run.startswith(wanted)] if wanted else []
        if name in self.ids:
            found = [name]
        if not found:
            raise UserError(f"no run's id starts with {name!r}; `runs list` shows the ids")
        if len(found) > 1:
            shown = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
            raise UserError(f"{len(found)} runs' ids start with {name!r} ({shown}); add to it")
        return self.run(found[0])

    def latest(self, count: int) -> list[Run]:
        """Returns the last ``count`` runs, newest first; 0 means all."""
        ids = self.ids[-count:] if count else self.ids
        if len(ids) > _MANY_RUNS:
            _ = self.lineage
        return [self.run(one) for one in reversed(ids)]

    def run(self, run_id: str, own: RunRecord | None = None) -> Run:
        """Returns a run by its full id and its record, which is read if None.

        A run that ML Metadata does not have ran no node.
        """
        own = own or record.read(self._folder, run_id)
        latest = self._lineage_of(run_id).latest(run_id)
        names = dict.fromkeys((*(own.nodes if own else ()), *latest))
        nodes = [NodeStatus(node, latest.get(node)) for node in names]
        # Execution ids give the order in which the nodes ran.
        nodes.sort(key=lambda one: one.execution.id if one.execution else float("inf"))
        started, ended = self._times(run_id, own)
        return Run(
            id=run_id,
            started=started,
            seconds=max(0.0, (ended - started).total_seconds()),
            state=self._state(run_id, own, [one.state for one in nodes]),
            nodes=tuple(nodes),
            record=own,
        )

    def latest_report(self) -> Path | None:
        """Returns the report of the latest run that has one; reads only runs since that one."""
        if not self._store.has_artifacts(REPORT_TYPE):
            return None
        pages = (self.run(run_id).report for run_id in reversed(self.ids))
        return next((page for page in pages if page is not None), None)

    @cached_property
    def usual_seconds(self) -> dict[str, float]:
        """{node: median seconds of its executions that were not cached}, over the last 50 runs."""
        taken: dict[str, list[float]] = {}
        for run_id in self.ids[-_USUAL_RUNS:]:
            for execution in self._lineage_of(run_id).runs.get(run_id, []):
                if execution.state is State.RAN:
                    taken.setdefault(execution.node, []).append(execution.seconds)
        return {node: statistics.median(seconds) for node, seconds in taken.items()}

    def _lineage_of(self, run_id: str) -> Lineage:
        if "lineage" in vars(self):
            return self.lineage
        if run_id not in self._read:
            self._read[run_id] = self._store.lineage(run_id)
        return self._read[run_id]

    def _times(self, run_id: str, own: RunRecord | None) -> tuple[datetime, datetime]:
        executions = self._lineage_of(run_id).runs.get(run_id, [])
        first = min((one.started for one in executions), default=0.0)
        last = max((one.updated for one in executions), default=0.0)
        started = (own and own.started) or datetime.fromtimestamp(first)
        ended = (own and own.finished) or datetime.fromtimestamp(last)
        return started.astimezone(), ended.astimezone()

    def _state(self, run_id: str, own: RunRecord | None, states: list[State]) -> RunState:
        complete = bool(states) and all(state.complete for state in states)
        if own is not None and own.exit_code is not None:
            if own.stopped:
                return RunState.STOPPED
            return RunState.COMPLETE if complete else RunState.FAILED
        if self._is_running(run_id, own):
            return RunState.RUNNING
        if State.FAILED in states:
            return RunState.FAILED
        return RunState.COMPLETE if complete else RunState.KILLED

    def _is_running(self, run_id: str, own: RunRecord | None) -> bool:
        """Returns True if the process that wrote the record holds the lock."""
        if own is None or self.ids[-1:] != [run_id]:
            return False
        holder = lock.holder(self._folder)
        if holder is None or (holder.pid, holder.host) != (own.pid, own.host):
            return False
        return own.host != socket.gethostname() or Path(f"/proc/{own.pid}").exists()
