"""Each metric against scikit-learn or its textbook formula, on the same predictions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from components.metrics import classification

CLASSES = 7
# Few rows, so that most examples lack some of the classes.
answered = st.lists(
    st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=60
)


def columns(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    truth, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    return truth, predicted


def matrix_of(pairs: list[tuple[int, int]]) -> np.ndarray:
    return sk.confusion_matrix(*columns(pairs), labels=range(CLASSES))


@given(answered)
def test_averages_equal_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = columns(pairs)
    matrix = classification.confusion_matrix(truth, np.eye(CLASSES)[predicted])

    np.testing.assert_array_equal(matrix, matrix_of(pairs))
    assert classification.accuracy(matrix) == sk.accuracy_score(truth, predicted)
    for average, value in (
        ("macro", classification.f1_macro(matrix)),
        ("micro", classification.accuracy(matrix)),
        ("weighted", classification.f1_weighted(matrix)),
    ):
        expected = sk.f1_score(truth, predicted, average=average, zero_division=0)
        assert value == pytest.approx(expected), average


@given(answered)
def test_scores_of_each_class_equal_scikit_learns_and_absent_classes_have_none(
    pairs: list[tuple[int, int]],
) -> None:
    truth, predicted = columns(pairs)
    scores = classification.per_class_scores(matrix_of(pairs))
    expected = sk.precision_recall_fscore_support(
        truth, predicted, labels=range(CLASSES), zero_division=0
    )
    occurs = np.isin(range(CLASSES), np.concatenate([truth, predicted]))

    for name, wanted in zip(classification.PER_CLASS, expected, strict=True):
        np.testing.assert_allclose(scores[name][occurs], wanted[occurs])
    for name in (classification.PRECISION, classification.RECALL, classification.F1):
        assert np.isnan(scores[name][~occurs]).all()
    assert (scores[classification.SUPPORT][~occurs] == 0).all()


def test_class_neither_true_nor_predicted_is_left_out_of_macro_f1() -> None:
    matrix = np.zeros((CLASSES, CLASSES))
    matrix[1, 1], matrix[1, 4], matrix[4, 4] = 6, 2, 4

    # F1 of class 1 is 12/14, of class 4 is 8/10; the five others do not occur.
    assert classification.f1_macro(matrix) == pytest.approx((12 / 14 + 8 / 10) / 2)


def test_averages_of_no_row_are_nan() -> None:
    nothing = np.zeros((CLASSES, CLASSES))
    for average in (
        classification.accuracy,
        classification.f1_macro,
        classification.f1_weighted,
    ):
        assert np.isnan(average(nothing))
    assert np.isnan(classification.expected_calibration_error(np.zeros(15), 0))


@given(st.lists(answered, min_size=1, max_size=4))
def test_a_stack_of_matrices_gives_the_metrics_of_each(
    stack: list[list[tuple[int, int]]],
) -> None:
    matrices = [matrix_of(pairs) for pairs in stack]
    for average in (
        classification.accuracy,
        classification.f1_macro,
        classification.f1_weighted,
    ):
        np.testing.assert_array_equal(
            average(np.stack(matrices)), [average(matrix) for matrix in matrices]
        )


def test_log_loss_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    logs, labels = log_softmax(rng.normal(size=(50, 3)), axis=1), rng.integers(0, 3, 50)
    expected = sk.log_loss(labels, np.exp(logs))
    assert classification.log_loss(labels, logs) == pytest.approx(expected, rel=1e-12)


def test_log_loss_is_exact_where_the_probability_rounds_to_zero() -> None:
    assert classification.log_loss(np.array([1]), np.array([[0.0, -1000.0]])) == 1000


@pytest.mark.parametrize(
    ("confidence", "expected"),
    [
        (0.0, 0),
        (np.nan, 0),
        (1 / 15, 0),
        (1 / 15 + 1e-9, 1),
        (0.5, 7),
        (1.0, 14),
        (1.0000001, 14),
    ],
)
def test_calibration_bins_are_open_below_and_closed_above(confidence: float, expected: int) -> None:
    assert classification.calibration_bins(confidence) == expected
    assert classification.calibration_bins(np.array([confidence])).tolist() == [expected]


def test_calibration_bins_are_those_of_scikit_learns_curve() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.random(2000)
    right = rng.random(2000) < confidence
    bins = classification.calibration_bins(confidence)
    rows = np.bincount(bins)
    accuracy, mean = calibration_curve(right, confidence, n_bins=classification.CALIBRATION_BINS)
    np.testing.assert_allclose(np.bincount(bins, weights=right) / rows, accuracy)
    np.testing.assert_allclose(np.bincount(bins, weights=confidence) / rows, mean)

    gaps = np.bincount(bins, weights=confidence - right)
    assert classification.expected_calibration_error(gaps, 2000) == pytest.approx(
        (rows / 2000 * np.abs(accuracy - mean)).sum()
    )


def test_expected_calibration_error_of_a_worked_example() -> None:
    # Two of four right at confidence 0.9, one of one right at 0.6: (4/5)*0.4 + (1/5)*0.4.
    gaps = np.array([4 * 0.9 - 2, 0.6 - 1, 0])
    assert classification.expected_calibration_error(gaps, 5) == pytest.approx(0.4)
