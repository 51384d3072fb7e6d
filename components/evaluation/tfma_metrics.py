"""Metrics of the highest score for TensorFlow Model Analysis.

TFMA's own precision, recall and F1 binarize at a score of 0.5, which does not suit a classifier
that predicts the class with the highest score. Here, one combiner counts, and
:mod:`components.metrics.classification` computes the metrics from the counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import numpy as np
from numpy.typing import NDArray
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.proto import config_pb2

from components.metrics import classification

CONFUSION_MATRIX = "confusion_matrix"
RELIABILITY_BINS = "reliability_bins"

Counts = tuple[NDArray[np.float64], NDArray[np.float64]]


class ClassifierMetrics(metric_types.Metric):  # type: ignore[misc]
    """Macro-F1 and expected calibration error, and the counts that they come from.

    Macro-F1 has the metric's name, so that this metric's threshold applies to it. The counts are
    `CONFUSION_MATRIX`, float64 [classes, classes] (row = true class, column = predicted), and
    `RELIABILITY_BINS`, float64 [bins, 3]: the number of examples, the sum of their highest scores
    and the number of correct predictions.

    An ``EvalConfig`` refers to this class by module and name. ``fingerprint`` is unused: TFX caches
    an evaluation by its configuration, so only a hash of this code in that configuration makes an
    edit take effect.
    """

    def __init__(
        self, num_classes: int, fingerprint: str = "", name: str = classification.F1_MACRO
    ) -> None:
        super().__init__(
            metric_util.merge_per_key_computations(_computations),
            num_classes=num_classes,
            fingerprint=fingerprint,
            name=name,
        )


# TFMA inspects the argument names of this function.
def _computations(
    name: str,
    num_classes: int,
    fingerprint: str = "",  # noqa: ARG001
    eval_config: config_pb2.EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
) -> list[Any]:
    f1, error, matrix, bins = (
        metric_types.MetricKey(
            name=metric,
            model_name=model_name,
            output_name=output_name,
            example_weighted=example_weighted,
        )
        for metric in (name, classification.ECE, CONFUSION_MATRIX, RELIABILITY_BINS)
    )

    def result(counts: dict[metric_types.MetricKey, Any]) -> dict[metric_types.MetricKey, float]:
        rows, confidence, right = counts[bins].T
        return {
            f1: float(classification.f1_macro(counts[matrix])),
            error: float(classification.expected_calibration_error(confidence - right, rows.sum())),
        }

    return [
        metric_types.MetricComputation(
            keys=[matrix, bins],
            preprocessors=None,
            combiner=CountCombiner(matrix, bins, num_classes, eval_config),
        ),
        metric_types.DerivedMetricComputation(keys=[f1, error], result=result),
    ]


class CountCombiner(beam.CombineFn):  # type: ignore[misc]
    """Sums confusion matrices and reliability bins; see :class:`ClassifierMetrics`."""

    def __init__(
        self,
        matrix: metric_types.MetricKey,
        bins: metric_types.MetricKey,
        num_classes: int,
        eval_config: config_pb2.EvalConfig | None,
    ) -> None:
        self._keys = matrix, bins
        self._classes = num_classes
        self._eval_config = eval_config

    def create_accumulator(self) -> Counts:
        return (
            np.zeros((self._classes, self._classes)),
            np.zeros((classification.CALIBRATION_BINS, 3)),
        )

    def add_input(self, counts: Counts, element: metric_types.StandardMetricInputs) -> Counts:
        """Counts an example; raises ValueError if a class id is outside [0, num_classes)."""
        key = self._keys[0]
        label, scores, weight = next(
            metric_util.to_label_prediction_example_weight(
                element,
                eval_config=self._eval_config,
                model_name=key.model_name,
                output_name=key.output_name,
                example_weighted=key.example_weighted,
                flatten=False,
                require_single_example_weight=True,
            )
        )
        actual, predicted, rows = int(label.item()), int(np.argmax(scores)), float(weight.item())
        if not (0 <= actual < self._classes and predicted < self._classes):
            raise ValueError(
                f"true class {actual}, predicted class {predicted}: both must lie in "
                f"[0, {self._classes}); the labels or scores do not match the classes"
            )
        confidence = float(scores[predicted])
        matrix, bins = counts
        matrix[actual, predicted] += rows
        bins[classification.calibration_bins(confidence)] += (
            rows,
            rows * confidence,
            rows * (predicted == actual),
        )
        return counts

    def merge_accumulators(self, accumulators: Iterable[Counts]) -> Counts:
        matrices, bins = zip(*accumulators, strict=True)
        return np.sum(matrices, axis=0), np.sum(bins, axis=0)

    def extract_output(self, counts: Counts) -> dict[metric_types.MetricKey, Any]:
        return dict(zip(self._keys, counts, strict=True))
