"""Stops real runs at random moments, and checks what becomes of each.

python benchmarks/stops.py FOLDER --stops 200

One run of a small sample is made, and a copy of its output folder is kept from the start of every
node. A round takes such a copy, lets a run reach that node, which the cache makes quick, and sends
SIGTERM or SIGINT at a random moment of the node. It is right if the exit code is 143 or 130, the
run is listed as stopped, no process is left, and a model is pushed only if the node was the Pusher
and ML Metadata knows the version. Now and then the stopped run is resumed, which must end with 0.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Annotated, NamedTuple

import machine
import typer

from components.contracts import node_ids, properties
from components.metadata_store import MetadataStore
from components.pushing.versions import list_versions
from pipeline import environment
from pipeline.config.pipeline_config import PipelineConfig, load_config
from pipeline.corpora.sample import make_sample
from pipeline.launch import pipeline_run, supervisor
from pipeline.runs import record
from pipeline.runs.history import History, RunState

CONFIG = """
[run]
name = "stops"
output_dir = "out"
[data]
parquet = "input/papers.parquet"
glove = "input/vectors.txt"
[transform]
vocabulary_size = 3000
sequence_length = 64
[model]
lstm_units = 8
dense_units = 16
wide_ngrams = 16384
[training]
batch_size = 64
length_buckets = [32]
histogram_every = 0
phase1 = {epochs = 2}
phase2 = {epochs = 2}
[evaluation]
min_accuracy = 0.2
min_macro_f1 = 0.05
max_cross_entropy = 3.0
[infra_validation]
max_latency_ms = 60000.0
tries = 1
"""
STARTS = re.compile(r"^\[ *(\d+)/(\d+)\] (\w+) \.\.\.$")
ENDS = re.compile(r"^\[ *(\d+)/\d+\] (\w+) \w+ \(([\d.]+) s")


class Node(NamedTuple):
    """A node of the run: its place, its name, and its seconds."""

    place: int
    name: str
    seconds: float


def launched(config: Path) -> tuple[int, int]:
    """Forks a launcher; returns its process id, and where its lines can be read."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        os._exit(pipeline_run.run(load_config(config), command="the same"))
    os.close(writing)
    return child, reading


def ended(launcher: int) -> int:
    """Waits for a launcher; returns its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(launcher, 0)[1])


def living(group: int) -> bool:
    """Returns whether a process of a group is alive."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, of = stat.read_text().rpartition(")")[2].split()[:3]
            if int(of) == group and state != "Z":
                return True
    return False


def keep_copies(config: Path, out: Path, copies: Path) -> list[Node]:
    """Runs once, with a copy of the output folder from the start of every node."""
    launcher, lines = launched(config)
    nodes = []
    with os.fdopen(lines) as stream:
        for line in stream:
            started, done = STARTS.match(line), ENDS.match(line)
            if started:
                os.kill(launcher, signal.SIGTSTP)
                time.sleep(0.1)
                subprocess.run(["cp", "-a", out, copies / started[1]], check=True)
                os.kill(launcher, signal.SIGCONT)
            elif done:
                nodes.append(Node(int(done[1]), done[2], float(done[3])))
    if ended(launcher) != 0:
        raise SystemExit("the first run did not end with 0")
    return nodes


def _pusher_began(log: Path, before: datetime) -> bool:
    """Returns whether a run's log has the start of the Pusher before a time."""
    started = f"Component {node_ids.PUSHER} is running."
    lines = [line for line in log.read_text("utf-8").splitlines() if line.endswith(started)]
    form = "%Y-%m-%d %H:%M:%S,%f"
    return any(datetime.strptime(" ".join(line.split()[:2]), form) < before for line in lines)


def unknown_versions(config: PipelineConfig) -> set[int]:
    """Returns the pushed versions that ML Metadata does not know."""
    lineage = MetadataStore(config.folder.metadata_file).lineage()
    known = {one.properties.get(properties.PUSHED_VERSION) for one in lineage.artifacts.values()}
    return {one for one in list_versions(config.serving_dir) if str(one) not in known}


def stop_within(config_file: Path, node: Node, chance: random.Random, longest: float) -> str:
    """Runs until a node and stops it there; returns what was wrong, or "right"."""
    config = load_config(config_file)
    launcher, lines = launched(config_file)
    with os.fdopen(lines) as stream:
        for line in stream:
            started = STARTS.match(line)
            if started and int(started[1]) == node.place:
                break
        time.sleep(chance.uniform(0.0, min(node.seconds, longest) * 1.1 + 0.02))
        children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
        before, number = list_versions(config.serving_dir), chance.choice(supervisor.STOPS)
        sent = datetime.now()
        os.kill(launcher, number)
        stream.read()
    if (code := ended(launcher)) != 128 + number:
        return f"exit code {code} after {number.name}"
    # Newest by its id; ML Metadata knows a run once its first node is registered.
    run_id, own = max(record.read_all(config.folder).items())
    history = History(config.folder)
    if own.exit_code != code:
        return f"recorded exit code {own.exit_code}"
    if run_id in history.ids and history.run(run_id).state is not RunState.STOPPED:
        return f"state {history.run(run_id).state.value}"
    if any(living(int(child)) for child in children):
        return "a process is left"
    time.sleep(0.3)
    new = set(list_versions(config.serving_dir)) - set(before)
    if new and not _pusher_began(Path(own.log_file), sent):
        return f"pushed after a stop in {node.name}"
    return "half a push" if unknown_versions(config) else "right"


def main(
    folder: Annotated[Path, typer.Argument(help="For the sample and its runs; may exist.")],
    stops: Annotated[int, typer.Option(help="How many runs to stop.")] = 200,
    resumed: Annotated[int, typer.Option(help="Resume every so many stopped runs.")] = 16,
    longest: Annotated[float, typer.Option(help="Seconds of a node in which to stop it.")] = 1e9,
    rows: Annotated[int, typer.Option(help="Papers in the sample.")] = 1500,
    seed: int = 0,
) -> None:
    """Prints commit, hardware, and how many stops were right, by node."""
    folder = folder.absolute()
    config_file, out, copies = folder / "run.toml", folder / "out", folder / "copies"
    if not copies.exists():
        make_sample(folder / "input", rows, 7)
        config_file.write_text(CONFIG, encoding="utf-8")
        copies.mkdir()
    environment.prepare(quiet=True)
    logging.disable(logging.WARNING)
    # Imported once, for every launcher that is forked from here.
    for module in ("tfx.orchestration.local.local_dag_runner", "pipeline.graph"):
        importlib.import_module(module)
    logging.disable(logging.NOTSET)
    print(f"commit {machine.commit()}, {machine.processor()}", flush=True)
    kept = folder / "nodes.json"
    if not kept.exists():
        kept.write_text(json.dumps(keep_copies(config_file, out, copies)), encoding="utf-8")
    nodes = [Node(*one) for one in json.loads(kept.read_text(encoding="utf-8"))]
    chance, wrong, right = random.Random(seed), [], Counter[str]()
    for number in range(stops):
        node = nodes[number % len(nodes)]
        shutil.rmtree(out)
        subprocess.run(["cp", "-a", copies / str(node.place), out], check=True)
        outcome = stop_within(config_file, node, chance, longest)
        if outcome == "right" and number % resumed == resumed - 1:
            launcher, lines = launched(config_file)
            os.fdopen(lines).read()
            code, pushed = ended(launcher), list_versions(load_config(config_file).serving_dir)
            outcome = outcome if (code, len(pushed)) == (0, 1) else f"resumed: {code}, {pushed}"
        print(f"{number} {node.name} {outcome}", file=sys.stderr, flush=True)
        if outcome == "right":
            right[node.name] += 1
        else:
            wrong.append((node.name, outcome))
            print(f"stop {number} in {node.name}: {outcome}", flush=True)
    for node in nodes:
        print(f"{node.name}: {right[node.name]} right, {node.seconds:.1f} s a run")
    print(f"{sum(right.values())} of {stops} stops were right; wrong: {wrong or 'none'}")


if __name__ == "__main__":
    typer.run(main)
