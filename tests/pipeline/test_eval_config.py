"""What the Evaluator is told: model outputs, slices, thresholds."""

from __future__ import annotations

import importlib
import json

import pytest
import tensorflow_model_analysis as tfma
from pydantic import ValidationError

from components.evaluation.evaluation_settings import EvaluationSettings
from pipeline.eval_config import make_eval_config

CLASSES = ["bio", "cs", "econ", "engineering", "math", "physics", "stat"]


def thresholds(config: tfma.EvalConfig) -> dict[str, tfma.PerSliceMetricThreshold]:
    found = {}
    for metric in config.metrics_specs[0].metrics:
        assert not metric.HasField("threshold"), "a plain threshold gates every slice"
        for threshold in metric.per_slice_thresholds:
            found[json.loads(metric.config)["name"]] = threshold
    return found


def test_model_is_read_through_the_contract_signatures():
    (model,) = make_eval_config(EvaluationSettings(), CLASSES, "f00d").model_specs

    assert model.signature_name == "serving_examples"
    assert list(model.preprocessing_function_names) == ["transform_features"]
    assert (model.label_key, model.prediction_key) == ("label_id", "scores")
    # Without a name TFMA adds the baseline by itself, and takes it away on a first run.
    assert not model.name


def test_whole_split_and_every_slice_are_measured():
    config = make_eval_config(EvaluationSettings(), CLASSES, "f00d")

    assert [list(spec.feature_keys) for spec in config.slicing_specs] == [
        [],
        ["final_category"],
        ["length_bucket"],
        ["year"],
        ["latex_bucket"],
    ]


def test_whole_split_is_measured_without_any_slice():
    config = make_eval_config(EvaluationSettings(slices=()), CLASSES, "f00d")

    assert [list(spec.feature_keys) for spec in config.slicing_specs] == [[]]


def test_thresholds_bind_the_whole_split_only():
    settings = EvaluationSettings(
        min_accuracy=0.75,
        min_macro_f1=0.5,
        max_cross_entropy=1.25,
        max_accuracy_drop=0.03,
        max_macro_f1_drop=0.04,
    )
    found = thresholds(make_eval_config(settings, CLASSES, "f00d"))

    assert set(found) == {"accuracy", "cross_entropy", "macro_f1"}
    for threshold in found.values():
        assert list(threshold.slicing_specs) == [tfma.SlicingSpec()]
    accuracy, macro_f1 = found["accuracy"].threshold, found["macro_f1"].threshold
    assert accuracy.value_threshold.lower_bound.value == 0.75
    assert macro_f1.value_threshold.lower_bound.value == 0.5
    assert found["cross_entropy"].threshold.value_threshold.upper_bound.value == 1.25
    assert accuracy.change_threshold.absolute.value == -0.03
    assert macro_f1.change_threshold.absolute.value == -0.04
    assert accuracy.change_threshold.direction == tfma.MetricDirection.HIGHER_IS_BETTER
    assert not found["cross_entropy"].threshold.HasField("change_threshold")


def test_zero_allowed_drop_is_a_threshold_too():
    found = thresholds(make_eval_config(EvaluationSettings(max_accuracy_drop=0.0), CLASSES, "f"))

    assert found["accuracy"].threshold.change_threshold.HasField("absolute")


def test_first_run_keeps_the_values_and_drops_the_changes():
    config = tfma.utils.update_eval_config_with_defaults(
        make_eval_config(EvaluationSettings(), CLASSES, "f00d"),
        has_baseline=False,
        rubber_stamp=True,
    )

    for threshold in thresholds(config).values():
        assert threshold.threshold.HasField("value_threshold")
        assert not threshold.threshold.HasField("change_threshold")


def test_every_custom_metric_loads_from_its_module_and_carries_the_fingerprint():
    config = make_eval_config(EvaluationSettings(), CLASSES, "f00d")
    custom = [metric for metric in config.metrics_specs[0].metrics if metric.module]

    assert [metric.class_name for metric in custom] == ["ClassifierMetrics"]
    for metric in custom:
        options = json.loads(metric.config)
        assert options["fingerprint"] == "f00d"
        made = getattr(importlib.import_module(metric.module), metric.class_name)(**options)
        assert made.name == options["name"]


def test_another_fingerprint_is_another_configuration():
    one, same, other = (
        make_eval_config(EvaluationSettings(), CLASSES, hexes) for hexes in ("a", "a", "b")
    )

    assert one.SerializeToString(deterministic=True) == same.SerializeToString(deterministic=True)
    assert one != other


@pytest.mark.parametrize("classes", [[], ["cs"], ["cs", "cs"]])
def test_classes_must_be_several_and_distinct(classes):
    with pytest.raises(ValueError, match="at least two and distinct"):
        make_eval_config(EvaluationSettings(), classes, "f00d")


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("min_accuracy", 1.01, "less than or equal to 1"),
        ("min_accuracy", -0.1, "greater than or equal to 0"),
        ("min_accuracy", "0.8", "valid number"),
        ("min_macro_f1", float("nan"), "finite number"),
        ("max_cross_entropy", 0.0, "greater than 0"),
        ("max_cross_entropy", float("inf"), "finite number"),
        ("max_accuracy_drop", 2, "less than or equal to 1"),
        ("max_macro_f1_drop", -1, "greater than or equal to 0"),
        ("slices", ["tokens"], "unknown slice 'tokens'; allowed: label, length_bucket"),
        ("slices", ["year", "year"], "named twice"),
        ("min_f1", 0.5, "Extra inputs are not permitted"),
    ],
)
def test_impossible_settings_are_refused(key, value, allowed):
    with pytest.raises(ValidationError, match=allowed) as refused:
        EvaluationSettings(**{key: value})
    assert refused.value.errors()[0]["loc"][0] == key
