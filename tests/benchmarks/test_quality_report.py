"""The tables of the quality benchmark, from made-up candidates."""

from __future__ import annotations

import json
import xml.etree.ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import quality_report as report
from scipy.special import log_softmax
from sklearn.metrics import accuracy_score, f1_score, log_loss

CLASSES = ["a", "b", "c"]
RANDOM = np.random.default_rng(0)
LABELS = {"eval": RANDOM.integers(0, 3, 300), "test": RANDOM.integers(0, 3, 400)}


def scores(split: str, skill: float, seed: int) -> np.ndarray:
    """Log-probabilities that are right the more often the greater the skill."""
    noise = np.random.default_rng(seed).normal(size=(len(LABELS[split]), 3))
    return log_softmax(noise + skill * np.eye(3)[LABELS[split]], axis=1)


def epochs(*accuracies: float, seconds: float = 10.0) -> list[dict[str, Any]]:
    return [{"val_accuracy": value, "seconds": seconds} for value in accuracies]


def result(
    name: str, kind: str, skill: float, seed: int | None = None, **meta: Any
) -> report.Result:
    about = {
        "seconds": 5.0, "probabilistic": True, "device": "CPU", "processor": "P", "commit": "abc",
        **meta,
    }  # fmt: skip
    test = None if kind == report.ABLATION else scores("test", skill, (seed or 0) + 50)
    return report.Result(name, kind, seed, scores("eval", skill, seed or 0), test, about)


RESULTS = [
    result("linear <1>", report.LINEAR, 1.0),
    result("margins", report.LINEAR, 1.2, probabilistic=False, device=""),
    result("notebook", report.NOTEBOOK, 0.8, 1, history=epochs(0.5, 0.7, 0.73, 0.75, 0.76)),
    result("pipeline", report.PIPELINE, 2.5, 1, history=epochs(0.76, 0.8, seconds=5.0)),
    result("pipeline", report.PIPELINE, 2.6, 2, history=epochs(0.7, 0.8, seconds=5.0)),
    result("without x", report.ABLATION, 1.5, 1),
]


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    header = {"commit": "abc", "processor": "P", "rows": {"test": 400}, "data": "f" * 64}
    return report.make_report(RESULTS, LABELS, CLASSES, header)


def test_metrics_are_sklearns() -> None:
    logs = scores("test", 1.0, 3)
    found = report.metrics_of(LABELS["test"], logs, probabilistic=True)
    predicted = logs.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(accuracy_score(LABELS["test"], predicted))
    for figure, average in (("macro_f1", "macro"), ("weighted_f1", "weighted")):
        expected = f1_score(LABELS["test"], predicted, average=average)
        assert found[figure] == pytest.approx(expected)
    assert found["log_loss"] == pytest.approx(log_loss(LABELS["test"], np.exp(logs)))
    per_class = f1_score(LABELS["test"], predicted, average=None)
    assert found["per_class_f1"] == pytest.approx(list(per_class))
    assert "log_loss" not in report.metrics_of(LABELS["test"], logs, probabilistic=False)


def test_bootstrap_tells_better_from_equal(made: dict[str, Any]) -> None:
    rows = {(row["candidate"], row["against"]): row for row in made["bootstrap"]["rows"]}
    assert len(rows) == 3 * 2
    for name in ("pipeline, seed 1", "mean of the seeds"):
        row = rows[name, "linear <1>"]["accuracy"]
        assert row["p"] < 0.01
        assert 0 < row["low"] < row["gain"] < row["high"]
    linear = RESULTS[0]
    same = report.Result("same", report.PIPELINE, 1, linear.eval_scores, linear.test_scores, {})
    (row,) = report.bootstrap(LABELS["test"], [linear, same])
    assert row["macro_f1"] == {"gain": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}


def test_time_to_accuracy_counts_whole_epochs() -> None:
    history = epochs(0.5, 0.749, 0.7)
    assert report.time_to_accuracy(history) == {"seconds": 20.0, "epochs": 2}
    assert report.time_to_accuracy(history, 0.8) == {"seconds": None, "epochs": None}


def test_speed_is_the_share_of_the_notebooks_time_on_one_machine(made: dict[str, Any]) -> None:
    (row,) = made["speed"]
    assert (row["against"], row["notebook_seconds"]) == ("notebook", 40.0)
    assert row["pipeline_seconds"]["values"] == [5.0, 10.0]
    assert row["share"]["mean"] == pytest.approx(0.1875)
    assert "0.188 of its time (1/5.3)" in report.markdown(made)
    elsewhere = [dict(run) for run in made["runs"]]
    for run in elsewhere:
        run["processor"] = run["processor"] if run["kind"] == report.NOTEBOOK else "another"
    assert report.speed(elsewhere) == []


def test_ablations_are_paired_by_seed_and_leave_the_test_split_alone(made: dict[str, Any]) -> None:
    (gain,) = made["ablations"]
    runs = {(run["name"], run["seed"]): run for run in made["runs"]}
    whole, part = runs["pipeline", 1], runs["without x", 1]
    difference = whole["eval"]["accuracy"] - part["eval"]["accuracy"]
    assert gain["accuracy"]["values"] == [pytest.approx(difference)]
    assert difference > 0
    assert "test" not in part
    line = next(line for line in report.markdown(made).splitlines() if "| without x" in line)
    assert f"({difference:+.4f})" in line


def test_tables_hold_every_figure_of_every_candidate(made: dict[str, Any]) -> None:
    text = report.markdown(made)
    test = text.split("## Test split")[1].split("##")[0]
    for row in made["summary"]:
        assert (f"| {row['name']} |" in test) == (row["kind"] != report.ABLATION)
        for figure in row.get("test", {}).keys() - {"per_class_f1"}:
            assert f"{row['test'][figure]['mean']:.4f}" in test
    assert "| notebook | 2 | 3 | 4 | 4 | 5 | never | never | 5 |" in text


def test_report_keeps_curves_and_is_written_whole(made: dict[str, Any], tmp_path: Path) -> None:
    report.write_report(made, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "quality.json", "quality.md", "quality.svg"
    ]  # fmt: skip
    kept = json.loads((tmp_path / "quality.json").read_text())
    curve = [run["history"] for run in kept["runs"] if run["kind"] == report.NOTEBOOK]
    assert curve == [RESULTS[2].meta["history"]]
    drawn = (tmp_path / "quality.svg").read_text()
    root = xml.etree.ElementTree.fromstring(drawn)
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"macro-F1", "linear <1>", "validation accuracy", "epoch"} <= texts
    report.write_report(made, tmp_path)
    assert (tmp_path / "quality.svg").read_text() == drawn


def test_report_of_linear_models_alone(tmp_path: Path) -> None:
    header = {"commit": "abc", "processor": "P", "rows": {"test": 400}, "data": "f" * 64}
    made = report.make_report(RESULTS[:2], LABELS, CLASSES, header)
    report.write_report(made, tmp_path)
    text = (tmp_path / "quality.md").read_text()
    assert "Ablations" not in text
    assert "bootstrap" not in text
