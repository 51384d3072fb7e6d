"""From TFMA's results to plain figures and to the verdict in words."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_model_analysis as tfma

from components.evaluation import tfma_metrics
from components.metrics import classification

FORMAT_VERSION = 1
OVERALL = "overall"
CANDIDATE = "candidate"
BASELINE = "baseline"

_SCALARS = (
    classification.ACCURACY,
    classification.LOG_LOSS,
    classification.F1_MACRO,
    classification.F1_MICRO,
    classification.F1_WEIGHTED,
    classification.ECE,
)


def summarize(
    candidate: tfma.EvalResult,
    validation: Any,
    classes: Sequence[str],
    baseline: tfma.EvalResult | None = None,
) -> dict[str, Any]:
    """Returns every figure of an evaluation as JSON values, and why the model passed or not.

    Keys of the result:

    - ``classes``: names, in the order of the confusion matrix's rows and columns.
    - ``blessed``: whether every threshold holds.
    - ``reasons``: a sentence for each threshold that does not hold; for a blessed model, for each.
    - ``checks``: a dict for each threshold: metric, kind (value or change), slice, value, baseline
      (None unless kind is change), bound, passed, reason.
    - ``overall``: the figures of the whole split: examples, accuracy, cross_entropy (nats),
      macro_f1, micro_f1, weighted_f1, expected_calibration_error, per_class (precision, recall,
      f1, support), confusion_matrix (counts; row = true class), reliability (bins of the highest
      score: lower, upper, examples, confidence, accuracy).
    - ``slices``: such figures for each value of each sliced feature, with feature and value.
    - ``baseline``: ``overall`` and ``slices`` of the model compared with, or None.

    A figure that is not defined (a class that does not occur, an empty bin) is None.

    Args:
      candidate: TFMA's result for the model in question; its config names metrics and slices.
      validation: the ``tfma.ValidationResult`` of the same evaluation.
      classes: class names, in the order of the label ids.
      baseline: the result for the last pushed model, where one was compared.

    Raises:
      ValueError: the result holds no figures for the whole split.
    """
    result: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "classes": list(classes),
        "blessed": bool(validation.validation_ok),
        "overall": _overall(candidate, classes),
        "slices": _slices(candidate, classes),
        "baseline": None,
    }
    if baseline is not None:
        result["baseline"] = {
            "overall": _overall(baseline, classes),
            "slices": _slices(baseline, classes),
        }
    checks = _checks(result, candidate.config, validation)
    failed = [check["reason"] for check in checks if not check["passed"]]
    if not validation.validation_ok and not failed:
        failed = ["a threshold could not be checked: the test split gave no figure for it"]
    result["checks"] = checks
    result["reasons"] = failed or [check["reason"] for check in checks]
    return result


def _options(metric: tfma.MetricConfig) -> dict[str, Any]:
    return dict(json.loads(metric.config)) if metric.config else {}


def _overall(result: tfma.EvalResult, classes: Sequence[str]) -> dict[str, Any]:
    plots = _plots(result)
    for key, by_output in result.slicing_metrics:
        if not key:
            return _figures(by_output[""], plots.get((), {}), classes)
    raise ValueError("the evaluation holds no figures for the whole split: is the split empty?")


def _slices(result: tfma.EvalResult, classes: Sequence[str]) -> list[dict[str, Any]]:
    order = [list(spec.feature_keys) for spec in result.config.slicing_specs]
    plots = _plots(result)
    slices = []
    for key, by_output in result.slicing_metrics:
        if key:
            # One feature a slicing spec, so one pair a key.
            ((feature, value),) = key
            slices.append(
                {
                    "feature": feature,
                    "value": _text(value),
                    **_figures(by_output[""], plots.get(_slice_key(key), {}), classes),
                }
            )
    return sorted(slices, key=lambda one: (order.index([one["feature"]]), one["value"]))


def _plots(result: tfma.EvalResult) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    return {_slice_key(key): by_output[""][""] for key, by_output in result.plots}


def _slice_key(key: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    return tuple((feature, _text(value)) for feature, value in key)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _figures(
    by_sub_key: Mapping[str, Mapping[str, Any]], plots: Mapping[str, Any], classes: Sequence[str]
) -> dict[str, Any]:
    scalars = by_sub_key[""]
    per_class = {}
    for class_id, name in enumerate(classes):
        scores = by_sub_key.get(f"classId:{class_id}", {})
        per_class[name] = {score: _number(scores.get(score)) for score in classification.PER_CLASS}
        per_class[name][classification.SUPPORT] = _count(scores.get(classification.SUPPORT))
    return {
        "examples": _count(scalars.get(tfma_metrics.EXAMPLE_COUNT)),
        **{name: _number(scalars.get(name)) for name in _SCALARS},
        "per_class": per_class,
        "confusion_matrix": _confusion_matrix(plots, len(classes)),
        "reliability": _reliability(scalars.get(tfma_metrics.RELIABILITY_BINS)),
    }


def _number(value: Any) -> float | None:
    """Returns a metric's value, or None where there is none or it is not a number."""
    return _finite(value["doubleValue"]) if value and "doubleValue" in value else None


def _finite(value: float | str) -> float | None:
    # Protobuf's JSON form writes NaN and infinities as strings, which float() reads.
    number = float(value)
    return number if math.isfinite(number) else None


def _count(value: Any) -> int:
    number = _number(value)
    return 0 if number is None else round(number)


def _confusion_matrix(plots: Mapping[str, Any], num_classes: int) -> list[list[int]]:
    entries = {}
    for matrix in plots.get("multiClassConfusionMatrixAtThresholds", {}).get("matrices", []):
        for entry in matrix.get("entries", []):
            # Protobuf's JSON form leaves out a class id of 0.
            ids = (int(entry.get("actualClassId", 0)), int(entry.get("predictedClassId", 0)))
            entries[ids] = float(entry.get("numWeightedExamples", 0))
    counts = tfma_metrics.matrix_from_entries(entries, num_classes)
    return [[round(count) for count in row] for row in counts]


def _reliability(value: Any) -> list[dict[str, Any]]:
    if not value:
        return []
    bins, columns = (int(size) for size in value["arrayValue"]["shape"])
    flat = [float(number) for number in value["arrayValue"]["float64Values"]]
    rows = []
    for index in range(bins):
        count, confidence, correct = flat[index * columns : (index + 1) * columns]
        rows.append(
            {
                "lower": index / bins,
                "upper": (index + 1) / bins,
                "examples": round(count),
                "confidence": _finite(confidence / count) if count else None,
                "accuracy": _finite(correct / count) if count else None,
            }
        )
    return rows


def _checks(
    result: Mapping[str, Any], config: tfma.EvalConfig, validation: Any
) -> list[dict[str, Any]]:
    """Returns a dict for each threshold; TFMA's validation decides which of them failed."""
    failed = {
        (failure.metric_key.name, failure.metric_key.is_diff)
        for by_slice in validation.metric_validations_per_slice
        if not by_slice.slice_key.single_slice_keys
        for failure in by_slice.failures
    }
    checks = []
    for spec in config.metrics_specs:
        for metric in spec.metrics:
            name = _options(metric).get("name", metric.class_name)
            for per_slice in metric.per_slice_thresholds:
                threshold = per_slice.threshold
                if threshold.HasField("value_threshold"):
                    passed = (name, False) not in failed
                    checks.append(_value_check(result, name, threshold.value_threshold, passed))
                if threshold.HasField("change_threshold") and result["baseline"]:
                    passed = (name, True) not in failed
                    checks.append(_change_check(result, name, threshold.change_threshold, passed))
    return checks


def _value_check(
    result: Mapping[str, Any], name: str, threshold: Any, passed: bool
) -> dict[str, Any]:
    value = result["overall"][name]
    lower = threshold.HasField("lower_bound")
    bound = _bound(threshold.lower_bound.value if lower else threshold.upper_bound.value)
    if value is None:
        words = f"is not a number; the threshold is {bound:g}"
    elif passed:
        words = f"{'reaches' if lower else 'stays within'} the threshold {bound:g}"
    else:
        words = f"is {'below' if lower else 'above'} the threshold {bound:g}"
    shown = "" if value is None else f" {_apart(value, bound)}"
    return {
        "metric": name,
        "kind": "value",
        "slice": OVERALL,
        "value": value,
        "baseline": None,
        "bound": bound,
        "passed": passed,
        "reason": f"{name}{shown} {words} ({OVERALL})",
    }


def _change_check(
    result: Mapping[str, Any], name: str, threshold: Any, passed: bool
) -> dict[str, Any]:
    value, earlier = result["overall"][name], result["baseline"]["overall"][name]
    allowed = _bound(abs(threshold.absolute.value))
    if value is None or earlier is None:
        words = f"{name} cannot be compared with the last pushed model's: not a number"
    else:
        change = value - earlier
        against = f"the last pushed model's {earlier:.4f}"
        if passed:
            words = (
                f"{name} {value:.4f} holds against {against} ({change:+.4f}, "
                f"a drop of {allowed:g} is allowed)"
            )
        else:
            words = (
                f"{name} {value:.4f} is {_apart(-change, allowed)} below {against}; "
                f"a drop of {allowed:g} is allowed"
            )
    return {
        "metric": name,
        "kind": "change",
        "slice": OVERALL,
        "value": value,
        "baseline": earlier,
        "bound": allowed,
        "passed": passed,
        "reason": f"{words} ({OVERALL})",
    }


def _bound(value: float) -> float:
    """Returns a threshold as it was configured, rid of its passage through float32."""
    return float(f"{value:.6g}")


def _apart(value: float, bound: float) -> str:
    """Returns a figure with four decimals, or as many as tell it from its threshold."""
    for digits in range(4, 12):
        shown = f"{value:.{digits}f}"
        if float(shown) != bound or value == bound:
            return shown
    return repr(value)
