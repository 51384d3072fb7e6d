"""Seconds and peak memory of ParquetExampleGen on a parquet file, after imports.

python benchmarks/ingestion.py PARQUET
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import tempfile
import time
from pathlib import Path
from typing import Annotated

import machine
import typer
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import standard_artifacts

from components.contracts import artifact_files
from components.contracts.ingestion_summary import IngestionSummary
from components.ingestion.examples_executor import Executor
from components.ingestion.node import ParquetExampleGen

SHARES = {"train": 0.64, "eval": 0.16, "test": 0.2}


def main(
    parquet: Annotated[Path, typer.Argument(exists=True, dir_okay=False, resolve_path=True)],
) -> None:
    """Prints commit, hardware, rows, seconds and peak memory, one a line."""
    node = ParquetExampleGen(str(parquet), SHARES, fingerprint="benchmark")
    properties = dict(node.exec_properties)
    imported = machine.peak_mib()
    with tempfile.TemporaryDirectory() as folder:
        examples = standard_artifacts.Examples()
        examples.uri = str(Path(folder) / "examples")
        context = BaseBeamExecutor.Context(
            beam_pipeline_args=[],
            tmp_dir=folder,
            unique_id="benchmark",
        )
        start = time.perf_counter()
        processor_start = time.process_time()
        Executor(context).Do({}, {"examples": [examples]}, properties)
        seconds = time.perf_counter() - start
        processor_seconds = time.process_time() - processor_start
        summary = IngestionSummary.read(Path(examples.uri) / artifact_files.INGESTION_SUMMARY)
    print(f"commit            {machine.commit()}")
    print(f"processor         {machine.processor()}")
    print(f"rows read, kept   {summary.rows_read}, {summary.rows_kept}")
    print(f"seconds           {seconds:.1f} (processor {processor_seconds:.1f})")
    print(f"peak memory       {machine.peak_mib():.0f} MiB ({imported:.0f} MiB after imports)")


if __name__ == "__main__":
    typer.run(main)
