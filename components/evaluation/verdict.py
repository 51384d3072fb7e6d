"""Converts TFMA's results to plain metrics and a verdict in words."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_model_analysis as tfma

from components.contracts.evaluation_metrics import (
    ClassMetrics,
    Evaluation,
    Metrics,
    ModelMetrics,
    ReliabilityBin,
    SliceMetrics,
    ThresholdCheck,
)
from components.evaluation import tfma_metrics
from components.metrics import classification

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
) -> Evaluation:
    """Returns the metrics of an evaluation, and why the model passed or not.

    Args:
        candidate: TFMA's result for the candidate; its config names metrics and slices.
        validation: the ``tfma.ValidationResult`` of the same evaluation.
        classes: class names, in the order of the label ids.
        baseline: the result for the last pushed model, if one was compared.

    Raises:
        ValueError: the result has no metrics for the whole split.
    """
    own = _model_metrics(candidate, classes)
    earlier = None if baseline is None else _model_metrics(baseline, classes)
    checks = _checks(
        own.overall, earlier.overall if earlier else None, candidate.config, validation
    )
    failed = [check.reason for check in checks if not check.passed]
    if not validation.validation_ok and not failed:
        failed = ["a threshold could not be checked: the test split gave no value for it"]
    return Evaluation(
        **dict(own),
        classes=tuple(classes),
        blessed=bool(validation.validation_ok),
        baseline=earlier,
        checks=tuple(checks),
        reasons=tuple(failed or [check.reason for check in checks]),
    )


def _options(metric: tfma.MetricConfig) -> dict[str, Any]:
    return dict(json.loads(metric.config)) if metric.config else {}


def _model_metrics(result: tfma.EvalResult, classes: Sequence[str]) -> ModelMetrics:
    order = [list(spec.feature_keys) for spec in result.config.slicing_specs]
    plots = {_slice_key(key): by_output[""][""] for key, by_output in result.plots}
    overall, slices = None, []
    for raw_key, by_output in result.slicing_metrics:
        key = _slice_key(raw_key)
        metrics = _metrics(by_output[""], plots.get(key, {}), classes)
        if not key:
            overall = Metrics(**metrics)
        else:
            # Each slicing spec has one feature, so each key has one pair.
            ((feature, value),) = key
            slices.append(SliceMetrics(feature=feature, value=value, **metrics))
    if overall is None:
        raise ValueError("the evaluation holds no metrics for the whole split: is the split empty?")
    slices.sort(key=lambda one: (order.index([one.feature]), one.value))
    return ModelMetrics(overall=overall, slices=tuple(slices))


def _slice_key(key: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    return tuple((feature, _text(value)) for feature, value in key)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _metrics(
    by_sub_key: Mapping[str, Mapping[str, Any]], plots: Mapping[str, Any], classes: Sequence[str]
) -> dict[str, Any]:
    scalars = by_sub_key[""]
    per_class = {}
    for class_id, name in enumerate(classes):
        scores = by_sub_key.get(f"classId:{class_id}", {})
        per_class[name] = ClassMetrics(
            precision=_number(scores.get(classification.PRECISION)),
            recall=_number(scores.get(classification.RECALL)),
            f1=_number(scores.get(classification.F1)),
            support=_count(scores.get(classification.SUPPORT)),
        )
    return {
        "examples": _count(scalars.get(tfma_metrics.EXAMPLE_COUNT)),
        **{name: _number(scalars.get(name)) for name in _SCALARS},
        "per_class": per_class,
        "confusion_matrix": _confusion_matrix(plots, len(classes)),
        "reliability": _reliability(scalars.get(tfma_metrics.RELIABILITY_BINS)),
    }


def _number(value: Any) -> float | None:
    """Returns a metric's value, or None if it is missing or not finite."""
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
            # Protobuf's JSON form omits a class id of 0.
            ids = (int(entry.get("actualClassId", 0)), int(entry.get("predictedClassId", 0)))
            entries[ids] = float(entry.get("numWeightedExamples", 0))
    counts = tfma_metrics.matrix_from_entries(entries, num_classes)
    return [[round(count) for count in row] for row in counts]


def _reliability(value: Any) -> list[ReliabilityBin]:
    if not value:
        return []
    bins, columns = (int(size) for size in value["arrayValue"]["shape"])
    flat = [float(number) for number in value["arrayValue"]["float64Values"]]
    rows = []
    for index in range(bins):
        count, confidence, correct = flat[index * columns : (index + 1) * columns]
        rows.append(
            ReliabilityBin(
                lower=index / bins,
                upper=(index + 1) / bins,
                examples=round(count),
                confidence=_finite(confidence / count) if count else None,
                accuracy=_finite(correct / count) if count else None,
            )
        )
    return rows


def _checks(
    overall: Metrics, baseline: Metrics | None, config: tfma.EvalConfig, validation: Any
) -> list[ThresholdCheck]:
    """Lists the thresholds; TFMA's validation says which failed."""
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
            value = getattr(overall, name, None)
            for per_slice in metric.per_slice_thresholds:
                threshold = per_slice.threshold
                if threshold.HasField("value_threshold"):
                    passed = (name, False) not in failed
                    checks.append(_value_check(name, value, threshold.value_threshold, passed))
                if threshold.HasField("change_threshold") and baseline is not None:
                    passed = (name, True) not in failed
                    earlier = getattr(baseline, name, None)
                    allowed = _bound(abs(threshold.change_threshold.absolute.value))
                    checks.append(_change_check(name, value, earlier, allowed, passed))
    return checks


def _value_check(name: str, value: float | None, threshold: Any, passed: bool) -> ThresholdCheck:
    lower = threshold.HasField("lower_bound")
    bound = _bound(threshold.lower_bound.value if lower else threshold.upper_bound.value)
    if value is None:
        words = f"is not a number; the threshold is {bound:g}"
    elif passed:
        words = f"{'reaches' if lower else 'stays within'} the threshold {bound:g}"
    else:
        words = f"is {'below' if lower else 'above'} the threshold {bound:g}"
    shown = "" if value is None else f" {_apart(value, bound)}"
    return ThresholdCheck(
        metric=name,
        kind="value",
        slice=OVERALL,
        value=value,
        bound=bound,
        passed=passed,
        reason=f"{name}{shown} {words} ({OVERALL})",
    )


def _change_check(
    name: str, value: float | None, earlier: float | None, allowed: float, passed: bool
) -> ThresholdCheck:
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
    return ThresholdCheck(
        metric=name,
        kind="change",
        slice=OVERALL,
        value=value,
        baseline=earlier,
        bound=allowed,
        passed=passed,
        reason=f"{words} ({OVERALL})",
    )


def _bound(value: float) -> float:
    """Returns a threshold as it was configured, without float32's rounding error."""
    return float(f"{value:.6g}")


def _apart(value: float, bound: float) -> str:
    """Formats a value with four decimals, or with as many as tell it from its threshold."""
    for digits in range(4, 12):
        shown = f"{value:.{digits}f}"
        if float(shown) != bound or value == bound:
            return shown
    return repr(value)
