"""What made the artifacts that a page tells of: nodes, times, code; read from ML Metadata."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from components import provenance
from components.executions import (
    COMPARED,
    INPUTS,
    NODE_CONTEXT,
    OUTPUTS,
    RUN_CONTEXT,
    fingerprint,
    key_of,
    node_id,
)


@dataclass(frozen=True)
class ArtifactRecord:
    """An artifact: its id in ML Metadata, type and folder."""

    id: int
    type: str
    uri: str


@dataclass(frozen=True)
class NodeRecord:
    """An execution: one that made some of the artifacts, or another of the run.

    Attributes:
      node: the node's id.
      run: id of the run in which it ran; later runs take it from the cache.
      execution: its id in ML Metadata.
      seconds: from its registration to its last update.
      fingerprint: hash of the sources that it uses, hex; empty where it runs stock code only.
      outputs: what it made, by id; nothing where it only looked artifacts up.
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


def trace(database: Path, artifact_ids: Iterable[int], run: str = "") -> list[NodeRecord]:
    """Lists the executions that artifacts come from, directly or through others, oldest first.

    What a run was only compared with, such as the model before, is not followed.

    Args:
      database: ML Metadata's SQLite file.
      artifact_ids: where to start.
      run: whose other executions are listed too, as far as they are complete.

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
            if event.type in OUTPUTS:
                known = first.get(event.artifact_id, event.execution_id)
                first[event.artifact_id] = min(known, event.execution_id)
        new = set(first.values()) - makers.keys()
        for execution in store.get_executions_by_id(sorted(new)):
            makers[execution.id] = execution
        inputs = store.get_events_by_execution_ids(sorted(new)) if new else []
        waiting = {event.artifact_id for event in inputs if _is_made_from(event)} - seen
    context = store.get_context_by_type_and_name(RUN_CONTEXT, run) if run else None
    if context is not None:
        for execution in store.get_executions_by_context(context.id):
            # One taken from the cache is told of by the execution that did the work.
            if execution.last_known_state == pb.Execution.COMPLETE:
                makers[execution.id] = execution
    return [_record(store, makers[number]) for number in sorted(makers)]


def _is_made_from(event: pb.Event) -> bool:
    return event.type in INPUTS and key_of(event) not in COMPARED


def _record(store: mlmd.MetadataStore, execution: pb.Execution) -> NodeRecord:
    contexts = store.get_contexts_by_execution(execution.id)
    names = {context.type: context for context in contexts}
    made = store.get_events_by_execution_ids([execution.id])
    ids = sorted({event.artifact_id for event in made if event.type in OUTPUTS})
    artifacts = store.get_artifacts_by_id(ids) if ids else []
    milliseconds = execution.last_update_time_since_epoch - execution.create_time_since_epoch
    return NodeRecord(
        node=node_id(names[NODE_CONTEXT]) if NODE_CONTEXT in names else "",
        run=names[RUN_CONTEXT].name if RUN_CONTEXT in names else "",
        execution=execution.id,
        seconds=milliseconds / 1000,
        fingerprint=fingerprint(execution),
        outputs=tuple(ArtifactRecord(one.id, one.type, one.uri) for one in artifacts),
    )


def code() -> Code:
    """Returns the commit of the checkout that this code is in."""
    commit = provenance.commit() or ""
    return Code(commit.removesuffix("-dirty"), commit.endswith("-dirty"))
