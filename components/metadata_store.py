"""The one reader of ML Metadata: which nodes ran in which run, and what they took and put out.

It needs no TFX and returns plain values. What this project itself writes into the database, marks
on what killed runs and removed folders left behind, is written here too.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from components.errors import UserError

# Inputs that a node compares with, or looks up, but makes nothing of; following them leads back to
# the first run.
COMPARED = frozenset(("baseline_model", "previous", "rolled_back", "served"))

# Names that TFX gives.
_RUN_CONTEXT = "pipeline_run"
_NODE_CONTEXT = "node"
_RESOLVER = ".Resolver"
_RESULT_PROPERTY = "__execution_result__"
_PLAIN_VALUES = ("int_value", "double_value", "string_value", "bool_value")
_BOOKKEEPING = ("tfx_version", "is_external")
# A resolver's events are of other kinds.
_INPUTS = (pb.Event.INPUT, pb.Event.DECLARED_INPUT)
_OUTPUTS = (pb.Event.OUTPUT, pb.Event.DECLARED_OUTPUT)
# Inside a property that holds JSON, however often escaped.
_FINGERPRINT = re.compile(r"\bfingerprint\W+([0-9a-f]{64})")


class State(str, Enum):
    """How a node ended in one run; the values are the words that people are shown."""

    RAN = "ran"
    CACHED = "cached"
    RESOLVED = "looked up"
    FAILED = "failed"
    UNFINISHED = "unfinished"
    NOT_RUN = "not run"

    @property
    def complete(self) -> bool:
        """True if the node's outputs are there."""
        return self in (State.RAN, State.CACHED, State.RESOLVED)


_STATES = {
    pb.Execution.COMPLETE: State.RAN,
    pb.Execution.CACHED: State.CACHED,
    pb.Execution.FAILED: State.FAILED,
}


@dataclass(frozen=True)
class Artifact:
    """An artifact.

    Attributes:
        id: in ML Metadata.
        type: name of its type.
        uri: its folder.
    """

    id: int
    type: str
    uri: str
    _message: Any = field(repr=False, compare=False)

    @property
    def state(self) -> str:
        """ML Metadata's word for it, such as LIVE or DELETED."""
        return str(pb.Artifact.State.Name(self._message.state))

    @property
    def alive(self) -> bool:
        """True if TFX takes it for usable."""
        return self.state in ("LIVE", "UNKNOWN")

    @cached_property
    def properties(self) -> dict[str, Any]:
        """Its numbers and strings by name; TFX's own bookkeeping is left out."""
        values = {**self._message.properties, **self._message.custom_properties}
        return {
            name: getattr(value, value.WhichOneof("value"))
            for name, value in values.items()
            if name not in _BOOKKEEPING and value.WhichOneof("value") in _PLAIN_VALUES
        }


@dataclass(frozen=True)
class Link:
    """An artifact as the input or output of an execution.

    Attributes:
        key: name of the input or output; empty if it has none.
        artifact: what was taken or put out.
    """

    key: str
    artifact: Artifact


@dataclass(frozen=True)
class Execution:
    """One execution of a node.

    Attributes:
        id: in ML Metadata; later executions have higher ones.
        node: the node's id.
        run: the run's id.
        inputs: what it was given.
        outputs: what it put out, cached artifacts included; nothing if it is a resolver's.
    """

    id: int
    node: str
    run: str
    inputs: tuple[Link, ...]
    outputs: tuple[Link, ...]
    _message: Any = field(repr=False, compare=False)

    @property
    def state(self) -> State:
        """How it ended."""
        state = _STATES.get(self._message.last_known_state, State.UNFINISHED)
        # A resolver only looks artifacts up, in every run; it has nothing to cache.
        looked_up = state is State.RAN and self._message.type.endswith(_RESOLVER)
        return State.RESOLVED if looked_up else state

    @property
    def started(self) -> float:
        """When it was registered, Unix time in seconds."""
        return float(self._message.create_time_since_epoch / 1000)

    @property
    def updated(self) -> float:
        """When it was last heard of, Unix time in seconds."""
        return float(self._message.last_update_time_since_epoch / 1000)

    @property
    def seconds(self) -> float:
        """From its registration to its last update."""
        return self.updated - self.started

    @property
    def left_running(self) -> bool:
        """True if ML Metadata takes it for running, as it does what a killed run left behind."""
        return self._message.last_known_state in (pb.Execution.RUNNING, pb.Execution.NEW)

    @property
    def made_from(self) -> list[Artifact]:
        """Its inputs without those that it only compares with."""
        return [link.artifact for link in self.inputs if link.key not in COMPARED]

    @property
    def put_out(self) -> list[Artifact]:
        """The artifacts of its outputs."""
        return [link.artifact for link in self.outputs]

    @property
    def fingerprint(self) -> str:
        """Hash of the project's sources that it used, hex; empty if it ran stock code only."""
        for properties in (self._message.properties, self._message.custom_properties):
            for name, value in properties.items():
                if name == "fingerprint" and value.string_value:
                    return str(value.string_value)
                found = _FINGERPRINT.search(value.string_value)
                if found:
                    return found.group(1)
        return ""

    @property
    def error(self) -> str:
        """The traceback or message that it ended with; empty if ML Metadata has none."""
        properties = self._message.custom_properties
        if _RESULT_PROPERTY not in properties:
            return ""
        try:
            result = json.loads(properties[_RESULT_PROPERTY].string_value)
        except ValueError:
            return ""
        return str(result.get("resultMessage", ""))


@dataclass(frozen=True)
class Lineage:
    """Executions, and the artifacts that link them.

    Attributes:
        executions: oldest first.
        artifacts: by id.
    """

    executions: tuple[Execution, ...]
    artifacts: Mapping[int, Artifact]

    @cached_property
    def runs(self) -> dict[str, list[Execution]]:
        """{run id: its executions, oldest first}."""
        found: dict[str, list[Execution]] = {}
        for execution in self.executions:
            found.setdefault(execution.run, []).append(execution)
        return found

    @cached_property
    def sources(self) -> dict[int, list[Execution]]:
        """{artifact id: every execution that put it out, cached ones included}."""
        return _by_artifact((e, e.put_out) for e in self.executions)

    @cached_property
    def users(self) -> dict[int, list[Execution]]:
        """{artifact id: every execution that made something of it}."""
        return _by_artifact((e, e.made_from) for e in self.executions)

    def latest(self, run_id: str) -> dict[str, Execution]:
        """Returns {node: its latest execution in a run}; empty if the run registered nothing."""
        return {one.node: one for one in self.runs.get(run_id, []) if one.node}

    def makers(self, artifacts: Iterable[int]) -> list[Execution]:
        """Returns the executions that artifacts come from, over any number of steps, oldest first.

        These are the ones that did the work: a cached execution puts out what another made.
        """
        found: dict[int, Execution] = {}
        waiting = list(artifacts)
        while waiting:
            for maker in self.sources.get(waiting.pop(), []):
                if maker.state is State.RAN and maker.id not in found:
                    found[maker.id] = maker
                    waiting += [artifact.id for artifact in maker.made_from]
        return [found[one] for one in sorted(found)]

    def descendants(self, artifacts: Iterable[int]) -> set[int]:
        """Returns the artifacts that were made from these, over any number of steps."""
        found: set[int] = set()
        waiting = list(artifacts)
        while waiting:
            for user in self.users.get(waiting.pop(), []):
                new = {artifact.id for artifact in user.put_out} - found
                found |= new
                waiting += new
        return found


class MetadataStore:
    """An ML Metadata database.

    Attributes:
        connection: ML Metadata's own object.

    Args:
        database: the SQLite file.
        write: True opens it for writing too.
        create: True also makes it if it is not there.

    Raises:
        UserError: there is none, or it cannot be read.
    """

    def __init__(self, database: Path, *, write: bool = False, create: bool = False) -> None:
        if not create and not database.is_file():
            raise UserError(
                f"{database}: there is no such database, so no run has been made into that folder; "
                "name another one with --config or --output-dir, or start a run"
            )
        config = pb.ConnectionConfig()
        config.sqlite.filename_uri = os.fspath(database)
        modes = pb.SqliteMetadataSourceConfig
        mode = modes.READWRITE if write else modes.READONLY
        config.sqlite.connection_mode = modes.READWRITE_OPENCREATE if create else mode
        try:
            self.connection = mlmd.MetadataStore(config)
            # Damage beyond the first pages shows only when something is asked for.
            self.run_ids()
        except Exception as error:
            # ML Metadata appends the whole query, after two blanks.
            cause = str(error).partition(" query:  ")[0]
            raise UserError(
                f"{database} is not a readable ML Metadata database: {cause}; "
                "move it away to start anew"
            ) from error

    def run_ids(self) -> list[str]:
        """Returns the ids of all runs, oldest first: they are local times as ISO 8601."""
        return sorted(
            context.name for context in self.connection.get_contexts_by_type(_RUN_CONTEXT)
        )

    def lineage(self, run_id: str | None = None) -> Lineage:
        """Reads the executions of one run with the artifacts that they link, or the whole database.

        Args:
            run_id: nothing is returned of a run that registered nothing; None reads all runs.
        """
        store = self.connection
        if run_id is None:
            executions = store.get_executions()
            kinds = map(store.get_contexts_by_type, (_RUN_CONTEXT, _NODE_CONTEXT))
            places = [
                (context, execution.id)
                for context in itertools.chain(*kinds)
                for execution in store.get_executions_by_context(context.id)
            ]
        else:
            run = store.get_context_by_type_and_name(_RUN_CONTEXT, run_id)
            executions = store.get_executions_by_context(run.id) if run is not None else []
            places = [
                (context, execution.id)
                for execution in executions
                for context in store.get_contexts_by_execution(execution.id)
            ]
        names = {(context.type, execution): str(context.name) for context, execution in places}
        ids = sorted(execution.id for execution in executions)
        events = store.get_events_by_execution_ids(ids) if ids else []
        linked = sorted({event.artifact_id for event in events})
        if run_id is None:
            found = store.get_artifacts()
        else:
            found = store.get_artifacts_by_id(linked) if linked else []
        artifacts = {one.id: Artifact(one.id, one.type, one.uri, one) for one in found}
        links: dict[tuple[int, bool], list[Link]] = {}
        for event in events:
            if event.type in (*_INPUTS, *_OUTPUTS):
                key = next((str(step.key) for step in event.path.steps if step.HasField("key")), "")
                side = links.setdefault((event.execution_id, event.type in _OUTPUTS), [])
                side.append(Link(key, artifacts[event.artifact_id]))
        return Lineage(
            tuple(
                Execution(
                    id=one.id,
                    # A node's context is named <pipeline>.<node>.
                    node=names.get((_NODE_CONTEXT, one.id), "").partition(".")[2],
                    run=names.get((_RUN_CONTEXT, one.id), ""),
                    inputs=tuple(links.get((one.id, False), ())),
                    outputs=tuple(links.get((one.id, True), ())),
                    _message=one,
                )
                for one in sorted(executions, key=lambda one: one.id)
            ),
            artifacts,
        )

    def has_artifacts(self, type_name: str) -> bool:
        """Returns whether there is, or was, any artifact of a type."""
        return bool(self.connection.get_artifacts_by_type(type_name))

    def cancel_unfinished(self) -> int:
        """Marks executions that a killed run left as running; call it only under the run lock.

        TFX neither goes on with such an execution nor takes it for a cached one. Without the mark
        it would be shown as running for ever.

        Returns:
            How many there were.
        """
        stale = self.connection.get_executions(
            list_options=mlmd.ListOptions(
                filter_query="last_known_state = RUNNING OR last_known_state = NEW"
            )
        )
        for execution in stale:
            execution.last_known_state = pb.Execution.CANCELED
        if stale:
            self.connection.put_executions(stale)
        return len(stale)

    def mark_deleted(self, artifacts: Iterable[int]) -> None:
        """Marks artifacts as deleted: TFX neither resolves one nor takes it from the cache."""
        ids = list(artifacts)
        messages = self.connection.get_artifacts_by_id(ids) if ids else []
        for message in messages:
            message.state = pb.Artifact.DELETED
        if messages:
            self.connection.put_artifacts(messages)


def _by_artifact(
    pairs: Iterable[tuple[Execution, list[Artifact]]],
) -> dict[int, list[Execution]]:
    found: dict[int, list[Execution]] = {}
    for execution, artifacts in pairs:
        for artifact in artifacts:
            found.setdefault(artifact.id, []).append(execution)
    return found
