"""What TFMA asks of the metrics; test_evaluator compares their values with scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from tensorflow_model_analysis.metrics import metric_types

from components.evaluation import tfma_metrics


def test_class_names_do_not_shadow_tfma_metrics():
    # TFMA looks a class name up among its own metrics before it looks at the module.
    stock = set(metric_types.registered_metrics())
    assert tfma_metrics.ClassifierMetrics.__name__ not in stock


def combiner() -> tfma_metrics.CountCombiner:
    matrix, bins = (
        metric_types.MetricKey(name)
        for name in (tfma_metrics.CONFUSION_MATRIX, tfma_metrics.RELIABILITY_BINS)
    )
    return tfma_metrics.CountCombiner(matrix, bins, 7, None)


def example(label: int, scores: np.ndarray) -> metric_types.StandardMetricInputs:
    return metric_types.StandardMetricInputs(
        labels=np.array([label]), predictions=scores, example_weights=np.array([1.0])
    )


@pytest.mark.parametrize(("label", "classes"), [(7, 7), (-1, 7), (0, 8)])
def test_class_id_outside_the_classes_is_an_error(label, classes):
    made = combiner()
    with pytest.raises(ValueError, match=r"must lie in \[0, 7\)"):
        made.add_input(made.create_accumulator(), example(label, np.arange(classes) / 8))


def test_merging_partial_counts_gives_the_counts_of_all_examples():
    made = combiner()
    rng = np.random.default_rng(1)
    rows = [example(rng.integers(7), rng.dirichlet(np.ones(7))) for _ in range(40)]

    def counts(part):
        accumulator = made.create_accumulator()
        for row in part:
            accumulator = made.add_input(accumulator, row)
        return accumulator

    merged = made.merge_accumulators([counts(rows[:7]), counts([]), counts(rows[7:])])

    for one, whole in zip(merged, counts(rows), strict=True):
        np.testing.assert_allclose(one, whole)
    matrix, bins = merged
    assert matrix.sum() == bins[:, 0].sum() == 40
    assert np.trace(matrix) == bins[:, 2].sum()
