"""Arg-max multi-class metrics for TensorFlow Model Analysis.

TFMA's own precision, recall and F1 are binarised at a score of 0.5, which is not what a classifier
that answers with its highest score does. The metrics here are derived from TFMA's multi-class
confusion matrix at threshold 0, where the predicted class is the arg-max of the scores, and equal
scikit-learn's on the same predictions.

An ``EvalConfig`` names these classes by module and class name. Each takes a ``fingerprint`` that
it does not use: TFX caches an evaluation by its configuration, so a hash of this code has to be
part of that configuration for an edit to take effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
from numpy.typing import NDArray
from tensorflow_model_analysis.metrics import (
    metric_types,
    metric_util,
    multi_class_confusion_matrix_metrics,
)
from tensorflow_model_analysis.proto import config_pb2

EXAMPLE_COUNT = "example_count"
ACCURACY = "accuracy"
CROSS_ENTROPY = "cross_entropy"
MACRO_F1 = "macro_f1"
MICRO_F1 = "micro_f1"
WEIGHTED_F1 = "weighted_f1"

PRECISION = "precision"
RECALL = "recall"
F1 = "f1"
SUPPORT = "support"
PER_CLASS_SCORES = "per_class_scores"
PER_CLASS = (PRECISION, RECALL, F1, SUPPORT)

ECE = "expected_calibration_error"
RELIABILITY_BINS = "reliability_bins"
CONFUSION_MATRIX = "multi_class_confusion_matrix_plot"
CALIBRATION_BINS = 15
"""Equal-width bins of the highest score over [0, 1], as in Guo et al. (2017)."""

_THRESHOLD = 0.0


def matrix_from_entries(
    entries: Mapping[tuple[int, int], float], num_classes: int
) -> NDArray[np.float64]:
    """Returns float64 [num_classes, num_classes] counts: row = true class, column = predicted.

    Args:
      entries: count of each (true class id, predicted class id).
      num_classes: number of classes.

    Raises:
      ValueError: an id is outside [0, num_classes).
    """
    matrix = np.zeros((num_classes, num_classes))
    for (actual, predicted), count in entries.items():
        if not (0 <= actual < num_classes and 0 <= predicted < num_classes):
            raise ValueError(
                f"true class {actual}, predicted class {predicted}: both must lie in "
                f"[0, {num_classes}); the labels or scores do not match the {num_classes} classes"
            )
        matrix[actual, predicted] = count
    return matrix


def per_class_scores(matrix: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Returns precision, recall, F1 and support of each class, each float64 [classes].

    A share whose denominator is zero is 0 where the class occurs as a truth or as a prediction
    (scikit-learn's ``zero_division=0``), and NaN where it occurs as neither.

    Args:
      matrix: counts, row = true class, column = predicted class.
    """
    correct = np.diag(matrix)
    support = matrix.sum(axis=1)
    predicted = matrix.sum(axis=0)
    present = (support + predicted) > 0

    def share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
        ratio = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
        return np.where(present, ratio, np.nan)

    return {
        PRECISION: share(correct, predicted),
        RECALL: share(correct, support),
        F1: share(2 * correct, support + predicted),
        SUPPORT: support,
    }


def macro_f1(matrix: NDArray[np.float64]) -> float:
    """Returns the mean F1 of the classes that occur as a truth or as a prediction.

    This is ``sklearn.metrics.f1_score(average="macro")`` with its default labels: a class that a
    slice neither holds nor predicts does not pull the slice's mean down.
    """
    scores = per_class_scores(matrix)[F1]
    return float(np.nanmean(scores)) if matrix.sum() else float("nan")


def weighted_f1(matrix: NDArray[np.float64]) -> float:
    """Returns the mean F1 of the classes, weighted by their true counts."""
    scores = per_class_scores(matrix)
    total = scores[SUPPORT].sum()
    return float(np.nansum(scores[F1] * scores[SUPPORT]) / total) if total else float("nan")


def micro_f1(matrix: NDArray[np.float64]) -> float:
    """Returns F1 over all decisions; with one label a row it equals accuracy."""
    total = matrix.sum()
    return float(np.trace(matrix) / total) if total else float("nan")


_AVERAGES = {MACRO_F1: macro_f1, MICRO_F1: micro_f1, WEIGHTED_F1: weighted_f1}


class _ConfusionMetric(metric_types.Metric):  # type: ignore[misc]
    """A metric whose configuration carries the number of classes and the hash of this code."""

    def __init__(
        self,
        create_computations_fn: Any,
        num_classes: int,
        fingerprint: str,
        name: str,
    ) -> None:
        super().__init__(
            metric_util.merge_per_key_computations(create_computations_fn),
            num_classes=num_classes,
            fingerprint=fingerprint,
            name=name,
        )


class MacroF1(_ConfusionMetric):
    """Unweighted mean of the classes' F1; see `macro_f1`."""

    def __init__(self, num_classes: int, fingerprint: str = "", name: str = MACRO_F1) -> None:
        super().__init__(_macro_f1_computations, num_classes, fingerprint, name)


class MicroF1(_ConfusionMetric):
    """F1 over all decisions; see `micro_f1`."""

    def __init__(self, num_classes: int, fingerprint: str = "", name: str = MICRO_F1) -> None:
        super().__init__(_micro_f1_computations, num_classes, fingerprint, name)


class WeightedF1(_ConfusionMetric):
    """Mean of the classes' F1 by true count; see `weighted_f1`."""

    def __init__(self, num_classes: int, fingerprint: str = "", name: str = WEIGHTED_F1) -> None:
        super().__init__(_weighted_f1_computations, num_classes, fingerprint, name)


class PerClassScores(_ConfusionMetric):
    """Precision, recall, F1 and support of each class, keyed by class id."""

    def __init__(
        self, num_classes: int, fingerprint: str = "", name: str = PER_CLASS_SCORES
    ) -> None:
        super().__init__(_per_class_computations, num_classes, fingerprint, name)


def _confusion_matrix(
    eval_config: config_pb2.EvalConfig | None,
    model_name: str,
    output_name: str,
    example_weighted: bool,
) -> tuple[list[Any], metric_types.MetricKey]:
    """Returns the shared confusion-matrix computation and the key of its result."""
    computations = multi_class_confusion_matrix_metrics.multi_class_confusion_matrices(
        thresholds=[_THRESHOLD],
        eval_config=eval_config,
        model_name=model_name,
        output_name=output_name,
        example_weighted=example_weighted,
    )
    return computations, computations[-1].keys[-1]


def _average_computations(
    name: str,
    num_classes: int,
    eval_config: config_pb2.EvalConfig | None,
    model_name: str,
    output_name: str,
    example_weighted: bool,
    kind: str,
) -> list[Any]:
    computations, matrix_key = _confusion_matrix(
        eval_config, model_name, output_name, example_weighted
    )
    key = metric_types.MetricKey(
        name=name,
        model_name=model_name,
        output_name=output_name,
        example_weighted=example_weighted,
    )

    def result(metrics: dict[metric_types.MetricKey, Any]) -> dict[metric_types.MetricKey, float]:
        entries = metrics[matrix_key].get(_THRESHOLD, {})
        return {key: _AVERAGES[kind](matrix_from_entries(entries, num_classes))}

    derived = metric_types.DerivedMetricComputation(keys=[key], result=result)
    return [*computations, derived]


# TFMA looks at the argument names of the function a metric was made with, so each metric has a
# function with the full list; a functools.partial would hide them.
def _macro_f1_computations(
    name: str,
    num_classes: int,
    fingerprint: str = "",  # noqa: ARG001
    eval_config: config_pb2.EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
) -> list[Any]:
    return _average_computations(
        name, num_classes, eval_config, model_name, output_name, example_weighted, MACRO_F1
    )


def _micro_f1_computations(
    name: str,
    num_classes: int,
    fingerprint: str = "",  # noqa: ARG001
    eval_config: config_pb2.EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
) -> list[Any]:
    return _average_computations(
        name, num_classes, eval_config, model_name, output_name, example_weighted, MICRO_F1
    )


def _weighted_f1_computations(
    name: str,
    num_classes: int,
    fingerprint: str = "",  # noqa: ARG001
    eval_config: config_pb2.EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
) -> list[Any]:
    return _average_computations(
        name, num_classes, eval_config, model_name, output_name, example_weighted, WEIGHTED_F1
    )


def _per_class_computations(
    name: str,  # noqa: ARG001
    num_classes: int,
    fingerprint: str = "",  # noqa: ARG001
    eval_config: config_pb2.EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
) -> list[Any]:
    computations, matrix_key = _confusion_matrix(
        eval_config, model_name, output_name, example_weighted
    )
    keys = {
        (score, class_id): metric_types.MetricKey(
            name=score,
            model_name=model_name,
            output_name=output_name,
            sub_key=metric_types.SubKey(class_id=class_id),
            example_weighted=example_weighted,
        )
        for score in PER_CLASS
        for class_id in range(num_classes)
    }

    def result(metrics: dict[metric_types.MetricKey, Any]) -> dict[metric_types.MetricKey, float]:
        entries = metrics[matrix_key].get(_THRESHOLD, {})
        scores = per_class_scores(matrix_from_entries(entries, num_classes))
        return {key: float(scores[score][class_id]) for (score, class_id), key in keys.items()}

    derived = metric_types.DerivedMetricComputation(keys=list(keys.values()), result=result)
    return [*computations, derived]


def calibration_bin(confidence: float, bins: int = CALIBRATION_BINS) -> int:
    """Returns the bin of a score: bin i holds (i / bins, (i + 1) / bins]; 0 and NaN go to bin 0."""
    if np.isnan(confidence):
        return 0
    return min(max(int(np.ceil(confidence * bins)) - 1, 0), bins - 1)


def expected_calibration_error(table: NDArray[np.float64]) -> float:
    """Returns the mean gap between confidence and accuracy, weighted by each bin's count.

    Formula: sum over bins of count / total * |correct / count - confidence sum / count|
    (Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3).

    Args:
      table: float64 [bins, 3] of count, sum of confidences, number correct.
    """
    total = table[:, 0].sum()
    return float(np.abs(table[:, 2] - table[:, 1]).sum() / total) if total else float("nan")


class ExpectedCalibrationError(metric_types.Metric):  # type: ignore[misc]
    """ECE of the highest score, and the bins of its reliability diagram.

    Besides its own value it gives `RELIABILITY_BINS`: float64 [bins, 3] of the number of examples,
    the sum of their highest scores and the number of them whose arg-max was right.
    """

    def __init__(
        self, bins: int = CALIBRATION_BINS, fingerprint: str = "", name: str = ECE
    ) -> None:
        super().__init__(
            metric_util.merge_per_key_computations(_calibration_computations),
            bins=bins,
            fingerprint=fingerprint,
            name=name,
        )


def _calibration_computations(
    name: str,
    bins: int,
    fingerprint: str = "",  # noqa: ARG001
    eval_config: config_pb2.EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
) -> list[Any]:
    def key_of(metric: str) -> metric_types.MetricKey:
        return metric_types.MetricKey(
            name=metric,
            model_name=model_name,
            output_name=output_name,
            example_weighted=example_weighted,
        )

    ece_key, bins_key = key_of(name), key_of(RELIABILITY_BINS)
    binned = metric_types.MetricComputation(
        keys=[bins_key],
        preprocessors=None,
        combiner=ReliabilityCombiner(bins_key, bins, eval_config, example_weighted),
    )

    def result(metrics: dict[metric_types.MetricKey, Any]) -> dict[metric_types.MetricKey, float]:
        return {ece_key: expected_calibration_error(metrics[bins_key])}

    return [binned, metric_types.DerivedMetricComputation(keys=[ece_key], result=result)]


class ReliabilityCombiner(beam.CombineFn):  # type: ignore[misc]
    """Sums [bins, 3] tables of count, confidence and correct answers; merging is addition."""

    def __init__(
        self,
        key: metric_types.MetricKey,
        bins: int,
        eval_config: config_pb2.EvalConfig | None,
        example_weighted: bool,
    ) -> None:
        self._key = key
        self._bins = bins
        self._eval_config = eval_config
        self._example_weighted = example_weighted

    def create_accumulator(self) -> NDArray[np.float64]:
        return np.zeros((self._bins, 3))

    def add_input(
        self, accumulator: NDArray[np.float64], element: metric_types.StandardMetricInputs
    ) -> NDArray[np.float64]:
        label, scores, weight = next(
            metric_util.to_label_prediction_example_weight(
                element,
                eval_config=self._eval_config,
                model_name=self._key.model_name,
                output_name=self._key.output_name,
                example_weighted=self._example_weighted,
                flatten=False,
                require_single_example_weight=True,
            )
        )
        predicted = int(np.argmax(scores))
        confidence = float(scores[predicted])
        row = accumulator[calibration_bin(confidence, self._bins)]
        row += float(weight.item()) * np.array(
            [1.0, confidence, float(predicted == int(label.item()))]
        )
        return accumulator

    def merge_accumulators(
        self, accumulators: Iterable[NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        total: NDArray[np.float64] = np.sum(list(accumulators), axis=0)
        return total

    def extract_output(
        self, accumulator: NDArray[np.float64]
    ) -> dict[metric_types.MetricKey, NDArray[np.float64]]:
        return {self._key: accumulator}
