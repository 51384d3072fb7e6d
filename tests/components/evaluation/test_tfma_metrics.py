"""What TFMA asks of the metrics; test_evaluator compares their values with scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from tensorflow_model_analysis.metrics import metric_types

from components.evaluation import tfma_metrics


def test_class_names_do_not_shadow_tfma_metrics():
    # TFMA looks a class name up among its own metrics before it looks at the module.
    stock = set(metric_types.registered_metrics())
    ours = {"ArgMaxScores", "ExpectedCalibrationError"}
    assert all(hasattr(tfma_metrics, name) for name in ours)
    assert not ours & stock


@pytest.mark.parametrize("ids", [(7, 0), (0, 7), (-1, 0), (0, -1)])
def test_class_id_outside_the_classes_is_an_error(ids):
    with pytest.raises(ValueError, match=r"must lie in \[0, 7\)"):
        tfma_metrics.matrix_from_entries({ids: 1.0}, 7)


def test_merging_partial_tables_gives_the_table_of_all_examples():
    key = metric_types.MetricKey(tfma_metrics.RELIABILITY_BINS)
    combiner = tfma_metrics.ReliabilityCombiner(key, 15, None, False)
    rng = np.random.default_rng(1)
    rows = [
        metric_types.StandardMetricInputs(
            labels=np.array([rng.integers(7)]),
            predictions=rng.dirichlet(np.ones(7)),
            example_weights=np.array([1.0]),
        )
        for _ in range(40)
    ]

    def table(part):
        accumulator = combiner.create_accumulator()
        for row in part:
            accumulator = combiner.add_input(accumulator, row)
        return accumulator

    merged = combiner.merge_accumulators([table(rows[:7]), table([]), table(rows[7:])])

    np.testing.assert_allclose(merged, table(rows))
    assert merged[:, 0].sum() == 40
