"""The Evaluator with our configuration, on a model whose every prediction is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ml_metadata.metadata_store import MetadataStore
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
)
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts

from components.contracts import artifact_files
from components.evaluation.node import EvaluationMetrics, EvaluationSummary

LENIENT = {"min_accuracy": 0.3, "min_macro_f1": 0.3, "max_cross_entropy": 3.0}


def summary_of(judged, tmp_path: Path, classes) -> tuple[dict, EvaluationMetrics]:
    artifact = EvaluationMetrics()
    artifact.uri = str(tmp_path / "metrics")
    EvaluationSummary.EXECUTOR_SPEC.executor_class().Do(
        {"evaluation": [judged.evaluation], "blessing": [judged.blessing]},
        {"metrics": [artifact]},
        {"classes": classes, "fingerprint": "f00d"},
    )
    text = (tmp_path / "metrics" / artifact_files.METRICS).read_text(encoding="utf-8")
    return json.loads(text), artifact


def textbook_ece(scores: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    confidence, right = scores.max(axis=1), scores.argmax(axis=1) == labels
    gap = 0.0
    for index in range(bins):
        inside = (confidence > index / bins) & (confidence <= (index + 1) / bins)
        if inside.any():
            gap += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return gap


def assert_figures(figures: dict, labels: np.ndarray, scores: np.ndarray, classes) -> None:
    predicted = scores.argmax(axis=1)
    every = range(len(classes))
    assert figures["examples"] == len(labels)
    assert figures["accuracy"] == pytest.approx(accuracy_score(labels, predicted), abs=1e-6)
    # Keras counts a score below 1e-7 as 1e-7; scikit-learn has another floor.
    floored = np.clip(scores.astype(float), 1e-7, None)
    floored /= floored.sum(axis=1, keepdims=True)
    assert figures["cross_entropy"] == pytest.approx(
        log_loss(labels, floored, labels=every), rel=1e-5
    )
    for average in ("macro", "micro", "weighted"):
        assert figures[f"{average}_f1"] == pytest.approx(
            f1_score(labels, predicted, average=average, zero_division=0)
        )
    assert figures["confusion_matrix"] == confusion_matrix(labels, predicted, labels=every).tolist()
    assert figures["expected_calibration_error"] == pytest.approx(textbook_ece(scores, labels))
    expected = precision_recall_fscore_support(labels, predicted, labels=every, zero_division=0)
    for class_id, name in enumerate(classes):
        given = figures["per_class"][name]
        if class_id in labels or class_id in predicted:
            wanted = [values[class_id] for values in expected]
            assert [given[key] for key in ("precision", "recall", "f1", "support")] == (
                pytest.approx(wanted)
            )
        else:
            assert given == {"precision": None, "recall": None, "f1": None, "support": 0}


@pytest.mark.parametrize("model", ["good", "never_econ_or_stat"])
def test_every_figure_equals_scikit_learn_overall_and_in_every_slice(
    model, judge, papers, classes, tmp_path
):
    result, _ = summary_of(judge(model, **LENIENT), tmp_path, classes)
    scores = papers.scores[model]

    assert_figures(result["overall"], papers.labels, scores, classes)
    # All seven classes occur, so macro-F1 is the mean over the seven.
    assert result["overall"]["macro_f1"] == pytest.approx(
        f1_score(
            papers.labels,
            scores.argmax(axis=1),
            labels=range(7),
            average="macro",
            zero_division=0,
        )
    )
    columns = {
        "final_category": np.array(classes)[papers.labels],
        "length_bucket": papers.buckets,
        "year": np.where(papers.years == "", "unknown", papers.years),
        "latex_bucket": papers.latex,
    }
    wanted = [(name, value) for name in columns for value in np.unique(columns[name])]
    assert [(one["feature"], one["value"]) for one in result["slices"]] == wanted
    for one in result["slices"]:
        rows = columns[one["feature"]] == one["value"]
        assert_figures(one, papers.labels[rows], scores[rows], classes)


def test_reliability_bins_hold_every_example_and_give_the_ece(judge, papers, classes, tmp_path):
    result, _ = summary_of(judge("good", **LENIENT), tmp_path, classes)
    bins = result["overall"]["reliability"]
    scores = papers.scores["good"]

    assert [one["lower"] for one in bins] == pytest.approx(np.arange(15) / 15)
    assert sum(one["examples"] for one in bins) == len(papers.labels)
    filled = [one for one in bins if one["examples"]]
    assert all(one["lower"] <= one["confidence"] <= one["upper"] for one in filled)
    assert sum(one["examples"] * abs(one["accuracy"] - one["confidence"]) for one in filled) / len(
        papers.labels
    ) == pytest.approx(textbook_ece(scores, papers.labels))
    # scikit-learn's reliability curve leaves empty bins out.
    right = scores.argmax(axis=1) == papers.labels
    accuracy, confidence = calibration_curve(right, scores.max(axis=1), n_bins=len(bins))
    assert [one["accuracy"] for one in filled] == pytest.approx(accuracy.tolist())
    assert [one["confidence"] for one in filled] == pytest.approx(confidence.tolist())
    empty = [one for one in bins if not one["examples"]]
    assert empty
    assert all(one["accuracy"] is None and one["confidence"] is None for one in empty)


def test_first_model_is_blessed_by_its_values_alone(judge, classes, tmp_path):
    judged = judge("good", **LENIENT)
    result, artifact = summary_of(judged, tmp_path, classes)

    assert Path(judged.blessing.uri, "BLESSED").is_file()
    assert result["blessed"] is True
    assert result["baseline"] is None
    assert [(one["metric"], one["kind"]) for one in result["checks"]] == [
        ("accuracy", "value"),
        ("cross_entropy", "value"),
        ("macro_f1", "value"),
    ]
    assert all(one["passed"] for one in result["checks"])
    assert result["model"]["id"] == 11
    assert artifact.blessed == 1
    assert artifact.examples == 300
    assert artifact.macro_f1 == pytest.approx(result["overall"]["macro_f1"])


def test_value_thresholds_refuse_a_model_in_words(judge, classes, tmp_path):
    judged = judge("poor", min_accuracy=0.8, min_macro_f1=0.62, max_cross_entropy=0.5)
    result, artifact = summary_of(judged, tmp_path, classes)
    overall = result["overall"]

    assert Path(judged.blessing.uri, "NOT_BLESSED").is_file()
    assert result["blessed"] is False
    assert result["reasons"] == [
        f"accuracy {overall['accuracy']:.4f} is below the threshold 0.8 (overall)",
        f"cross_entropy {overall['cross_entropy']:.4f} is above the threshold 0.5 (overall)",
        f"macro_f1 {overall['macro_f1']:.4f} is below the threshold 0.62 (overall)",
    ]
    assert artifact.blessed == 0
    assert artifact.reasons == "\n".join(result["reasons"])


def test_accuracy_of_exactly_the_threshold_passes(judge, papers):
    # TFMA's accuracy is float32, and this share, like most, is not one.
    exact = float((papers.scores["good"].argmax(axis=1) == papers.labels).mean())
    assert float(np.float32(exact)) != exact

    judged = judge("good", **{**LENIENT, "min_accuracy": exact})

    assert Path(judged.blessing.uri, "BLESSED").is_file()


def test_model_worse_than_the_baseline_is_refused(judge, papers, classes, tmp_path):
    judged = judge("good", "better", **LENIENT)
    result, _ = summary_of(judged, tmp_path, classes)

    assert result["blessed"] is False
    assert_figures(result["overall"], papers.labels, papers.scores["good"], classes)
    assert_figures(result["baseline"]["overall"], papers.labels, papers.scores["better"], classes)
    assert result["baseline"]["model"]["id"] == 10
    assert len(result["baseline"]["slices"]) == len(result["slices"])
    assert [(one["metric"], one["kind"]) for one in result["checks"] if not one["passed"]] == [
        ("accuracy", "change"),
        ("macro_f1", "change"),
    ]
    now, before = result["overall"]["accuracy"], result["baseline"]["overall"]["accuracy"]
    assert result["reasons"][0] == (
        f"accuracy {now:.4f} is {before - now:.4f} below the last pushed model's "
        f"{before:.4f}; a drop of 0.01 is allowed (overall)"
    )


def test_drop_within_the_allowance_passes(judge):
    judged = judge("good", "better", **LENIENT, max_accuracy_drop=0.5, max_macro_f1_drop=0.5)

    assert Path(judged.blessing.uri, "BLESSED").is_file()


def test_model_better_than_the_baseline_passes_with_no_drop_allowed(judge, classes, tmp_path):
    judged = judge("better", "good", **LENIENT, max_accuracy_drop=0.0, max_macro_f1_drop=0.0)
    result, _ = summary_of(judged, tmp_path, classes)

    assert result["blessed"] is True
    assert [one["kind"] for one in result["checks"]].count("change") == 2
    assert any("holds against the last pushed model's" in why for why in result["reasons"])


def test_bad_slice_does_not_refuse_a_model_that_is_good_overall(judge, classes, tmp_path):
    thresholds = {"min_accuracy": 0.8, "min_macro_f1": 0.6, "max_cross_entropy": 1.5}
    result, _ = summary_of(judge("bad_when_short", **thresholds), tmp_path, classes)
    short = next(one for one in result["slices"] if one["value"] == "short")

    assert short["accuracy"] < 0.5
    assert result["blessed"] is True


def test_model_whose_scores_are_not_numbers_is_refused(judge, classes, tmp_path):
    judged = judge("not_a_number", min_accuracy=0.0, min_macro_f1=0.0, max_cross_entropy=9.0)
    result, artifact = summary_of(judged, tmp_path, classes)

    assert result["blessed"] is False
    assert result["overall"]["cross_entropy"] is None
    assert result["reasons"] == ["cross_entropy is not a number; the threshold is 9 (overall)"]
    assert "cross_entropy" not in artifact.mlmd_artifact.properties


def test_blessing_of_another_run_is_an_error(judge, classes, tmp_path):
    refused = judge("poor", min_accuracy=0.8, min_macro_f1=0.62, max_cross_entropy=0.5)
    mixed = judge("good", **LENIENT)._replace(blessing=refused.blessing)

    with pytest.raises(RuntimeError, match="not of one Evaluator run"):
        summary_of(mixed, tmp_path, classes)


def test_same_evaluation_gives_the_same_file(judge, classes, tmp_path):
    judged = judge("good", **LENIENT)
    for folder in ("one", "two"):
        summary_of(judged, tmp_path / folder, classes)

    one, two = (
        (tmp_path / name / "metrics" / artifact_files.METRICS).read_bytes()
        for name in ("one", "two")
    )
    assert one == two


def test_summary_node_runs_in_a_pipeline_and_leaves_its_figures_in_the_metadata(
    judge, classes, tmp_path
):
    judged = judge("good", **LENIENT)
    evaluation = Importer(
        source_uri=judged.uri, artifact_type=standard_artifacts.ModelEvaluation
    ).with_id("evaluation")
    blessing = Importer(
        source_uri=judged.blessing.uri,
        artifact_type=standard_artifacts.ModelBlessing,
        custom_properties={"blessed": 1, "current_model_id": 11},
    ).with_id("blessing")
    summary = EvaluationSummary(
        evaluation=evaluation.outputs["result"],
        blessing=blessing.outputs["result"],
        classes=classes,
        fingerprint="f00d",
    )
    database = sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))
    LocalDagRunner().run(
        Pipeline(
            pipeline_name="summary",
            pipeline_root=str(tmp_path / "root"),
            components=[evaluation, blessing, summary],
            metadata_connection_config=database,
        )
    )

    (stored,) = MetadataStore(database).get_artifacts_by_type("EvaluationMetrics")
    result = json.loads(Path(stored.uri, artifact_files.METRICS).read_text(encoding="utf-8"))
    assert result["classes"] == classes
    assert stored.properties["blessed"].int_value == 1
    assert stored.properties["examples"].int_value == 300
    for name in ("accuracy", "macro_f1", "cross_entropy"):
        # ML Metadata keeps six digits on SQLite.
        assert stored.properties[name].double_value == pytest.approx(
            result["overall"][name], rel=1e-5
        )
    assert stored.properties["reasons"].string_value.splitlines() == result["reasons"]
