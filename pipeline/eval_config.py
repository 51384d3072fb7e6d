"""TFMA's EvalConfig: the compared model outputs, metrics, slices and thresholds."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import tensorflow_model_analysis as tfma

from components.contracts.columns import ARXIV, Columns
from components.contracts.features import (
    LABEL_ID,
    SCORES_OUTPUT,
    SERVING_EXAMPLES,
    SLICE_FEATURES,
    TRANSFORM_FEATURES,
    YEAR,
)
from components.evaluation import tfma_metrics
from components.evaluation.evaluation_settings import LABEL_SLICE, EvaluationSettings
from components.metrics import classification

__all__ = ["EvaluationSettings", "make_eval_config"]


def make_eval_config(
    settings: EvaluationSettings,
    classes: Sequence[str],
    fingerprint: str,
    columns: Columns = ARXIV,
) -> tfma.EvalConfig:
    """Returns the configuration of the Evaluator.

    The label comes from each model's own ``transform_features``, whose ids follow the order of
    ``classes``; the slices come from the candidate's or, for raw features, from the example.

    Args:
        settings: thresholds and slices.
        classes: the class names, in the order of the model's scores.
        fingerprint: hash of the metrics' code; an edit changes the cache key.
        columns: names of the columns.

    Raises:
        ValueError: fewer than two classes, or a duplicate.
    """
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise ValueError(f"classes must be at least two and distinct, got {list(classes)}")
    ours = {"fingerprint": fingerprint}
    keys = {LABEL_SLICE: columns.label, **{name: name for name in SLICE_FEATURES}}
    slices = [keys[name] for name in settings.slices if columns.date or name != YEAR]
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(
                signature_name=SERVING_EXAMPLES,
                preprocessing_function_names=[TRANSFORM_FEATURES],
                label_key=LABEL_ID,
                prediction_key=SCORES_OUTPUT,
                model_type="tf_generic",
            )
        ],
        slicing_specs=[
            tfma.SlicingSpec(),
            *(tfma.SlicingSpec(feature_keys=[name]) for name in slices),
        ],
        metrics_specs=[
            tfma.MetricsSpec(
                metrics=[
                    _stock("ExampleCount", tfma_metrics.EXAMPLE_COUNT),
                    _stock(
                        "SparseCategoricalAccuracy",
                        classification.ACCURACY,
                        _at_least(
                            _as_float32(settings.min_accuracy), max_drop=settings.max_accuracy_drop
                        ),
                    ),
                    _stock(
                        "SparseCategoricalCrossentropy",
                        classification.LOG_LOSS,
                        _at_most(_as_float32(settings.max_cross_entropy)),
                    ),
                    _stock("MultiClassConfusionMatrixPlot", tfma_metrics.CONFUSION_MATRIX),
                    _custom(
                        tfma_metrics.ArgMaxScores,
                        classification.F1_MACRO,
                        {**ours, "num_classes": len(classes)},
                        _at_least(settings.min_macro_f1, max_drop=settings.max_macro_f1_drop),
                    ),
                    _custom(
                        tfma_metrics.ExpectedCalibrationError,
                        classification.ECE,
                        {**ours, "bins": classification.CALIBRATION_BINS},
                    ),
                ]
            )
        ],
    )


def _stock(
    class_name: str, name: str, threshold: tfma.MetricThreshold | None = None
) -> tfma.MetricConfig:
    return _metric(tfma.MetricConfig(class_name=class_name), {"name": name}, threshold)


def _custom(
    metric: type,
    name: str,
    config: dict[str, object],
    threshold: tfma.MetricThreshold | None = None,
) -> tfma.MetricConfig:
    by_path = tfma.MetricConfig(class_name=metric.__name__, module=metric.__module__)
    return _metric(by_path, {**config, "name": name}, threshold)


def _metric(
    metric: tfma.MetricConfig, config: dict[str, object], threshold: tfma.MetricThreshold | None
) -> tfma.MetricConfig:
    metric.config = json.dumps(config, sort_keys=True)
    if threshold is not None:
        # A plain threshold would apply to every slice; the empty slicing spec is the whole split.
        metric.per_slice_thresholds.append(
            tfma.PerSliceMetricThreshold(slicing_specs=[tfma.SlicingSpec()], threshold=threshold)
        )
    return metric


def _as_float32(threshold: float) -> float:
    # TFMA computes stock metrics in float32: an accuracy of exactly 0.82 becomes 0.81999999.
    return float(np.float32(threshold))


def _at_least(lowest: float, max_drop: float) -> tfma.MetricThreshold:
    return tfma.MetricThreshold(
        value_threshold=tfma.GenericValueThreshold(lower_bound={"value": lowest}),
        change_threshold=tfma.GenericChangeThreshold(
            absolute={"value": -max_drop}, direction=tfma.MetricDirection.HIGHER_IS_BETTER
        ),
    )


def _at_most(highest: float) -> tfma.MetricThreshold:
    return tfma.MetricThreshold(
        value_threshold=tfma.GenericValueThreshold(upper_bound={"value": highest})
    )
