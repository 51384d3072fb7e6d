"""Measures the latency of single requests through the client, and its start-up time.

python benchmarks/serving_client.py MODEL [--texts PARQUET] [--requests 500]

MODEL is a pushed SavedModel or its push folder. Without --rest and --grpc of a real TF Serving, the
server is the tests' stand-in in a separate process. It runs the same SavedModel with Python's HTTP
and gRPC servers, so its times are not those of TF Serving.
"""

from __future__ import annotations

import os

from components.arrow import pq

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Optional

import machine
import typer

from components.contracts import features
from pipeline.client import Classification, Client, Options, connect, open_model
from pipeline.corpora.sample import make_sample

_STAND_IN = Path(__file__).resolve().parent.parent / "tests/pipeline/client/stand_in.py"
_WARM_UP = 30


def _texts(parquet: Path | None, count: int) -> list[str]:
    """Returns ``count`` abstracts, repeated if there are fewer."""
    with tempfile.TemporaryDirectory() as folder:
        file = parquet or make_sample(Path(folder), max(count, 500), 1).corpus
        column = pq.read_table(file, columns=[features.ABSTRACT]).column(0).drop_null()
    found: list[str] = column.slice(0, count).to_pylist()
    return [found[i % len(found)] for i in range(count)]


def _milliseconds(ask: Callable[[str], Any], texts: list[str]) -> dict[str, float]:
    """Returns p50 and p99 of one call per text."""
    for text in texts[:_WARM_UP]:
        ask(text)
    taken = []
    for text in texts:
        started = time.perf_counter()
        ask(text)
        taken.append(1e3 * (time.perf_counter() - started))
    percentiles = statistics.quantiles(taken, n=100, method="inclusive")
    return {"p50_ms": round(percentiles[49], 2), "p99_ms": round(percentiles[98], 2)}


def _seconds(arguments: list[str], repeats: int) -> float:
    """Returns a command's median wall time in seconds, with warm caches."""
    taken = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "pipeline.client.cli.main", *arguments],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        taken.append(time.perf_counter() - started)
    return round(statistics.median(taken[1:]), 3)


def _difference(one: list[Classification], other: list[Classification]) -> float:
    """Returns the largest difference between two scores of the same text and class."""
    return max(
        abs(a.scores[name] - b.scores[name])
        for a, b in zip(one, other, strict=True)
        for name in a.scores
    )


def main(
    model: Annotated[Path, typer.Argument(exists=True, file_okay=False, resolve_path=True)],
    texts: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Parquet with abstracts; by default generated ones."),
    ] = None,
    requests: Annotated[int, typer.Option(help="Timed requests of each kind.")] = 500,
    repeats: Annotated[int, typer.Option(help="Timed starts of the command.")] = 7,
    rest: Annotated[Optional[str], typer.Option(help="A real server's REST address.")] = None,  # noqa: UP045
    grpc: Annotated[Optional[str], typer.Option(help="A real server's gRPC address.")] = None,  # noqa: UP045
    model_name: Annotated[str, typer.Option(help="The model's name on it.")] = "arxiv",
) -> None:
    """Prints commit, hardware and measurements as JSON."""
    abstracts = _texts(texts, requests)
    options = Options(model_name=model_name)
    report: dict[str, Any] = {
        "commit": machine.commit(),
        "machine": machine.processor(),
        "server": "TF Serving" if rest and grpc else "stand-in of the test suite (Python)",
        "requests": requests,
        "help_seconds": _seconds(["--help"], repeats),
    }
    with open_model(model) as local:
        folder = local.folder  # type: ignore[attr-defined]
        report["model"] = str(folder.name)
        report["in_process"] = _milliseconds(lambda text: local.classify([text]), abstracts)
        alone = local.classify(abstracts)
    process = None
    if not (rest and grpc):
        process = subprocess.Popen(
            [sys.executable, str(_STAND_IN), str(folder), model_name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started = json.loads(process.stdout.readline())  # type: ignore[union-attr]
        rest, grpc = started["rest"], started["grpc"]
    try:
        for name, url in (("grpc", grpc), ("rest", rest)):
            report[name] = _through(connect(url, options), abstracts, alone)
            command = ["--url", url, "--model-name", model_name, "A short abstract."]
            report[name]["command_seconds"] = _seconds(command, repeats)
    finally:
        if process:
            process.communicate()
    print(json.dumps(report, indent=1))


def _through(client: Client, abstracts: list[str], alone: list[Classification]) -> dict[str, float]:
    """Returns the latency through a server, and its largest difference to the local scores."""
    with client:
        report = _milliseconds(lambda text: client.classify([text]), abstracts)
        report["largest_difference"] = _difference(client.classify(abstracts), alone)
    return report


if __name__ == "__main__":
    typer.run(main)
