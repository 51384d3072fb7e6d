"""The verdict in words, from results written by hand."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import validation_result_pb2

from components.evaluation.evaluation_settings import EvaluationSettings
from components.evaluation.verdict import summarize
from pipeline.eval_config import make_eval_config

CLASSES = ["cs", "math"]
SETTINGS = EvaluationSettings(min_accuracy=0.5, min_macro_f1=0.62, max_cross_entropy=1.0)


def result_of(slice_key: tuple[Any, ...] = (), **figures: float | str) -> tfma.EvalResult:
    values = {name: {"doubleValue": value} for name, value in figures.items()}
    return tfma.EvalResult(
        slicing_metrics=[(slice_key, {"": {"": values}})],
        plots=[],
        attributions=[],
        config=make_eval_config(SETTINGS, CLASSES, "f00d"),
        data_location="",
        file_format="",
        model_location="",
    )


def verdict(*failed: str, ok: bool = False) -> validation_result_pb2.ValidationResult:
    validation = validation_result_pb2.ValidationResult(validation_ok=ok)
    if failed:
        by_slice = validation.metric_validations_per_slice.add()
        for name in failed:
            by_slice.failures.add().metric_key.name = name
    return validation


def reasons(candidate: tfma.EvalResult, validation: Any) -> list[str]:
    return list(summarize(candidate, validation, CLASSES).reasons)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.5521, "0.5521"), (0.61996, "0.61996"), (0.6199999, "0.6199999"), (0.1, "0.1000")],
)
def test_figure_that_rounds_to_its_threshold_is_shown_in_full(value, shown):
    candidate = result_of(accuracy=0.9, macro_f1=value, cross_entropy=0.5, example_count=4)

    assert reasons(candidate, verdict("macro_f1")) == [
        f"macro_f1 {shown} is below the threshold 0.62 (overall)"
    ]


def test_blessed_model_gives_every_threshold_it_met():
    candidate = result_of(accuracy=0.5, macro_f1=0.7, cross_entropy=0.25, example_count=4)

    assert reasons(candidate, verdict(ok=True)) == [
        "accuracy 0.5000 reaches the threshold 0.5 (overall)",
        "cross_entropy 0.2500 stays within the threshold 1 (overall)",
        "macro_f1 0.7000 reaches the threshold 0.62 (overall)",
    ]


def test_threshold_in_one_slice_is_not_taken_for_one_of_the_whole_split():
    candidate = result_of(accuracy=0.9, macro_f1=0.7, cross_entropy=0.5, example_count=4)
    validation = verdict("accuracy")
    validation.metric_validations_per_slice[0].slice_key.single_slice_keys.add(column="year")

    checks = summarize(candidate, validation, CLASSES).checks

    assert all(check.passed for check in checks)


def test_verdict_without_a_failed_threshold_is_said_too():
    candidate = result_of(accuracy=0.9, macro_f1=0.7, cross_entropy=0.5, example_count=4)

    assert reasons(candidate, verdict()) == [
        "a threshold could not be checked: the test split gave no value for it"
    ]


@pytest.mark.parametrize("value", ["NaN", "Infinity", float("nan")])
def test_figure_that_is_not_a_number_is_none(value):
    candidate = result_of(accuracy=0.9, macro_f1=0.7, cross_entropy=value, example_count=4)
    result = summarize(candidate, verdict("cross_entropy"), CLASSES)

    assert result.overall.cross_entropy is None
    assert list(result.reasons) == ["cross_entropy is not a number; the threshold is 1 (overall)"]


def test_drop_is_measured_against_the_baseline():
    earlier = result_of(accuracy=0.83, macro_f1=0.7, cross_entropy=0.5, example_count=4)
    candidate = result_of(accuracy=0.81, macro_f1=0.7, cross_entropy=0.5, example_count=4)
    validation = verdict("accuracy")
    validation.metric_validations_per_slice[0].failures[0].metric_key.is_diff = True

    result = summarize(candidate, validation, CLASSES, earlier)

    assert list(result.reasons) == [
        "accuracy 0.8100 is 0.0200 below the last pushed model's 0.8300; "
        "a drop of 0.01 is allowed (overall)"
    ]
    (check,) = (one for one in result.checks if not one.passed)
    assert (check.value, check.baseline, check.bound) == (0.81, 0.83, 0.01)


def test_result_without_the_whole_split_is_an_error():
    with pytest.raises(ValueError, match="no metrics for the whole split"):
        summarize(result_of((("year", "2019"),), accuracy=0.9), verdict(), CLASSES)
