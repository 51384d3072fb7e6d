"""What earlier runs came to, out of ML Metadata and the runs' own records."""

from __future__ import annotations

import os
import socket
import statistics
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as pb

from components.errors import UserError
from components.executions import fingerprint
from pipeline.runs import lineage, lock, record
from pipeline.runs.lineage import Lineage
from pipeline.runs.record import RunRecord
from pipeline.runs.status import (
    REPORT_FILE,
    NodeStatus,
    State,
    Verdict,
    node_status,
    read_metrics,
    verdict_of,
)
from pipeline.runs.store import connect

EXAMPLES_NODE = "ParquetExampleGen"
METRICS_NODE = "EvaluationSummary"
REPORT_NODE = "RunReport"
REPORT_TYPE = "RunReport"
LATEST = "latest"

_USUAL_RUNS = 50
# Beyond as many, reading the whole database at once takes less time than run by run.
_MANY_RUNS = 50


class RunState(str, Enum):
    """How a run stands; the values are the words of the listings."""

    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    STOPPED = "stopped"
    KILLED = "killed"


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        id: in ML Metadata.
        started: when, with the zone of this machine.
        seconds: from its start to its last sign of life.
        state: how it stands. ``stopped`` is by Ctrl-C or SIGTERM; ``killed`` ended without a word.
        nodes: in order; those that it should have had, where its record says so.
        verdict: what came of the model.
        record: its own account; None for a run that left none.
    """

    id: str
    started: datetime
    seconds: float
    state: RunState
    nodes: tuple[NodeStatus, ...]
    verdict: Verdict
    record: RunRecord | None = None

    @property
    def failure(self) -> tuple[str, str] | None:
        """The node that failed and why, in one line; None where none did."""
        if self.record is not None and self.record.failed_node:
            return self.record.failed_node, self.record.cause
        for status in self.nodes:
            if status.state is State.FAILED:
                return status.node, status.cause or "the log says why"
        return None


class History:
    """The runs into one output folder.

    Attributes:
        ids: of all runs, oldest first.

    Args:
        database: the metadata database.
        output_dir: the folder with the runs' records.

    Raises:
        UserError: there is no database, or it cannot be read.
    """

    def __init__(self, database: Path, output_dir: Path) -> None:
        self._database = database
        self._output_dir = output_dir
        self._store = connect(database)
        self._read: dict[str, Lineage] = {}
        self.ids = lineage.run_ids(self._store)

    @cached_property
    def lineage(self) -> Lineage:
        """The whole database; a listing of a few runs does not need it."""
        return lineage.snapshot(self._store)

    def lineage_of(self, run_id: str) -> Lineage:
        """Returns what the database has of one run.

        Raises:
            KeyError: there is no such run.
        """
        if "lineage" in vars(self):
            return self.lineage
        if run_id not in self._read:
            self._read[run_id] = lineage.snapshot_of(self._store, run_id)
        return self._read[run_id]

    def put_out(self, run: Run, status: NodeStatus) -> list[pb.Artifact]:
        """Returns what a node put out in a run."""
        if status.execution_id is None:
            return []
        return self.lineage_of(run.id).put_out(status.execution_id)

    def find(self, name: str) -> Run:
        """Returns the run that a whole id, the unique head of one, or ``latest`` names.

        Raises:
            UserError: there is none, or several.
        """
        if not self.ids:
            raise UserError(f"{self._database} holds no run yet")
        if name == LATEST:
            return self.run(self.ids[-1])
        # What a listing shows, with a blank for the T and without the fractions, will do too.
        wanted = name.replace(" ", "T", 1)
        found = [run for run in self.ids if run.startswith(wanted)] if wanted else []
        if name in self.ids:
            found = [name]
        if not found:
            raise UserError(f"no run's id starts with {name!r}; `runs list` shows the ids")
        if len(found) > 1:
            shown = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
            raise UserError(f"{name!r} is the head of {len(found)} runs' ids ({shown}); add to it")
        return self.run(found[0])

    def latest(self, count: int) -> list[Run]:
        """Returns the last runs, newest first.

        Args:
            count: how many; 0 means all.
        """
        ids = self.ids[-count:] if count else self.ids
        if len(ids) > _MANY_RUNS:
            _ = self.lineage
        return [self.run(one) for one in reversed(ids)]

    def run(self, run_id: str) -> Run:
        """Returns one run by its whole id.

        Raises:
            KeyError: there is none.
        """
        data = self.lineage_of(run_id)
        own = record.read(self._output_dir, run_id)
        latest = data.latest(run_id)
        expected = [*own.nodes] if own and own.nodes else list(latest)
        # Nodes run in an order of their own; ids say which.
        expected.sort(key=lambda node: latest.get(node, 1 << 62))
        nodes = tuple(
            node_status(node, data.executions.get(latest.get(node, 0))) for node in expected
        )
        outputs = {
            status.node: data.put_out(status.execution_id)
            for status in nodes
            if status.execution_id is not None and status.state.complete
        }
        started, ended = self._times(run_id, own)
        return Run(
            id=run_id,
            started=started,
            seconds=max(0.0, (ended - started).total_seconds()),
            state=self._state(run_id, own, nodes),
            nodes=nodes,
            verdict=verdict_of(outputs),
            record=own,
        )

    def artifact(self, run: Run, node: str, key: str | None = None) -> pb.Artifact | None:
        """Returns what a node of a run put out (its first artifact, or the one under ``key``)."""
        data = self.lineage_of(run.id)
        execution = data.latest(run.id).get(node)
        found = data.put_out(execution, key) if execution is not None else []
        return found[0] if found else None

    def metrics(self, run: Run) -> dict[str, Any]:
        """Returns the content of a run's ``metrics.json``; empty where there is none."""
        found = self.artifact(run, METRICS_NODE)
        return read_metrics(Path(found.uri)) if found is not None else {}

    def data(self, run: Run) -> dict[str, Any]:
        """Returns the ingested data's figures: rows by fate and split, and the files' hash."""
        found = self.artifact(run, EXAMPLES_NODE)
        return properties(found) if found is not None else {}

    def code(self, run: Run) -> dict[str, str]:
        """Returns {node: hash of the sources that it used in a run}."""
        found = {}
        data = self.lineage_of(run.id)
        for node, execution in data.latest(run.id).items():
            used = fingerprint(data.executions[execution])
            if used:
                found[node] = used
        return found

    def report(self, run: Run) -> Path | None:
        """Returns a run's report page; None where it has none, or it is gone."""
        return self._page(run.id)

    def latest_report(self) -> Path | None:
        """Returns the page of the latest run that has one; reads the runs back to that one."""
        if not self._store.get_artifacts_by_type(REPORT_TYPE):
            return None
        pages = (self._page(run_id) for run_id in reversed(self.ids))
        return next((page for page in pages if page is not None), None)

    def _page(self, run_id: str) -> Path | None:
        data = self.lineage_of(run_id)
        execution = data.latest(run_id).get(REPORT_NODE)
        for artifact in data.put_out(execution) if execution is not None else []:
            if artifact.type == REPORT_TYPE and (Path(artifact.uri) / REPORT_FILE).is_file():
                return Path(artifact.uri) / REPORT_FILE
        return None

    @cached_property
    def usual_seconds(self) -> dict[str, float]:
        """{node: median seconds of its executions that did the work}, from the last 50 runs."""
        taken: dict[str, list[float]] = {}
        for run_id in self.ids[-_USUAL_RUNS:]:
            data = self.lineage_of(run_id)
            for number in data.runs[run_id]:
                node = data.nodes.get(number, "")
                status = node_status(node, data.executions[number])
                if status.state is State.RAN:
                    taken.setdefault(node, []).append(status.seconds)
        return {node: statistics.median(seconds) for node, seconds in taken.items()}

    def _times(self, run_id: str, own: RunRecord | None) -> tuple[datetime, datetime]:
        data = self.lineage_of(run_id)
        executions = [data.executions[one] for one in data.runs[run_id]]
        started = _parse_time(own.started if own else run_id)
        if started is None:
            first = min((one.create_time_since_epoch for one in executions), default=0)
            started = _from_milliseconds(first)
        ended = _parse_time(own.finished) if own else None
        if ended is None:
            last = max((one.last_update_time_since_epoch for one in executions), default=0)
            ended = _from_milliseconds(last)
        return started, ended

    def _state(self, run_id: str, own: RunRecord | None, nodes: tuple[NodeStatus, ...]) -> RunState:
        states = [status.state for status in nodes]
        if own is not None and own.exit_code is not None:
            if own.exit_code > 128:
                return RunState.STOPPED
            return RunState.COMPLETE if _all_complete(states) else RunState.FAILED
        if self._is_running(run_id, own):
            return RunState.RUNNING
        if State.FAILED in states:
            return RunState.FAILED
        return RunState.COMPLETE if _all_complete(states) else RunState.KILLED

    def _is_running(self, run_id: str, own: RunRecord | None) -> bool:
        """True where the process that wrote the record is the one that holds the lock."""
        if own is None or run_id != self.ids[-1]:
            return False
        holder = lock.holder(self._database)
        if holder is None or (holder.pid, holder.host) != (own.pid, own.host):
            return False
        return own.host != socket.gethostname() or _is_alive(own.pid)


def properties(artifact: pb.Artifact) -> dict[str, Any]:
    """Returns an artifact's properties as plain values, TFX's own book-keeping left out."""
    found: dict[str, Any] = {}
    for table in (artifact.properties, artifact.custom_properties):
        for name, value in table.items():
            kind = value.WhichOneof("value")
            if name not in ("tfx_version", "is_external") and kind in (
                "int_value",
                "double_value",
                "string_value",
                "bool_value",
            ):
                found[name] = getattr(value, kind)
    return found


def _all_complete(states: list[State]) -> bool:
    return bool(states) and all(state.complete for state in states)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _parse_time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone() if text else None
    except ValueError:
        return None


def _from_milliseconds(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, tz=timezone.utc).astimezone()
