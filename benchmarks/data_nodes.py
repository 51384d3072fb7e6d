"""Measures time and peak memory of the nodes from the parquet to Transform, after imports.

python benchmarks/data_nodes.py CONFIG
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import logging
import tempfile
import time
from pathlib import Path
from typing import Annotated

import machine
import typer
from absl import logging as absl_logging
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline, RunOptions

from components.contracts import node_ids
from pipeline.config.pipeline_config import load_config
from pipeline.graph import create_pipeline
from pipeline.launch.progress import PlainDisplay, ProgressHandler
from pipeline.launch.terminal import captured

LAST = node_ids.TRANSFORM


def main(
    config: Annotated[Path, typer.Argument(exists=True, dir_okay=False, resolve_path=True)],
) -> None:
    """Prints commit, hardware, seconds of each node and peak memory."""
    whole = create_pipeline(load_config(config))
    imported = machine.peak_mib()
    with tempfile.TemporaryDirectory() as folder:
        database = sqlite_metadata_connection_config(str(Path(folder) / "metadata.sqlite"))
        elsewhere = Pipeline(
            pipeline_name="benchmark",
            pipeline_root=str(Path(folder) / "artifacts"),
            components=whole.components,
            metadata_connection_config=database,
        )
        with captured(Path(folder) / "log"):
            absl_logging.set_verbosity(absl_logging.INFO)
            shown = PlainDisplay(lambda _: None)
            handler = ProgressHandler([node.id for node in whole.components], shown)
            logging.getLogger().addHandler(handler)
            start, processor_start = time.perf_counter(), time.process_time()
            LocalDagRunner().run(elsewhere, run_options=RunOptions(to_nodes=[LAST]))
            seconds = time.perf_counter() - start
            processor_seconds = time.process_time() - processor_start
    print(f"commit       {machine.commit()}")
    print(f"processor    {machine.processor()}")
    for node, took in handler.seconds.items():
        print(f"{node:<20} {took:6.1f} s")
    print(f"together     {seconds:.1f} s (processor {processor_seconds:.1f})")
    print(f"peak memory  {machine.peak_mib():.0f} MiB ({imported:.0f} MiB after imports)")


if __name__ == "__main__":
    typer.run(main)
