"""What made the artifacts that a page tells of: nodes, times, code; read from ML Metadata."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from components import provenance

_RUN_CONTEXT = "pipeline_run"
_NODE_CONTEXT = "node"
_INPUTS = (pb.Event.INPUT, pb.Event.DECLARED_INPUT, pb.Event.INTERNAL_INPUT)
_OUTPUTS = (pb.Event.OUTPUT, pb.Event.DECLARED_OUTPUT, pb.Event.INTERNAL_OUTPUT)
# Inputs that an execution is compared with, not made from; their chain goes back to the first run.
_COMPARED = frozenset(("previous", "baseline_model", "served", "rolled_back"))
# In an execution property of its own, or inside one that holds JSON, however often escaped.
_FINGERPRINT = re.compile(r"fingerprint\W+([0-9a-f]{64})")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ArtifactRecord:
    """An artifact: its id in ML Metadata, type and folder."""

    id: int
    type: str
    uri: str


@dataclass(frozen=True)
class NodeRecord:
    """The execution that made one or more of the artifacts.

    Attributes:
      node: the node's id.
      run: id of the run in which it ran; later runs take it from the cache.
      execution: its id in ML Metadata.
      seconds: from its registration to its last update.
      fingerprint: hash of the sources that it uses, hex; empty where it runs stock code only.
      outputs: what it made, by id.
    """

    node: str
    run: str
    execution: int
    seconds: float
    fingerprint: str
    outputs: tuple[ArtifactRecord, ...]


@dataclass(frozen=True)
class Code:
    """The code that a page was made with.

    Attributes:
      commit: git's hash; empty where the code is in no repository.
      modified: whether tracked files differ from that commit.
    """

    commit: str
    modified: bool


def trace(database: Path, artifact_ids: Iterable[int]) -> list[NodeRecord]:
    """Lists the executions that artifacts come from, directly or through others, oldest first.

    What a run was only compared with, such as the model before, is not followed.

    Args:
      database: ML Metadata's SQLite file.
      artifact_ids: where to start.

    Returns:
      A record for each execution; nothing where the database is not there, as on a remote worker.
    """
    if not database.is_file():
        return []
    config = pb.ConnectionConfig()
    config.sqlite.filename_uri = str(database)
    config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READONLY
    store = mlmd.MetadataStore(config)
    makers: dict[int, pb.Execution] = {}
    seen: set[int] = set()
    waiting = set(artifact_ids)
    while waiting:
        seen |= waiting
        events = store.get_events_by_artifact_ids(sorted(waiting))
        # A cached execution puts out the same artifacts again: the first one made them.
        first: dict[int, int] = {}
        for event in events:
            if event.type in _OUTPUTS:
                known = first.get(event.artifact_id, event.execution_id)
                first[event.artifact_id] = min(known, event.execution_id)
        new = set(first.values()) - makers.keys()
        for execution in store.get_executions_by_id(sorted(new)):
            makers[execution.id] = execution
        inputs = store.get_events_by_execution_ids(sorted(new)) if new else []
        waiting = {event.artifact_id for event in inputs if _is_made_from(event)} - seen
    return [_record(store, makers[number]) for number in sorted(makers)]


def _is_made_from(event: pb.Event) -> bool:
    names = {step.key for step in event.path.steps if step.HasField("key")}
    return event.type in _INPUTS and not names & _COMPARED


def _record(store: mlmd.MetadataStore, execution: pb.Execution) -> NodeRecord:
    contexts = store.get_contexts_by_execution(execution.id)
    names = {context.type: context.name for context in contexts}
    made = store.get_events_by_execution_ids([execution.id])
    ids = sorted({event.artifact_id for event in made if event.type in _OUTPUTS})
    artifacts = store.get_artifacts_by_id(ids) if ids else []
    milliseconds = execution.last_update_time_since_epoch - execution.create_time_since_epoch
    return NodeRecord(
        node=names.get(_NODE_CONTEXT, "").partition(".")[2],
        run=names.get(_RUN_CONTEXT, ""),
        execution=execution.id,
        seconds=milliseconds / 1000,
        fingerprint=_fingerprint(execution),
        outputs=tuple(ArtifactRecord(one.id, one.type, one.uri) for one in artifacts),
    )


def _fingerprint(execution: pb.Execution) -> str:
    for properties in (execution.properties, execution.custom_properties):
        for name, value in properties.items():
            if name == "fingerprint" and _HASH.match(value.string_value):
                return value.string_value[:64]
            found = _FINGERPRINT.search(value.string_value)
            if found:
                return found.group(1)
    return ""


def code() -> Code:
    """Returns the commit of the checkout that this code is in."""
    commit = provenance.commit() or ""
    return Code(commit.removesuffix("-dirty"), commit.endswith("-dirty"))
