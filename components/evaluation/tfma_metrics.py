"""Arg-max multi-class metrics for TensorFlow Model Analysis.

TFMA's own precision, recall and F1 binarize at a score of 0.5, which does not suit a classifier
that predicts the class with the highest score. The metrics here are those of
:mod:`components.metrics.classification`, computed from TFMA's multi-class confusion matrix at
threshold 0, where the predicted class is the arg-max of the scores.

An ``EvalConfig`` refers to these classes by module and class name. Each takes an unused
``fingerprint``: TFX caches an evaluation by its configuration, so only a hash of this code in that
configuration makes an edit take effect.
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

from components.metrics import classification

EXAMPLE_COUNT = "example_count"
RELIABILITY_BINS = "reliability_bins"
CONFUSION_MATRIX = "multi_class_confusion_matrix_plot"

_THRESHOLD = 0.0


def matrix_from_entries(
    entries: Mapping[tuple[int, int], float], num_classes: int
) -> NDArray[np.float64]:
    """Returns float64 [num_classes, num_classes] counts: row = true class, column = predicted.

    Args:
        entries: {(true class id, predicted class id): count}.
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


class ArgMaxScores(metric_types.Metric):  # type: ignore[misc]
    """Macro-F1, micro-F1, weighted F1 and per-class scores from one confusion matrix.

    Macro-F1 has the metric's name, so that this metric's threshold applies to it. The others are
    named as in :mod:`components.metrics.classification`; per-class scores are keyed by class id.
    """

    def __init__(
        self, num_classes: int, fingerprint: str = "", name: str = classification.F1_MACRO
    ) -> None:
        super().__init__(
            metric_util.merge_per_key_computations(_arg_max_computations),
            num_classes=num_classes,
            fingerprint=fingerprint,
            name=name,
        )


# TFMA inspects the argument names of this function.
def _arg_max_computations(
    name: str,
    num_classes: int,
    fingerprint: str = "",  # noqa: ARG001
    eval_config: config_pb2.EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
) -> list[Any]:
    computations = multi_class_confusion_matrix_metrics.multi_class_confusion_matrices(
        thresholds=[_THRESHOLD],
        eval_config=eval_config,
        model_name=model_name,
        output_name=output_name,
        example_weighted=example_weighted,
    )
    matrix_key = computations[-1].keys[-1]

    def key_of(score: str, class_id: int | None = None) -> metric_types.MetricKey:
        return metric_types.MetricKey(
            name=score,
            model_name=model_name,
            output_name=output_name,
            sub_key=None if class_id is None else metric_types.SubKey(class_id=class_id),
            example_weighted=example_weighted,
        )

    averages = {
        key_of(name): classification.f1_macro,
        key_of(classification.F1_MICRO): classification.f1_micro,
        key_of(classification.F1_WEIGHTED): classification.f1_weighted,
    }
    by_class = {
        key_of(score, class_id): (score, class_id)
        for score in classification.PER_CLASS
        for class_id in range(num_classes)
    }

    def result(metrics: dict[metric_types.MetricKey, Any]) -> dict[metric_types.MetricKey, float]:
        matrix = matrix_from_entries(metrics[matrix_key].get(_THRESHOLD, {}), num_classes)
        scores = classification.per_class_scores(matrix)
        return {
            **{key: float(average(matrix)) for key, average in averages.items()},
            **{key: float(scores[score][i]) for key, (score, i) in by_class.items()},
        }

    derived = metric_types.DerivedMetricComputation(keys=[*averages, *by_class], result=result)
    return [*computations, derived]


class ExpectedCalibrationError(metric_types.Metric):  # type: ignore[misc]
    """Expected calibration error of the highest score, and the bins of its reliability diagram.

    Also computes `RELIABILITY_BINS`, float64 [bins, 3]: the number of examples, the sum of their
    highest scores and the number of correct predictions.
    """

    def __init__(
        self,
        bins: int = classification.CALIBRATION_BINS,
        fingerprint: str = "",
        name: str = classification.ECE,
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
        rows, confidence, right = metrics[bins_key].T
        error = classification.expected_calibration_error(confidence - right, rows.sum())
        return {ece_key: float(error)}

    return [binned, metric_types.DerivedMetricComputation(keys=[ece_key], result=result)]


class ReliabilityCombiner(beam.CombineFn):  # type: ignore[misc]
    """Sums [bins, 3] tables of counts, confidences and correct predictions."""

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
        row = accumulator[classification.calibration_bins(confidence, self._bins)]
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
