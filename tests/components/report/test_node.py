"""The node: from artifacts to a file, with the configuration that reproduces it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tomli
from bs4 import BeautifulSoup
from tfx.types import standard_artifacts

from components.contracts import artifact_files
from components.evaluation.node import EvaluationMetrics
from components.predictions.node import RowPredictions
from components.report.node import Report, RunReport
from components.validation.node import AcceptedData
from pipeline.config.pipeline_config import PipelineConfig, load_config

from .conftest import MadeRun


def artifact(kind: type, uri: Path) -> standard_artifacts.Model:
    made = kind()
    made.uri = str(uri)
    return made


@pytest.fixture
def config(tmp_path: Path) -> PipelineConfig:
    for name in ("papers.parquet", "vectors.txt"):
        (tmp_path / name).touch()
    file = tmp_path / "run.toml"
    file.write_text(
        '[run]\nname = "arxiv"\noutput_dir = "out"\n[data]\nparquet = "papers.parquet"\n'
        'glove = "vectors.txt"\n[training.phase1]\nlearning_rate = 3e-4\n'
    )
    return load_config(file)


@pytest.fixture
def written(run: MadeRun, config: PipelineConfig, tmp_path: Path) -> str:
    """The page that the executor writes of a model that was pushed."""
    pushed = artifact(standard_artifacts.PushedModel, tmp_path / "pushed")
    pushed.set_int_custom_property("pushed", 1)
    pushed.set_string_custom_property("pushed_destination", "/serving/arxiv/99")
    return write(run, config, tmp_path, pushed, infra_blessing(tmp_path, []))


def infra_blessing(tmp_path: Path, reasons: list[str]) -> standard_artifacts.InfraBlessing:
    made = artifact(standard_artifacts.InfraBlessing, tmp_path / "infra")
    made.set_int_custom_property("blessed", int(not reasons))
    made.set_string_custom_property("reasons", "\n".join(reasons))
    return made


def write(
    run: MadeRun,
    config: PipelineConfig,
    tmp_path: Path,
    pushed: standard_artifacts.PushedModel,
    infra: standard_artifacts.InfraBlessing,
) -> str:
    model = tmp_path / "model"
    model.mkdir()
    (model / "Format-Serving").symlink_to(run.sources.model)
    report = artifact(Report, tmp_path / "report")
    RunReport.EXECUTOR_SPEC.executor_class().Do(
        {
            "examples": [artifact(standard_artifacts.Examples, run.sources.examples)],
            "accepted": [artifact(AcceptedData, run.sources.accepted)],
            "model": [artifact(standard_artifacts.Model, model)],
            "metrics": [artifact(EvaluationMetrics, run.sources.metrics)],
            "predictions": [artifact(RowPredictions, run.sources.predictions)],
            "infra_blessing": [infra],
            "pushed": [pushed],
        },
        {"report": [report]},
        {
            "pipeline": "arxiv",
            "config": json.dumps(config.model_dump(mode="json", exclude_none=True)),
            "metadata_file": str(tmp_path / "absent.sqlite"),
            "fingerprint": "f00d",
        },
    )
    return (Path(report.uri) / artifact_files.RUN_REPORT).read_text(encoding="utf-8")


def test_node_writes_a_page_with_what_was_pushed(written: str) -> None:
    parsed = BeautifulSoup(written, "html.parser")
    assert parsed.h1.get_text() == "Run report: arxiv"
    assert "Pushed to /serving/arxiv/99" in " ".join(parsed.find(id="verdict").get_text().split())
    assert "ML Metadata was not at hand" in parsed.find(id="lineage").get_text()


def test_model_that_was_held_back_after_its_figures_passed_says_why(
    run: MadeRun, config: PipelineConfig, tmp_path: Path
) -> None:
    pushed = artifact(standard_artifacts.PushedModel, tmp_path / "pushed")
    pushed.set_int_custom_property("pushed", 0)
    pushed.set_string_custom_property("reason", "this model was rolled back")
    unfit = infra_blessing(tmp_path, ["latency: 9 ms, budget 1 ms", "memory: 9 MiB, budget 1 MiB"])
    parsed = BeautifulSoup(write(run, config, tmp_path, pushed, unfit), "html.parser")
    assert parsed.title.get_text().startswith("Blessed, not pushed")
    assert parsed.find(class_="banner")["class"] == ["banner", "no"]
    verdict = " ".join(parsed.find(id="verdict").get_text().split())
    assert "✗ Blessed, but not pushed" in verdict
    assert (
        "Not fit to be served: latency: 9 ms, budget 1 ms "
        "Not fit to be served: memory: 9 MiB, budget 1 MiB "
        "Not pushed: this model was rolled back Nothing was pushed"
    ) in verdict


def test_configuration_on_the_page_is_the_runs(
    written: str, config: PipelineConfig, tmp_path: Path
) -> None:
    shown = BeautifulSoup(written, "html.parser").find("pre", {"aria-label": "Configuration"})
    copied = tmp_path / "elsewhere.toml"
    copied.write_text(shown.get_text(), encoding="utf-8")
    assert tomli.loads(shown.get_text())["training"]["phase1"]["learning_rate"] == 3e-4
    assert load_config(copied) == config
