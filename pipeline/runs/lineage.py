"""A metadata database, or one run in it: nodes, executions, artifacts and their links."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from components.executions import INPUTS, NODE_CONTEXT, OUTPUTS, RUN_CONTEXT, key_of, node_id


@dataclass(frozen=True)
class Link:
    """An artifact at an execution.

    Attributes:
        key: the input's or output's name.
        artifact: the artifact's id.
    """

    key: str
    artifact: int


@dataclass(frozen=True)
class Lineage:
    """A snapshot.

    Attributes:
        runs: {run id: ids of its executions, ascending}; runs ascending by id, which is by age.
        executions: by id.
        nodes: {execution id: node id}.
        artifacts: by id.
        inputs: {execution id: what it was given}.
        outputs: {execution id: what it put out, cached artifacts included; none of a resolver}.
    """

    runs: dict[str, list[int]]
    executions: dict[int, pb.Execution]
    nodes: dict[int, str]
    artifacts: dict[int, pb.Artifact]
    inputs: dict[int, list[Link]]
    outputs: dict[int, list[Link]]

    def latest(self, run_id: str) -> dict[str, int]:
        """Returns {node: its latest execution in a run}, in the order of execution."""
        return {self.nodes[one]: one for one in self.runs[run_id] if one in self.nodes}

    def put_out(self, execution: int, key: str | None = None) -> list[pb.Artifact]:
        """Returns what an execution put out, all of it or under one name."""
        links = self.outputs.get(execution, [])
        return [
            self.artifacts[link.artifact]
            for link in links
            if key in (None, link.key) and link.artifact in self.artifacts
        ]

    def ancestors(self, artifacts: Iterable[int]) -> set[int]:
        """Returns the artifacts that these were made from, over any number of steps, and these."""
        makers: dict[int, list[int]] = {}
        for execution, links in self.outputs.items():
            # A cached execution's outputs were made by another.
            if self.executions[execution].last_known_state == pb.Execution.COMPLETE:
                for link in links:
                    makers.setdefault(link.artifact, []).append(execution)
        found: set[int] = set()
        waiting = list(artifacts)
        while waiting:
            artifact = waiting.pop()
            if artifact in found:
                continue
            found.add(artifact)
            for maker in makers.get(artifact, []):
                waiting += [link.artifact for link in self.inputs.get(maker, [])]
        return found


def run_ids(store: mlmd.MetadataStore) -> list[str]:
    """Returns the ids of every run, oldest first."""
    return sorted(context.name for context in store.get_contexts_by_type(RUN_CONTEXT))


def snapshot(store: mlmd.MetadataStore) -> Lineage:
    """Reads the whole of an open database."""
    nodes = {
        execution.id: node_id(context)
        for context in store.get_contexts_by_type(NODE_CONTEXT)
        for execution in store.get_executions_by_context(context.id)
    }
    contexts = sorted(store.get_contexts_by_type(RUN_CONTEXT), key=lambda context: context.name)
    return _assemble(store, store.get_executions(), nodes, contexts, store.get_artifacts())


def snapshot_of(store: mlmd.MetadataStore, run_id: str) -> Lineage:
    """Reads one run: its executions, and the artifacts that these were given and put out."""
    context = store.get_context_by_type_and_name(RUN_CONTEXT, run_id)
    if context is None:
        raise KeyError(run_id)
    executions = store.get_executions_by_context(context.id)
    nodes = {
        execution.id: node_id(other)
        for execution in executions
        for other in store.get_contexts_by_execution(execution.id)
        if other.type == NODE_CONTEXT
    }
    return _assemble(store, executions, nodes, [context], None)


def _assemble(
    store: mlmd.MetadataStore,
    executions: Iterable[pb.Execution],
    nodes: dict[int, str],
    contexts: Iterable[pb.Context],
    artifacts: Iterable[pb.Artifact] | None,
) -> Lineage:
    by_id = {execution.id: execution for execution in executions}
    inputs: dict[int, list[Link]] = {}
    outputs: dict[int, list[Link]] = {}
    linked: set[int] = set()
    for event in store.get_events_by_execution_ids(list(by_id)) if by_id else []:
        key = key_of(event)
        sides = inputs if event.type in INPUTS else outputs if event.type in OUTPUTS else None
        if sides is not None:
            sides.setdefault(event.execution_id, []).append(Link(key, event.artifact_id))
            linked.add(event.artifact_id)
    if artifacts is None:
        artifacts = store.get_artifacts_by_id(list(linked)) if linked else []
    return Lineage(
        runs={
            context.name: sorted(
                execution.id for execution in store.get_executions_by_context(context.id)
            )
            for context in contexts
        },
        executions=by_id,
        nodes=nodes,
        artifacts={artifact.id: artifact for artifact in artifacts},
        inputs=inputs,
        outputs=outputs,
    )
