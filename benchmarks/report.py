"""Measures the size and build time of a finished run's report, and takes screenshots.

python benchmarks/report.py CONFIG [--screenshots .github]

CONFIG's last run must have a report. For the measurement, the page is built again from the same
artifacts; the screenshots show the run's own page.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any, Optional

import machine
import ml_metadata as mlmd
import typer
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.types import artifact_utils

from components.contracts.artifact_files import RUN_REPORT
from components.report.node import Report, RunReport
from pipeline.config.pipeline_config import PipelineConfig, load_config

# A laptop's first screen, at a width that README's column hardly shrinks.
_WIDTH, _HEIGHT = 1100, 860
# Milliseconds for the page to scroll.
_SETTLED = 1500


def newest_report(config: PipelineConfig) -> tuple[Path, dict[str, list[Any]]]:
    """Returns the last run's report and its input artifacts, by name of the input."""
    connection = pb.ConnectionConfig()
    connection.sqlite.filename_uri = str(config.folder.metadata_file)
    connection.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READONLY
    store = mlmd.MetadataStore(connection)
    reports = store.get_artifacts_by_type(Report.TYPE_NAME)
    if not reports:
        raise typer.BadParameter(
            f"{config.folder.metadata_file} knows of no report: run the pipeline"
        )
    events = [
        event
        for event in store.get_events_by_artifact_ids([one.id for one in reports])
        if event.type == pb.Event.OUTPUT
    ]
    # The last run's report may be cached, so made by an older execution.
    last = max(events, key=lambda event: event.execution_id).artifact_id
    maker = min(event.execution_id for event in events if event.artifact_id == last)
    newest = next(one for one in reports if one.id == last)
    inputs: dict[str, list[Any]] = {}
    for event in store.get_events_by_execution_ids([maker]):
        if event.type == pb.Event.INPUT:
            (artifact,) = store.get_artifacts_by_id([event.artifact_id])
            (kind,) = store.get_artifact_types_by_id([artifact.type_id])
            name = next(step.key for step in event.path.steps if step.HasField("key"))
            found = artifact_utils.deserialize_artifact(kind, artifact)
            inputs.setdefault(name, []).append(found)
    return Path(newest.uri) / RUN_REPORT, inputs


def screenshots(page: Path, folder: Path) -> list[Path]:
    """Takes screenshots of the page's first screen and quality section, in light Chromium."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT}, color_scheme="light")
        folder.mkdir(parents=True, exist_ok=True)
        taken = []
        for section in ("verdict", "quality"):
            tab.goto(page.as_uri() + ("" if section == "verdict" else f"#{section}"))
            tab.wait_for_timeout(_SETTLED)
            taken.append(folder / f"run-report-{section}.png")
            tab.screenshot(path=taken[-1])
        browser.close()
    return taken


def main(
    config: Annotated[Path, typer.Argument(exists=True, dir_okay=False, resolve_path=True)],
    pictures: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--screenshots", help="Folder for two PNGs.", resolve_path=True),
    ] = None,
) -> None:
    """Prints commit, hardware, test rows, seconds and size."""
    settings = load_config(config)
    made, inputs = newest_report(settings)
    with tempfile.TemporaryDirectory() as folder:
        report = Report()
        report.uri = folder
        start = time.perf_counter()
        RunReport.EXECUTOR_SPEC.executor_class().Do(
            inputs,
            {"report": [report]},
            {
                "pipeline": settings.name,
                "config": json.dumps(settings.model_dump(mode="json", exclude_none=True)),
                "metadata_file": str(settings.folder.metadata_file),
                "fingerprint": "",
            },
        )
        seconds = time.perf_counter() - start
        size = (Path(folder) / RUN_REPORT).stat().st_size
    taken = screenshots(made, pictures) if pictures else []
    rows = inputs["metrics"][0].examples
    print(f"commit       {machine.commit()}")
    print(f"processor    {machine.processor()}")
    print(f"test rows    {rows:,}")
    print(f"page         {size / 1000:.0f} kB")
    print(f"build        {seconds:.1f} s")
    for picture in taken:
        print(f"screenshot   {picture} ({picture.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    typer.run(main)
