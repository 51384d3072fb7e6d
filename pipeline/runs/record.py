"""What a run says of itself: one JSON file a run, beside ML Metadata.

ML Metadata keeps what each node was given, but no setting that no node takes, and not that a run
was killed. So each run writes a record before its first node, with the resolved configuration, the
code and the versions, and once more at its end with what it came to.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from components import atomic, provenance
from pipeline.runs.layout import OutputFolder


class RunRecord(BaseModel):
    """A run's own account; a key that an old file lacks takes its default.

    Attributes:
        format: of the file.
        run_id: its id in ML Metadata.
        started: when; None if an old file does not say.
        command: what a person types to resume it.
        log_file: its full log.
        pid: of the process.
        host: that it ran on.
        commit: of the code, "-dirty" appended if files differed from it; empty outside git.
        versions: {distribution: version}, and Python's.
        configuration: the resolved configuration as nested JSON values; every path is absolute.
        nodes: ids of the run's nodes, in order.
        finished: when; None while it runs, and for ever if it was killed.
        exit_code: see ``pipeline.launch.pipeline_run.run``; None until it has ended.
        failed_node: the first node without a result; empty if all have one.
        cause: of the failure, in one line; empty if there was none.
    """

    model_config = ConfigDict(frozen=True)

    format: int = 1
    run_id: str
    started: datetime | None = None
    command: str = ""
    log_file: str = ""
    pid: int = 0
    host: str = ""
    commit: str = ""
    versions: dict[str, str] = {}
    configuration: dict[str, Any] = {}
    nodes: tuple[str, ...] = ()
    finished: datetime | None = None
    exit_code: int | None = None
    failed_node: str = ""
    cause: str = ""

    def write(self, folder: OutputFolder) -> None:
        """Writes the record, whole or not at all.

        Raises:
            OSError: the folder cannot be written to.
        """
        text = self.model_dump_json(indent=2)
        atomic.write_text(folder.record_file(self.run_id), text + "\n")

    def ended(self, exit_code: int, failed_node: str = "", cause: str = "") -> RunRecord:
        """Returns the record of the same run with what it came to, as of now."""
        return self.model_copy(
            update={
                "finished": _now(),
                "exit_code": exit_code,
                "failed_node": failed_node,
                "cause": cause,
            }
        )


def begin(
    run_id: str, configuration: dict[str, Any], nodes: Iterable[str], command: str, log_file: Path
) -> RunRecord:
    """Returns the record of a run that starts now, in this process."""
    return RunRecord(
        run_id=run_id,
        started=_now(),
        command=command,
        log_file=os.fspath(log_file),
        pid=os.getpid(),
        host=socket.gethostname(),
        commit=provenance.commit() or "",
        versions=provenance.versions(),
        configuration=configuration,
        nodes=tuple(nodes),
    )


def read(folder: OutputFolder, run_id: str) -> RunRecord | None:
    """Returns a run's record; None if it has none, or none that can be read."""
    return _parse(folder.record_file(run_id))


def read_all(folder: OutputFolder) -> dict[str, RunRecord]:
    """Returns {run id: record} of all that can be read."""
    records = map(_parse, sorted(folder.record_dir.glob("*.json")))
    return {record.run_id: record for record in records if record is not None}


def latest_configuration(folder: OutputFolder) -> dict[str, Any]:
    """Returns the configuration of the run that started last; empty if no record says."""
    dated = [(one.started, one.configuration) for one in read_all(folder).values() if one.started]
    return max(dated, key=lambda one: one[0].astimezone(), default=(None, {}))[1]


def _now() -> datetime:
    return datetime.now().astimezone().replace(microsecond=0)


def _parse(file: Path) -> RunRecord | None:
    try:
        return RunRecord.model_validate_json(file.read_bytes())
    except (OSError, ValueError):
        return None
