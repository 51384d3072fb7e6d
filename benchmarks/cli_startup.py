"""Times ``--help``, ``runs list`` and a cached ``make run``.

python benchmarks/cli_startup.py OUTPUT_DIR [--runs 1000] [--cached-run CONFIG]

With --runs, ``runs list`` reads a database with that many synthetic runs of 14 nodes each. With
--cached-run, also measures the processor time of ``make run`` with this configuration, whose run
must be in the cache, and of its imports.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Optional

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
    cached_run: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(exists=True, dir_okay=False, resolve_path=True),
    ] = None,
) -> None:
    """Prints commit, hardware and the median seconds of each command."""
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

    if cached_run:
        _cost_of_cached_run(cached_run, repeats)


def _cost_of_cached_run(config: Path, repeats: int) -> None:
    """Prints processor seconds of ``make run`` and of its parts."""
    python = sys.executable
    commands = {
        "make run": ["make", "run", f"CONFIG={config}"],
        "  make env": ["make", "env"],
        "  the run alone": [python, "-m", "pipeline", "run", "--config", str(config)],
        "    import of the graph": [python, "-c", "import pipeline.graph"],
        "      of which tensorflow": [python, "-c", "import tensorflow"],
    }
    for name, words in commands.items():
        seconds = [_processor_seconds(words) for _ in range(repeats)]
        shown = f"median {statistics.median(seconds):.2f} s of processor time, "
        print(f"{name:<26} {shown}least {min(seconds):.2f} s of {repeats}")
    print(
        "What is left is imports: the graph needs the classes of all its nodes, and TFX's "
        "import TensorFlow, TFMA and TFDV."
    )


def _processor_seconds(words: list[str]) -> float:
    """Returns user and system seconds of a command and its child processes."""

    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = spent()
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run(words, env=environment, capture_output=True, check=True)
    return spent() - before


def _seconds(words: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "pipeline", *words], capture_output=True, check=True)
    return time.perf_counter() - start


def _make_runs(output_dir: Path, count: int) -> None:
    """Writes runs of nodes with one input and one output each."""
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
