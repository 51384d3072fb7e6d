"""Each metric against scikit-learn or its textbook formula, on the same predictions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)
from tensorflow_model_analysis.metrics import metric_types

from components.evaluation import tfma_metrics


def test_class_names_do_not_shadow_tfma_metrics():
    # TFMA looks a class name up among its own metrics before it looks at the module.
    stock = set(metric_types.registered_metrics())
    ours = {
        "MacroF1",
        "MicroF1",
        "WeightedF1",
        "PerClassScores",
        "ExpectedCalibrationError",
    }
    assert all(hasattr(tfma_metrics, name) for name in ours)
    assert not ours & stock


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=60),
)
def test_f1_averages_equal_scikit_learn(pairs):
    truth, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    matrix = confusion_matrix(truth, predicted, labels=range(7)).astype(float)

    assert tfma_metrics.macro_f1(matrix) == pytest.approx(
        f1_score(truth, predicted, average="macro", zero_division=0)
    )
    assert tfma_metrics.micro_f1(matrix) == pytest.approx(
        f1_score(truth, predicted, average="micro")
    )
    assert tfma_metrics.weighted_f1(matrix) == pytest.approx(
        f1_score(truth, predicted, average="weighted", zero_division=0)
    )


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=60),
)
def test_per_class_scores_equal_scikit_learn_and_absent_classes_are_nan(pairs):
    truth, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    scores = tfma_metrics.per_class_scores(
        confusion_matrix(truth, predicted, labels=range(7)).astype(float)
    )
    expected = precision_recall_fscore_support(truth, predicted, labels=range(7), zero_division=0)
    occurs = np.isin(range(7), np.concatenate([truth, predicted]))

    for name, wanted in zip(tfma_metrics.PER_CLASS, expected, strict=True):
        np.testing.assert_allclose(scores[name][occurs], wanted[occurs])
    for name in (tfma_metrics.PRECISION, tfma_metrics.RECALL, tfma_metrics.F1):
        assert np.isnan(scores[name][~occurs]).all()
    assert (scores[tfma_metrics.SUPPORT][~occurs] == 0).all()


def test_class_neither_true_nor_predicted_is_left_out_of_macro_f1():
    matrix = np.zeros((7, 7))
    matrix[1, 1], matrix[1, 4], matrix[4, 4] = 6, 2, 4

    # F1 of class 1 is 12/14, of class 4 is 8/10; the five others do not occur.
    assert tfma_metrics.macro_f1(matrix) == pytest.approx((12 / 14 + 8 / 10) / 2)


def test_averages_of_no_example_are_nan():
    nothing = np.zeros((7, 7))
    for average in (tfma_metrics.macro_f1, tfma_metrics.micro_f1, tfma_metrics.weighted_f1):
        assert np.isnan(average(nothing))


@pytest.mark.parametrize("ids", [(7, 0), (0, 7), (-1, 0), (0, -1)])
def test_class_id_outside_the_classes_is_an_error(ids):
    with pytest.raises(ValueError, match=r"must lie in \[0, 7\)"):
        tfma_metrics.matrix_from_entries({ids: 1.0}, 7)


@pytest.mark.parametrize(
    ("confidence", "expected"),
    [(0.0, 0), (1 / 15, 0), (1 / 15 + 1e-9, 1), (0.5, 7), (1.0, 14), (1.0000001, 14)],
)
def test_calibration_bins_are_open_below_and_closed_above(confidence, expected):
    assert tfma_metrics.calibration_bin(confidence) == expected


def test_ece_of_a_worked_example():
    # Two of four right at confidence 0.9, one of one right at 0.6: (4/5)*0.4 + (1/5)*0.4.
    table = np.array([[4, 3.6, 2], [1, 0.6, 1], [0, 0, 0]], dtype=float)

    assert tfma_metrics.expected_calibration_error(table) == pytest.approx(0.4)


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
