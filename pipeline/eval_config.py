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
from components.evaluation.evaluation_settings import LABEL_SLICE, EvaluationSettings
from components.evaluation.tfma_metrics import ClassifierMetrics
from components.metrics import classification


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
                    _metric(
                        "SparseCategoricalAccuracy",
                        {"name": classification.ACCURACY},
                        lowest=_as_float32(settings.min_accuracy),
                        max_drop=settings.max_accuracy_drop,
                    ),
                    _metric(
                        "SparseCategoricalCrossentropy",
                        {"name": classification.LOG_LOSS},
                        highest=_as_float32(settings.max_cross_entropy),
                    ),
                    _metric(
                        ClassifierMetrics.__name__,
                        {
                            "name": classification.F1_MACRO,
                            "num_classes": len(classes),
                            "fingerprint": fingerprint,
                        },
                        module=ClassifierMetrics.__module__,
                        lowest=settings.min_macro_f1,
                        max_drop=settings.max_macro_f1_drop,
                    ),
                ]
            )
        ],
    )


def _metric(
    class_name: str,
    config: dict[str, object],
    *,
    module: str = "",
    lowest: float | None = None,
    highest: float | None = None,
    max_drop: float | None = None,
) -> tfma.MetricConfig:
    """Returns a metric with thresholds on its value and on its drop from the baseline's."""
    threshold = tfma.MetricThreshold(
        value_threshold=tfma.GenericValueThreshold(
            lower_bound=None if lowest is None else {"value": lowest},
            upper_bound=None if highest is None else {"value": highest},
        )
    )
    if max_drop is not None:
        threshold.change_threshold.absolute.value = -max_drop
        threshold.change_threshold.direction = tfma.MetricDirection.HIGHER_IS_BETTER
    # A plain threshold would apply to every slice; the empty slicing spec is the whole split.
    whole = tfma.PerSliceMetricThreshold(slicing_specs=[tfma.SlicingSpec()], threshold=threshold)
    return tfma.MetricConfig(
        class_name=class_name,
        module=module,
        config=json.dumps(config, sort_keys=True),
        per_slice_thresholds=[whole],
    )


def _as_float32(threshold: float) -> float:
    # TFMA computes stock metrics in float32: an accuracy of exactly 0.82 becomes 0.81999999.
    return float(np.float32(threshold))
