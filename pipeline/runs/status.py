"""What ML Metadata says of a run: read through its public API, without importing TFX."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from components.executions import NODE_CONTEXT, RUN_CONTEXT, node_id
from pipeline.runs import causes
from pipeline.runs.store import connect

# As components.report.node and components.evaluation.node name them; importing those
# takes TFX.
REPORT_FILE = "report.html"
METRICS_FILE = "metrics.json"
_RESULT_PROPERTY = "__execution_result__"
_OUTPUTS = (pb.Event.OUTPUT, pb.Event.DECLARED_OUTPUT, pb.Event.INTERNAL_OUTPUT)
# Nodes that go through papers, and the counts of the Examples that say through how many.
_ALL_SPLITS = ("rows_train", "rows_eval", "rows_test")
_ROW_READERS = {
    "ParquetExampleGen": ("rows_read",),
    "StatisticsGen": _ALL_SPLITS,
    "Transform": _ALL_SPLITS,
    "Evaluator": ("rows_test",),
}


class State(str, Enum):
    """How a node ended in one run; the values are the words of the closing table."""

    RAN = "ran"
    CACHED = "cached"
    RESOLVED = "looked up"
    FAILED = "failed"
    UNFINISHED = "unfinished"
    NOT_RUN = "not run"

    @property
    def complete(self) -> bool:
        """True where the node's outputs are there."""
        return self in (State.RAN, State.CACHED, State.RESOLVED)


_STATES = {
    pb.Execution.COMPLETE: State.RAN,
    pb.Execution.CACHED: State.CACHED,
    pb.Execution.FAILED: State.FAILED,
}


@dataclass(frozen=True)
class NodeStatus:
    """One node in one run.

    Attributes:
        node: the node's id.
        state: how its latest execution in the run ended.
        seconds: from its registration to its last update; 0.0 where it was not run.
        cause: one line; empty unless ML Metadata holds the text of an error.
        execution_id: of its latest execution in the run; None where it was not run.
    """

    node: str
    state: State
    seconds: float = 0.0
    cause: str = ""
    execution_id: int | None = None


@dataclass(frozen=True)
class Verdict:
    """What came of the model.

    Attributes:
        blessed: the Evaluator's blessing; None where the run has no Evaluator's result.
        reasons: a sentence for each threshold that does not hold or, of a blessed model, for each.
        accuracy: on the test split, 0 to 1; None where it was not measured.
        macro_f1: on the test split, 0 to 1; None where it was not measured.
        cross_entropy: on the test split, nats; None where it was not measured.
        infra_blessed: the InfraValidator's blessing; None where the run has none.
        infra_reasons: a line for each check of its that failed.
        held_back: why a model that was blessed was not pushed all the same; empty where it was.
        pushed_to: the version folder for TF Serving; None where nothing was pushed. It may be gone.
        pushed_copy: the pushed model's copy among the artifacts; None where nothing was pushed.
        report: the run report's page; None where there is none.
    """

    blessed: bool | None = None
    reasons: tuple[str, ...] = ()
    accuracy: float | None = None
    macro_f1: float | None = None
    cross_entropy: float | None = None
    infra_blessed: bool | None = None
    infra_reasons: tuple[str, ...] = ()
    held_back: str = ""
    pushed_to: Path | None = None
    pushed_copy: Path | None = None
    report: Path | None = None


class RunStore:
    """A reader of one metadata database.

    Args:
        database: the SQLite file; it is created where it is absent.

    Raises:
        UserError: the file is there, but it is no database that can be read.
    """

    def __init__(self, database: Path) -> None:
        self._store = connect(database, create=True)

    def run_ids(self) -> set[str]:
        """Returns the ids of every run the database knows."""
        return {context.name for context in self._store.get_contexts_by_type(RUN_CONTEXT)}

    def cancel_unfinished(self) -> int:
        """Marks executions that a killed run left as running; call it only under the run lock.

        TFX never takes up such an execution again, and never takes it for a cached one. Left as
        they are they would only be shown as running for ever.

        Returns:
            How many there were.
        """
        stale = self._store.get_executions(
            list_options=mlmd.ListOptions(
                filter_query="last_known_state = RUNNING OR last_known_state = NEW"
            )
        )
        for execution in stale:
            execution.last_known_state = pb.Execution.CANCELED
        if stale:
            self._store.put_executions(stale)
        return len(stale)

    def nodes(self, run_id: str | None, expected: list[str]) -> list[NodeStatus]:
        """Returns the status of each expected node in one run, in the order given.

        Args:
            run_id: None where the run registered nothing.
            expected: ids of the nodes that the run should have had.
        """
        latest: dict[str, pb.Execution] = {}
        for execution in self._executions(run_id):
            for node in self._node_ids(execution):
                known = latest.get(node)
                if known is None or known.id < execution.id:
                    latest[node] = execution
        return [node_status(node, latest.get(node)) for node in expected]

    def rows_read(self, run_id: str, node: str) -> int | None:
        """Returns how many rows of papers a node read in a run; None where that is not known.

        Known is it of what reads a parquet file or tf.Examples whose splits' sizes are recorded,
        and goes through all of them.
        """
        (status,) = self.nodes(run_id, [node])
        if status.execution_id is None or node not in _ROW_READERS:
            return None
        events = self._store.get_events_by_execution_ids([status.execution_id])
        ids = {event.artifact_id for event in events}
        for artifact in self._store.get_artifacts_by_id(list(ids)) if ids else []:
            values = artifact.custom_properties
            rows = sum(values[name].int_value for name in _ROW_READERS[node] if name in values)
            if rows:
                return rows
        return None

    def outputs(self, execution_id: int) -> list[pb.Artifact]:
        """Returns the artifacts that an execution put out, cached ones included."""
        events = self._store.get_events_by_execution_ids([execution_id])
        ids = [event.artifact_id for event in events if event.type in _OUTPUTS]
        return list(self._store.get_artifacts_by_id(ids)) if ids else []

    def verdict(self, nodes: list[NodeStatus]) -> Verdict:
        """Returns what came of the model in the run that ``nodes`` describes."""
        outputs = {
            status.node: self.outputs(status.execution_id)
            for status in nodes
            if status.execution_id is not None and status.state.complete
        }
        return verdict_of(outputs)

    def _executions(self, run_id: str | None) -> list[pb.Execution]:
        if run_id is None:
            return []
        context = self._store.get_context_by_type_and_name(RUN_CONTEXT, run_id)
        if context is None:
            return []
        return list(self._store.get_executions_by_context(context.id))

    def _node_ids(self, execution: pb.Execution) -> list[str]:
        return [
            node_id(context)
            for context in self._store.get_contexts_by_execution(execution.id)
            if context.type == NODE_CONTEXT
        ]


def node_status(node: str, execution: pb.Execution | None) -> NodeStatus:
    """Returns the status of a node whose latest execution in a run is this; None: it has none."""
    if execution is None:
        return NodeStatus(node, State.NOT_RUN)
    milliseconds = execution.last_update_time_since_epoch - execution.create_time_since_epoch
    state = _STATES.get(execution.last_known_state, State.UNFINISHED)
    # A resolver only looks artifacts up; it has nothing to cache, and does so in every run.
    if state is State.RAN and execution.type.endswith(".Resolver"):
        state = State.RESOLVED
    cause = ""
    if state is State.FAILED:
        cause = _recorded_cause(execution)
    return NodeStatus(node, state, milliseconds / 1000, cause, execution.id)


def verdict_of(outputs: Mapping[str, Sequence[pb.Artifact]]) -> Verdict:
    """Returns what came of the model, given {node: what it put out in one run}."""
    blessed: bool | None = None
    for artifact in outputs.get("Evaluator", []):
        if "blessed" in artifact.custom_properties:
            blessed = artifact.custom_properties["blessed"].int_value == 1
    metrics: dict[str, Any] = {}
    for artifact in outputs.get("EvaluationSummary", []):
        metrics = read_metrics(Path(artifact.uri)) or _kept_metrics(artifact)
    overall = metrics.get("overall", {})
    infra_blessed: bool | None = None
    infra_reasons: list[str] = []
    for artifact in outputs.get("InfraValidator", []):
        infra_blessed = artifact.custom_properties["blessed"].int_value == 1
        infra_reasons = artifact.custom_properties["reasons"].string_value.splitlines()
    pushed_to = pushed_copy = None
    held_back = ""
    for artifact in outputs.get("Pusher", []):
        held_back = artifact.custom_properties["reason"].string_value
        destination = artifact.custom_properties["pushed_destination"].string_value
        if artifact.custom_properties["pushed"].int_value == 1 and destination:
            pushed_to, pushed_copy = Path(destination), Path(artifact.uri)
    report = None
    for artifact in outputs.get("RunReport", []):
        report = Path(artifact.uri) / REPORT_FILE
    return Verdict(
        blessed=blessed,
        reasons=tuple(str(reason) for reason in metrics.get("reasons", ())),
        accuracy=overall.get("accuracy"),
        macro_f1=overall.get("macro_f1"),
        cross_entropy=overall.get("cross_entropy"),
        infra_blessed=infra_blessed,
        infra_reasons=tuple(infra_reasons),
        held_back=held_back,
        pushed_to=pushed_to,
        pushed_copy=pushed_copy,
        report=report,
    )


def read_metrics(folder: Path) -> dict[str, Any]:
    """Reads ``metrics.json`` of an EvaluationSummary artifact; empty where there is none.

    Args:
        folder: the artifact's folder.
    """
    file = folder / METRICS_FILE
    if not file.is_file():
        return {}
    content = json.loads(file.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}


def _kept_metrics(artifact: pb.Artifact) -> dict[str, Any]:
    """Reads what ML Metadata keeps of a summary whose file is gone."""
    figures = {
        name: artifact.properties[name].double_value
        for name in ("accuracy", "macro_f1", "cross_entropy")
        if name in artifact.properties
    }
    reasons = (
        artifact.properties["reasons"].string_value if "reasons" in artifact.properties else ""
    )
    return {"overall": figures, "reasons": reasons.splitlines()}


def _recorded_cause(execution: pb.Execution) -> str:
    if _RESULT_PROPERTY not in execution.custom_properties:
        return ""
    try:
        result = json.loads(execution.custom_properties[_RESULT_PROPERTY].string_value)
    except ValueError:
        return ""
    message = result.get("resultMessage", "")
    return causes.from_traceback(message) if message else ""
