"""What a run says of itself: one JSON file a run, beside ML Metadata.

ML Metadata keeps what each node was given, spread over its executions, and nothing of the settings
that no node takes; of a run that was killed it does not keep that it was. So each run writes
``<output_dir>/runs/<run id>.json``: before its first node the resolved configuration, the code and
the versions, and at its end what it came to.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from components import provenance

FORMAT = 1
FOLDER = "runs"


@dataclass(frozen=True)
class RunRecord:
    """A run's own account.

    Attributes:
        run_id: its id in ML Metadata: local time as ISO 8601, so that ids sort by age.
        started: ISO 8601 with the zone.
        command: what a person types to resume it.
        log_file: its full log.
        pid: of the process.
        host: that it ran on.
        commit: of the code, "-dirty" appended where files differed from it; empty outside git.
        versions: {distribution: version}, and Python's.
        configuration: the resolved configuration as nested JSON values; every path is absolute.
        nodes: ids of the run's nodes, in order.
        finished: ISO 8601 with the zone; empty while it runs, and for ever where it was killed.
        exit_code: see ``pipeline.launch.pipeline_run.run``; None as long as it has not ended.
        failed_node: the first node without a result; empty where all have one.
        cause: of the failure, in one line; empty where there was none.
    """

    run_id: str
    started: str
    command: str = ""
    log_file: str = ""
    pid: int = 0
    host: str = ""
    commit: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    configuration: dict[str, Any] = field(default_factory=dict)
    nodes: tuple[str, ...] = ()
    finished: str = ""
    exit_code: int | None = None
    failed_node: str = ""
    cause: str = ""

    def file(self, output_dir: Path) -> Path:
        """Returns where the record of this run lies."""
        return output_dir / FOLDER / f"{self.run_id}.json"

    def write(self, output_dir: Path) -> None:
        """Writes the record, whole or not at all.

        Raises:
            OSError: the folder cannot be written to.
        """
        file = self.file(output_dir)
        file.parent.mkdir(parents=True, exist_ok=True)
        scratch = file.with_name(f".{file.name}.{os.getpid()}")
        text = json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=2)
        scratch.write_text(text + "\n", encoding="utf-8")
        scratch.replace(file)

    def ended(self, exit_code: int, failed_node: str = "", cause: str = "") -> RunRecord:
        """Returns the record of the same run with what it came to, as of now."""
        return dataclasses.replace(
            self,
            finished=_now(),
            exit_code=exit_code,
            failed_node=failed_node,
            cause=cause,
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


def read(output_dir: Path, run_id: str) -> RunRecord | None:
    """Returns a run's record; None where it has none, or none that can be read."""
    return _parse(output_dir / FOLDER / f"{run_id}.json")


def read_all(output_dir: Path) -> dict[str, RunRecord]:
    """Returns {run id: record} of all that can be read."""
    folder = output_dir / FOLDER
    files = sorted(folder.glob("*.json")) if folder.is_dir() else []
    records = (_parse(file) for file in files)
    return {record.run_id: record for record in records if record is not None}


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _parse(file: Path) -> RunRecord | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        known = {item.name for item in dataclasses.fields(RunRecord)}
        values = {key: value for key, value in content.items() if key in known}
        return RunRecord(**{**values, "nodes": tuple(values.get("nodes", ()))})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
