"""Loss, weights, metrics and temperature, against scikit-learn and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from sklearn.metrics import f1_score, log_loss
from sklearn.utils.class_weight import compute_class_weight

from components.training.objective import (
    MacroF1,
    WeightedCrossEntropy,
    class_weights,
    eval_metrics,
    fit_temperature,
    log_priors,
    watched_metrics,
)

LABELS = np.array([0] * 60 + [1] * 30 + [2] * 10)
COUNTS = np.bincount(LABELS)
LOGITS = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)


def test_class_weights_are_sklearns_at_power_one_and_none_at_zero() -> None:
    balanced = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    np.testing.assert_allclose(class_weights(COUNTS, 1.0), balanced)
    np.testing.assert_array_equal(class_weights(COUNTS, 0.0), np.ones(3))
    half = class_weights(COUNTS, 0.5)
    np.testing.assert_allclose(half / half[0], np.sqrt(balanced / balanced[0]))
    assert half[LABELS].mean() == pytest.approx(1.0)
    assert np.isfinite(class_weights(np.array([5, 0, 3]), 1.0)).all()


def test_plain_loss_is_the_log_loss() -> None:
    value = float(WeightedCrossEntropy(np.ones(3))(LABELS, LOGITS))
    assert value == pytest.approx(log_loss(LABELS, softmax(LOGITS, axis=1)), rel=1e-5)


def test_class_weights_in_the_loss_by_hand() -> None:
    weights = np.array([0.5, 1.0, 3.0])
    rows = -log_softmax(LOGITS, axis=1)[np.arange(100), LABELS] * weights[LABELS]
    loss = WeightedCrossEntropy(weights)
    assert float(loss(LABELS, LOGITS)) == pytest.approx(rows.mean(), rel=1e-5)


def test_metrics_are_sklearns_over_several_batches() -> None:
    accuracy, cross_entropy, macro_f1 = watched_metrics(3)
    for start in (0, 7, 64):
        end = {0: 7, 7: 64, 64: 100}[start]
        for metric in (accuracy, cross_entropy, macro_f1):
            metric.update_state(LABELS[start:end], LOGITS[start:end])
    predicted = LOGITS.argmax(axis=1)
    assert float(accuracy.result()) == pytest.approx((predicted == LABELS).mean())
    assert float(cross_entropy.result()) == pytest.approx(
        log_loss(LABELS, softmax(LOGITS, axis=1)), rel=1e-5
    )
    assert float(macro_f1.result()) == pytest.approx(f1_score(LABELS, predicted, average="macro"))
    macro_f1.reset_state()
    assert np.isnan(float(macro_f1.result()))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=20))
def test_macro_f1_while_training_is_sklearns_whatever_classes_occur(
    pairs: list[tuple[int, int]],
) -> None:
    labels, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    metric = MacroF1(5)
    metric.update_state(labels, np.eye(5, dtype=np.float32)[predicted])
    expected = f1_score(labels, predicted, average="macro", zero_division=0)
    assert float(metric.result()) == pytest.approx(expected)


def test_log_priors() -> None:
    np.testing.assert_allclose(np.exp(log_priors(COUNTS)), [0.6, 0.3, 0.1])
    assert np.isfinite(log_priors(np.array([4, 0]))).all()


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.5])
def test_temperature_is_recovered(temperature: float) -> None:
    random = np.random.default_rng(1)
    logits = random.normal(scale=2.0, size=(20000, 4))
    shares = softmax(logits, axis=1)
    labels = (shares.cumsum(axis=1) > random.random((20000, 1))).argmax(axis=1)
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.05)


def test_eval_metrics_are_sklearns() -> None:
    predicted = LOGITS.argmax(axis=1)
    expected = {
        "log_loss": log_loss(LABELS, softmax(LOGITS.astype(np.float64), axis=1)),
        "accuracy": (predicted == LABELS).mean(),
        "macro_f1": f1_score(LABELS, predicted, average="macro"),
    }
    assert eval_metrics(LOGITS, LABELS) == pytest.approx(expected)
    # A class that is neither true nor predicted changes nothing.
    absent = np.column_stack([LOGITS, np.full(100, -99.0)])
    assert eval_metrics(absent, LABELS) == pytest.approx(expected)
