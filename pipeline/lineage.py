"""The whole of a metadata database at once: runs, nodes, executions, artifacts and their links.

A handful of bulk queries, so that a database of a thousand runs is read in about a second.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from pipeline.store import NODE_CONTEXT, PIPELINE_CONTEXT, RUN_CONTEXT, connect

_OUTPUTS = (pb.Event.OUTPUT, pb.Event.DECLARED_OUTPUT)
_INPUTS = (pb.Event.INPUT, pb.Event.DECLARED_INPUT)


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
        pipelines: names of the pipelines.
        runs: {run id: ids of its executions, ascending}; runs ascending by id, which is by age.
        executions: by id.
        nodes: {execution id: node id}.
        artifacts: by id.
        inputs: {execution id: what it was given}.
        outputs: {execution id: what it put out; cached and looked up artifacts included}.
    """

    pipelines: tuple[str, ...]
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
            # A resolver's outputs are its inputs, a cached execution's were made by another.
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


def read(database: Path) -> Lineage:
    """Reads a database.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    return snapshot(connect(database))


def snapshot(store: mlmd.MetadataStore) -> Lineage:
    """Reads an open database."""
    executions = {execution.id: execution for execution in store.get_executions()}
    nodes = {
        execution.id: context.name.partition(".")[2]
        for context in store.get_contexts_by_type(NODE_CONTEXT)
        for execution in store.get_executions_by_context(context.id)
    }
    contexts = sorted(store.get_contexts_by_type(RUN_CONTEXT), key=lambda context: context.name)
    runs = {
        context.name: sorted(
            execution.id for execution in store.get_executions_by_context(context.id)
        )
        for context in contexts
    }
    inputs: dict[int, list[Link]] = {}
    outputs: dict[int, list[Link]] = {}
    for event in store.get_events_by_execution_ids(list(executions)) if executions else []:
        key = event.path.steps[0].key if event.path.steps else ""
        sides = inputs if event.type in _INPUTS else outputs if event.type in _OUTPUTS else None
        if sides is not None:
            sides.setdefault(event.execution_id, []).append(Link(key, event.artifact_id))
    return Lineage(
        pipelines=tuple(c.name for c in store.get_contexts_by_type(PIPELINE_CONTEXT)),
        runs=runs,
        executions=executions,
        nodes=nodes,
        artifacts={artifact.id: artifact for artifact in store.get_artifacts()},
        inputs=inputs,
        outputs=outputs,
    )
