"""A run's own record: one JSON file per run, beside ML Metadata.

ML Metadata has each node's inputs and parameters, but neither the other settings nor that a run was
killed. So each run writes a record before its first node, with the resolved configuration, the
commit and the versions, and again at its end, with its outcome.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from components import atomic, provenance
from components.contracts.record import Record
from components.metadata_store import MetadataStore
from pipeline.runs.layout import OutputFolder

# Blanks at the end of a run's first record: room for its outcome where the disk is full by then.
_ROOM = 4096


class RunRecord(Record):
    """A run's own record; a key that an old file lacks takes its default.

    Attributes:
        format: version of the file's format.
        run_id: its id in ML Metadata.
        started: start time in UTC (old files: with their zone's offset); None if a file lacks it.
        command: the command that resumes it.
        pid, host: the process that holds the output folder's lock, and its machine.
        commit: of the code, with "-dirty" appended if files differed from it; empty outside git.
        versions: {distribution: version}, including Python's.
        configuration: the resolved configuration as nested JSON values; every path is absolute.
        nodes: ids of the run's nodes, in order.
        finished: end time in UTC; None while it runs, and if it was killed.
        exit_code: see ``pipeline.launch.pipeline_run.run``; None until it has ended.
        failed_node: the first node without a result; empty if all have one.
        cause: of the failure, in one line; empty if there was none.
    """

    format: int = 1
    run_id: str = ""
    started: datetime | None = None
    command: str = ""
    log_file: str = ""
    pid: int = 0
    host: str = ""
    commit: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    configuration: dict[str, Any] = Field(default_factory=dict)
    nodes: tuple[str, ...] = ()
    finished: datetime | None = None
    exit_code: int | None = None
    failed_node: str = ""
    cause: str = ""

    @field_validator("started", "finished", mode="before")
    @classmethod
    def _none_if_empty(cls, value: Any) -> Any:
        """Takes the empty text that older files have where a time is missing."""
        return value or None

    @property
    def stopped(self) -> bool:
        """Whether a signal ended the run."""
        return self.exit_code is not None and self.exit_code > 128

    def ended(self, exit_code: int, failed_node: str = "", cause: str = "") -> RunRecord:
        """Returns a copy of the record with the outcome, finished now."""
        return self.model_copy(
            update={
                "finished": _now(),
                "exit_code": exit_code,
                "failed_node": failed_node,
                "cause": cause,
            }
        )


def begin(
    run_id: str,
    configuration: dict[str, Any],
    nodes: Iterable[str],
    command: str,
    log_file: Path,
    pid: int,
) -> RunRecord:
    """Returns the record of a run that starts now on this machine; ``pid`` holds its lock."""
    return RunRecord(
        run_id=run_id,
        started=_now(),
        command=command,
        log_file=os.fspath(log_file),
        pid=pid,
        host=socket.gethostname(),
        commit=provenance.commit() or "",
        versions=provenance.versions(),
        configuration=configuration,
        nodes=tuple(nodes),
    )


def write(folder: OutputFolder, own: RunRecord) -> None:
    """Writes a run's record; on a full disk, over its first one.

    Raises:
        OSError: it can be written neither way.
    """
    file, text = folder.record_file(own.run_id), own.to_json()
    try:
        atomic.write_text(file, text if own.finished else f"{text:{len(text) + _ROOM}}")
    except OSError:
        size = file.stat().st_size if file.is_file() else 0
        if len(text) > size:
            raise
        with file.open("r+b") as stream:
            stream.write(f"{text:{size}}".encode())


def read(folder: OutputFolder, run_id: str) -> RunRecord | None:
    """Returns a run's record; None if it is missing or cannot be read."""
    return RunRecord.find(folder.record_file(run_id))


def read_all(folder: OutputFolder) -> dict[str, RunRecord]:
    """Returns {run id: record} of all readable records."""
    records = map(RunRecord.find, sorted(folder.record_dir.glob("*.json")))
    return {one.run_id: one for one in records if one is not None and one.run_id}


def latest_configuration(folder: OutputFolder) -> dict[str, Any]:
    """Returns the configuration of the run that began last; empty if no run has a record."""
    if not folder.metadata_file.is_file():
        return {}
    records = read_all(folder)
    began = reversed(MetadataStore(folder.metadata_file).run_ids())
    return next((records[one].configuration for one in began if one in records), {})


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)
