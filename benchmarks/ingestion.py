"""Measures ParquetExampleGen's rows per second and core on a parquet file, after imports.

python benchmarks/ingestion.py PARQUET [--baseline-tree DIR] [--pairs 5]

With --baseline-tree, another checkout's code alternates with this one's, A B A B, and ratios are
taken by pair, since processor time depends on other load. Both must write the same records in the
same order.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any, Optional

import machine
import typer

SHARES = {"train": 0.64, "eval": 0.16, "test": 0.2}


def main(
    parquet: Annotated[Path, typer.Argument(exists=True, dir_okay=False, resolve_path=True)],
    baseline_tree: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(exists=True, file_okay=False, resolve_path=True),
    ] = None,
    pairs: Annotated[int, typer.Option(min=1)] = 5,
    once: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Prints commit, hardware, rows, rows per second and core, and peak memory."""
    if once:
        print(json.dumps(_measure(parquet)))
        return
    trees = [Path(__file__).parents[1], *([baseline_tree] if baseline_tree else [])]
    runs = [[_run(parquet, tree) for tree in trees] for _ in range(pairs)]
    print(f"commit             {machine.commit()}")
    print(f"processor          {machine.processor()}")
    print(f"rows read          {runs[0][0]['rows']}")
    for index, tree in enumerate(trees):
        rates = [pair[index]["rows"] / pair[index]["cpu_seconds"] for pair in runs]
        peak = max(pair[index]["peak_mib"] for pair in runs)
        name = "baseline" if index else "this tree"
        print(
            f"{name:<18} {statistics.median(rates):,.0f} rows/s and core (median of {pairs}, "
            f"{min(rates):,.0f} to {max(rates):,.0f}), peak {peak:.0f} MiB: {tree}"
        )
    if baseline_tree:
        ratios = [other["cpu_seconds"] / own["cpu_seconds"] for own, other in runs]
        shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"times the baseline {statistics.median(ratios):.2f} (pairs: {shown})")
        digests = {run["records_sha256"] for pair in runs for run in pair}
        print(f"same records       {'yes' if len(digests) == 1 else 'NO'}")


def _run(parquet: Path, tree: Path) -> dict[str, Any]:
    """Measures a tree's code in a separate process."""
    done = subprocess.run(
        [sys.executable, __file__, str(parquet), "--once"],
        env={**os.environ, "PYTHONPATH": str(tree)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if Path(measured["tree"]) != tree:
        raise RuntimeError(f"the code of {measured['tree']} ran instead of {tree}'s")
    return measured


def _measure(parquet: Path) -> dict[str, Any]:
    # Imported from the tree in PYTHONPATH.
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.types import standard_artifacts

    import components
    from components.arrow import pq
    from components.ingestion.examples_executor import Executor
    from components.ingestion.node import ParquetExampleGen

    node = ParquetExampleGen(str(parquet), SHARES, fingerprint="benchmark")
    with tempfile.TemporaryDirectory() as folder:
        examples = standard_artifacts.Examples()
        examples.uri = str(Path(folder) / "examples")
        context = BaseBeamExecutor.Context(
            beam_pipeline_args=[], tmp_dir=folder, unique_id="benchmark"
        )
        start = time.process_time()
        Executor(context).Do({}, {"examples": [examples]}, dict(node.exec_properties))
        cpu_seconds = time.process_time() - start
        peak = machine.peak_mib()
        digest = _records_digest(Path(examples.uri))
    return {
        "tree": str(Path(str(components.__file__)).parents[1]),
        "rows": pq.read_metadata(parquet).num_rows,
        "cpu_seconds": cpu_seconds,
        "peak_mib": peak,
        "records_sha256": digest,
    }


def _records_digest(folder: Path) -> str:
    """Hashes file names and records in order; features are sorted, since maps are unordered."""
    import tensorflow as tf

    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.gz")):
        digest.update(str(file.relative_to(folder)).encode())
        for record in tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator():
            feature = tf.train.Example.FromString(record).features.feature
            values = [(name, feature[name].SerializeToString()) for name in sorted(feature)]
            digest.update(repr(values).encode())
    return digest.hexdigest()


if __name__ == "__main__":
    typer.run(main)
