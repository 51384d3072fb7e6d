"""Reads ML Metadata without TFX: which nodes ran in which run, with which inputs and outputs.

Also marks the executions of killed runs and the artifacts of removed folders.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

import ml_metadata as mlmd
from google.protobuf.message import DecodeError
from ml_metadata import errors
from ml_metadata.proto import metadata_store_pb2 as pb

from components.errors import UserError, advised

# Inputs that a node only compares with or looks up. Following them as lineage would lead back to
# the first run.
COMPARED = frozenset(("baseline_model", "previous", "rolled_back", "served"))

# TFX's names.
_RUN_CONTEXT = "pipeline_run"
_NODE_CONTEXT = "node"
_RESOLVER = ".Resolver"
_RESULT_PROPERTY = "__execution_result__"
_PLAIN_VALUES = ("int_value", "double_value", "string_value", "bool_value")
_BOOKKEEPING = ("tfx_version", "is_external")
# A resolver's events have other types.
_INPUTS = (pb.Event.INPUT, pb.Event.DECLARED_INPUT)
_OUTPUTS = (pb.Event.OUTPUT, pb.Event.DECLARED_OUTPUT)
# ML Metadata prints its errors before it raises them.
logging.getLogger("absl").addFilter(lambda one: not str(one.msg).startswith("mlmd client "))
# Its messages hold whole queries.
_SQLITE_SAYS = re.compile(r"executing query: (.*?)(?: query: |$)", re.DOTALL)
# Inside a property that holds JSON, escaped any number of times.
_FINGERPRINT = re.compile(r"\bfingerprint\W+([0-9a-f]{64})")


class State(str, Enum):
    """How a node ended in one run; the values are shown to users."""

    RAN = "ran"
    CACHED = "cached"
    RESOLVED = "looked up"
    FAILED = "failed"
    UNFINISHED = "unfinished"
    NOT_RUN = "not run"

    @property
    def complete(self) -> bool:
        """Whether the node's outputs exist."""
        return self in (State.RAN, State.CACHED, State.RESOLVED)


_STATES = {
    pb.Execution.COMPLETE: State.RAN,
    pb.Execution.CACHED: State.CACHED,
    pb.Execution.FAILED: State.FAILED,
}


@dataclass(frozen=True)
class Artifact:
    """An artifact in ML Metadata; ``type`` is its type's name, ``uri`` its folder."""

    id: int
    type: str
    uri: str
    _message: Any = field(repr=False, compare=False)

    @property
    def state(self) -> str:
        """State in ML Metadata, such as LIVE or DELETED."""
        return str(pb.Artifact.State.Name(self._message.state))

    @property
    def alive(self) -> bool:
        """Whether TFX considers it usable."""
        return self.state in ("LIVE", "UNKNOWN")

    @cached_property
    def properties(self) -> dict[str, Any]:
        """Numbers and strings by name, without TFX's bookkeeping."""
        values = {**self._message.properties, **self._message.custom_properties}
        return {
            name: getattr(value, value.WhichOneof("value"))
            for name, value in values.items()
            if name not in _BOOKKEEPING and value.WhichOneof("value") in _PLAIN_VALUES
        }


@dataclass(frozen=True)
class Link:
    """An input or output of an execution; ``key`` is its name, empty if it has none."""

    key: str
    artifact: Artifact


@dataclass(frozen=True)
class Execution:
    """One execution of a node in a run; later ones have higher ids.

    Its outputs include cached ones; a resolver has none.
    """

    id: int
    node: str
    run: str
    inputs: tuple[Link, ...]
    outputs: tuple[Link, ...]
    _message: Any = field(repr=False, compare=False)

    @property
    def state(self) -> State:
        state = _STATES.get(self._message.last_known_state, State.UNFINISHED)
        # A resolver only looks artifacts up, in every run; it has nothing to cache.
        looked_up = state is State.RAN and self._message.type.endswith(_RESOLVER)
        return State.RESOLVED if looked_up else state

    @property
    def started(self) -> float:
        """Time of registration, Unix time in seconds."""
        return float(self._message.create_time_since_epoch / 1000)

    @property
    def updated(self) -> float:
        """Time of the last update, Unix time in seconds."""
        return float(self._message.last_update_time_since_epoch / 1000)

    @property
    def seconds(self) -> float:
        """Seconds from registration to the last update."""
        return self.updated - self.started

    @property
    def left_running(self) -> bool:
        """Whether ML Metadata considers it running; true of executions that a killed run left."""
        return self._message.last_known_state in (pb.Execution.RUNNING, pb.Execution.NEW)

    @property
    def made_from(self) -> list[Artifact]:
        """Input artifacts except those in :data:`COMPARED`."""
        return [link.artifact for link in self.inputs if link.key not in COMPARED]

    @property
    def put_out(self) -> list[Artifact]:
        return [link.artifact for link in self.outputs]

    @property
    def fingerprint(self) -> str:
        """Hex hash of the project's sources that it used; empty if it ran only TFX's own code."""
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
        """Traceback or message of its failure; empty if ML Metadata has none."""
        properties = self._message.custom_properties
        if _RESULT_PROPERTY not in properties:
            return ""
        try:
            result = json.loads(properties[_RESULT_PROPERTY].string_value)
            return str(result.get("resultMessage", ""))
        except (ValueError, AttributeError):
            return ""


@dataclass(frozen=True)
class Lineage:
    """Executions, oldest first, and the artifacts that link them, by id."""

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
        """{artifact id: all executions that output it, including cached ones}."""
        return _by_artifact((e, e.put_out) for e in self.executions)

    @cached_property
    def users(self) -> dict[int, list[Execution]]:
        """{artifact id: all executions whose outputs depend on it}."""
        return _by_artifact((e, e.made_from) for e in self.executions)

    def latest(self, run_id: str) -> dict[str, Execution]:
        """Returns {node: its latest execution in a run}; empty for an unknown run."""
        return {one.node: one for one in self.runs.get(run_id, []) if one.node}

    def makers(self, artifacts: Iterable[int]) -> list[Execution]:
        """Returns all upstream executions of artifacts, oldest first.

        Only those that did the work: a cached execution outputs what another one made.
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
        """Returns the ids of all downstream artifacts."""
        found: set[int] = set()
        waiting = list(artifacts)
        while waiting:
            for user in self.users.get(waiting.pop(), []):
                new = {artifact.id for artifact in user.put_out} - found
                found |= new
                waiting += new
        return found


class _Connection(mlmd.MetadataStore):  # type: ignore[misc]
    """ML Metadata's connection; a database that fails is a ``UserError`` of one line.

    What is only absent, or there already, stays an exception of ML Metadata's.
    """

    def __init__(self, config: pb.ConnectionConfig, database: Path) -> None:
        self._database = database
        super().__init__(config)

    def _call_method(self, *arguments: Any) -> None:
        try:
            super()._call_method(*arguments)
        except (errors.InternalError, errors.DataLossError, DecodeError, UnicodeError) as error:
            raise _failure(self._database, error) from error


def _failure(database: Path, error: BaseException) -> UserError:
    """Returns an error of a database as one line."""
    found = _SQLITE_SAYS.search(str(error))
    cause = " ".join((found[1] if found else str(error)).split())[:200] or type(error).__name__
    if advised(cause) != cause:
        return UserError(f"{database}: {advised(cause)}")
    return UserError(
        f"{database} is not a readable ML Metadata database: {cause}; move it away to start anew"
    )


def _is_there(database: Path, mode: int) -> bool:
    """Returns whether a database exists.

    Raises:
        UserError: it exists, and this user has no access to it in a mode of ``os.access``.
    """
    try:
        found = database.is_file()
    except OSError as error:
        raise UserError(
            f"{database}: {error.strerror}; mend the folder's permissions, or name another one"
        ) from error
    if found and not os.access(database, mode):
        may = "written to" if os.access(database, os.R_OK) else "read"
        raise UserError(
            f"{database}: cannot be {may} by this user; mend its permissions, or name another "
            "output folder"
        )
    return found


class MetadataStore:
    """An ML Metadata database.

    Attributes:
        connection: the ``ml_metadata.MetadataStore``.

    Args:
        database: the SQLite file.
        write: opens it for writing, too.
        create: also creates it if missing; implies ``write``.

    Raises:
        UserError: the database is missing or unreadable or, to be written, read-only. Any later
            call may raise it, too: damage beyond the first pages shows only in a query.
    """

    def __init__(self, database: Path, *, write: bool = False, create: bool = False) -> None:
        found = _is_there(database, os.R_OK | (os.W_OK if write or create else 0))
        if not found and not create:
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
            self.connection = _Connection(config, database)
            self.run_ids()
        except UserError:
            raise
        except Exception as error:
            raise _failure(database, error) from error

    def run_ids(self) -> list[str]:
        """Returns the ids of all runs in the order in which they began, oldest first.

        The ids hold local times, which a clock set back, a time zone or the end of daylight saving
        time puts out of order. ML Metadata's own numbers only grow.
        """
        contexts = self.connection.get_contexts_by_type(_RUN_CONTEXT)
        return [context.name for context in sorted(contexts, key=lambda one: one.id)]

    def lineage(self, run_id: str | None = None) -> Lineage:
        """Reads the lineage of one run, empty if it is unknown, or with None of all runs."""
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
            # In a damaged database an artifact may be missing.
            if event.type in (*_INPUTS, *_OUTPUTS) and event.artifact_id in artifacts:
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
        """Returns whether any artifact of a type was ever registered."""
        return bool(self.connection.get_artifacts_by_type(type_name))

    def cancel_unfinished(self) -> int:
        """Cancels executions that a killed run left running, and returns their number.

        Call it only under the run lock. TFX neither resumes such an execution nor uses it as a
        cached one, but it would be shown as running forever.
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
        """Marks artifacts as deleted, so that TFX neither resolves nor reuses them."""
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
