"""Seconds until ``arxiv-pipeline --help`` and ``runs list`` have answered.

python benchmarks/cli_startup.py OUTPUT_DIR [--runs 1000]

With --runs, the list is of a database of that many made-up runs of 14 nodes each instead.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import machine
import typer
from ml_metadata.proto import metadata_store_pb2 as pb

from components.metadata_store import MetadataStore
from pipeline.runs.layout import OutputFolder

_NODES = 14


def main(
    output_dir: Annotated[Path, typer.Argument(file_okay=False, resolve_path=True)],
    repeats: Annotated[int, typer.Option(min=1)] = 7,
    runs: Annotated[int, typer.Option(min=0, help="Made-up runs; 0: OUTPUT_DIR's own.")] = 0,
) -> None:
    """Prints commit, hardware and the median seconds of each command, one a line."""
    print(f"commit       {machine.commit()}")
    print(f"processor    {machine.processor()}")
    with tempfile.TemporaryDirectory() as folder:
        if runs:
            output_dir = Path(folder)
            _make_runs(output_dir, runs)
        commands = {
            "--help": ["--help"],
            "runs list": ["runs", "list", "--output-dir", str(output_dir)],
            "runs list --limit 0": ["runs", "list", "--limit", "0", "-o", str(output_dir)],
        }
        for name, words in commands.items():
            seconds = [_seconds(words) for _ in range(repeats)]
            shown = f"median {statistics.median(seconds):.2f} s, most {max(seconds):.2f} s"
            print(f"{name:<20} {shown} of {repeats}")


def _seconds(words: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "pipeline", *words], capture_output=True, check=True)
    return time.perf_counter() - start


def _make_runs(output_dir: Path, count: int) -> None:
    """Writes runs whose nodes were given one artifact and put out another."""
    store = MetadataStore(OutputFolder(output_dir).metadata_file, create=True).connection
    kinds = {
        kind: store.put_context_type(pb.ContextType(name=kind))
        for kind in ("pipeline_run", "node", "pipeline")
    }
    execution_type = store.put_execution_type(pb.ExecutionType(name="made"))
    artifact_type = store.put_artifact_type(pb.ArtifactType(name="Made"))
    first = datetime(2026, 1, 1)
    for number in range(count):
        run_id = (first + timedelta(hours=number)).isoformat(timespec="microseconds")
        before: pb.Artifact | None = None
        for node in range(_NODES):
            execution = pb.Execution(type_id=execution_type, last_known_state=pb.Execution.COMPLETE)
            contexts = [
                pb.Context(type_id=kinds["pipeline"], name="made"),
                pb.Context(type_id=kinds["pipeline_run"], name=run_id),
                pb.Context(type_id=kinds["node"], name=f"made.Node{node}"),
            ]
            new = pb.Artifact(type_id=artifact_type, uri=f"/made/{number}/{node}")
            links = [(new, pb.Event(type=pb.Event.OUTPUT))]
            if before is not None:
                links.append((before, pb.Event(type=pb.Event.INPUT)))
            _, numbers, _ = store.put_execution(
                execution, links, contexts, reuse_context_if_already_exist=True
            )
            new.id = numbers[0]
            before = new


if __name__ == "__main__":
    typer.run(main)
