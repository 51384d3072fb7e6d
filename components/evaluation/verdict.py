"""Converts TFMA's results to plain metrics and a verdict in words."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
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


def _model_metrics(result: tfma.EvalResult, classes: Sequence[str]) -> ModelMetrics:
    order = [list(spec.feature_keys) for spec in result.config.slicing_specs]
    overall, slices = None, []
    for raw_key, by_output in result.slicing_metrics:
        key = tuple((feature, _text(value)) for feature, value in raw_key)
        metrics = _metrics(by_output[""][""], classes)
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


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _metrics(values: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    size = len(classes)
    matrix = _array(values.get(tfma_metrics.CONFUSION_MATRIX), (size, size))
    by_class = classification.per_class_scores(matrix)
    return {
        "examples": round(matrix.sum()),
        **{name: _number(values.get(name)) for name in _SCALARS},
        classification.F1_MICRO: _finite(classification.accuracy(matrix)),
        classification.F1_WEIGHTED: _finite(classification.f1_weighted(matrix)),
        "per_class": {
            name: ClassMetrics(**{score: _finite(of[i]) for score, of in by_class.items()})
            for i, name in enumerate(classes)
        },
        "confusion_matrix": matrix.astype(int).tolist(),
        "reliability": _reliability(_array(values.get(tfma_metrics.RELIABILITY_BINS), (0, 3))),
    }


def _number(value: Any) -> float | None:
    """Returns a metric's value, or None if it is missing or not finite."""
    return _finite(value["doubleValue"]) if value and "doubleValue" in value else None


def _finite(value: Any) -> float | None:
    # Protobuf's JSON form writes NaN and infinities as strings, which float() reads.
    number = float(value)
    return number if math.isfinite(number) else None


def _array(value: Any, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Returns an array of counts; zeros of this shape if it is missing."""
    if not value:
        return np.zeros(shape)
    array = value["arrayValue"]
    return np.array(array["float64Values"], np.float64).reshape([int(n) for n in array["shape"]])


def _reliability(bins: npt.NDArray[np.float64]) -> list[ReliabilityBin]:
    return [
        ReliabilityBin(
            lower=index / len(bins),
            upper=(index + 1) / len(bins),
            examples=round(rows),
            confidence=_finite(confidence / rows) if rows else None,
            accuracy=_finite(correct / rows) if rows else None,
        )
        for index, (rows, confidence, correct) in enumerate(bins.tolist())
    ]


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
    for metric in (metric for spec in config.metrics_specs for metric in spec.metrics):
        name = json.loads(metric.config)["name"]
        value = getattr(overall, name)
        for threshold in (one.threshold for one in metric.per_slice_thresholds):
            passed = (name, False) not in failed
            limits = threshold.value_threshold
            lower = limits.HasField("lower_bound")
            bound = _bound(limits.lower_bound.value if lower else limits.upper_bound.value)
            reason = _value_reason(name, value, bound, lower, passed)
            check = {"metric": name, "slice": OVERALL, "value": value}
            checks.append(ThresholdCheck(**check, bound=bound, passed=passed, reason=reason))
            if threshold.HasField("change_threshold") and baseline is not None:
                passed = (name, True) not in failed
                earlier = getattr(baseline, name)
                bound = _bound(abs(threshold.change_threshold.absolute.value))
                reason = _change_reason(name, value, earlier, bound, passed)
                checks.append(
                    ThresholdCheck(
                        **check, kind="change", baseline=earlier, bound=bound, passed=passed,
                        reason=reason,
                    )
                )  # fmt: skip
    return checks


def _value_reason(name: str, value: float | None, bound: float, lower: bool, passed: bool) -> str:
    if value is None:
        return f"{name} is not a number; the threshold is {bound:g} ({OVERALL})"
    if passed:
        words = "reaches" if lower else "stays within"
    else:
        words = f"is {'below' if lower else 'above'}"
    return f"{name} {_apart(value, bound)} {words} the threshold {bound:g} ({OVERALL})"


def _change_reason(
    name: str, value: float | None, earlier: float | None, allowed: float, passed: bool
) -> str:
    if value is None or earlier is None:
        words = "cannot be compared with the last pushed model's: not a number"
    elif passed:
        words = (
            f"{value:.4f} holds against the last pushed model's {earlier:.4f} "
            f"({value - earlier:+.4f}, a drop of {allowed:g} is allowed)"
        )
    else:
        words = (
            f"{value:.4f} is {_apart(earlier - value, allowed)} below the last pushed model's "
            f"{earlier:.4f}; a drop of {allowed:g} is allowed"
        )
    return f"{name} {words} ({OVERALL})"


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
