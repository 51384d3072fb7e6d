"""Intervals against scipy's bootstrap, scikit-learn's metrics and cases known by hand."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from components.metrics.bootstrap import bootstrap, wilson
from components.metrics.classification import CALIBRATION_BINS as BINS

ROWS = 600


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.random.default_rng(1).choice(4, ROWS, p=[0.5, 0.3, 0.15, 0.05])


def scores_of(labels: np.ndarray, skill: float, seed: int) -> np.ndarray:
    scores = np.random.default_rng(seed).dirichlet(np.ones(4), len(labels))
    scores[np.arange(len(labels)), labels] += skill
    return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


def calibration_error(labels: np.ndarray, scores: np.ndarray) -> float:
    """Guo et al. 2017, equation 3, bin by bin."""
    confidence, right = scores.max(axis=1).astype(float), scores.argmax(axis=1) == labels
    error = 0.0
    for upper in np.arange(1, BINS + 1) / BINS:
        inside = (confidence > upper - 1 / BINS) & (confidence <= upper)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return error


def test_values_are_those_of_scikit_learn(labels: np.ndarray) -> None:
    scores = scores_of(labels, 0.4, 2)
    found = bootstrap(labels, scores, resamples=20).candidate
    answers = scores.argmax(axis=1)
    assert {name: one.value for name, one in found.overall.items()} == pytest.approx(
        {
            "accuracy": sk.accuracy_score(labels, answers),
            "macro_f1": sk.f1_score(labels, answers, average="macro"),
            "weighted_f1": sk.f1_score(labels, answers, average="weighted"),
            "cross_entropy": -np.log(scores[np.arange(ROWS), labels].astype(float)).mean(),
            "expected_calibration_error": calibration_error(labels, scores),
        }
    )
    expected = sk.precision_recall_fscore_support(labels, answers)
    for name, values in zip(("precision", "recall", "f1"), expected, strict=False):
        assert [one.value for one in found.per_class[name]] == pytest.approx(values)


def test_intervals_agree_with_scipys_bootstrap(labels: np.ndarray) -> None:
    scores = scores_of(labels, 0.4, 2)
    found = bootstrap(labels, scores, resamples=4000).candidate.overall
    right = (scores.argmax(axis=1) == labels).astype(float)
    losses = -np.log(scores[np.arange(ROWS), labels].astype(float))
    for name, rows in (("accuracy", right), ("cross_entropy", losses)):
        theirs = stats.bootstrap(
            (rows,), np.mean, n_resamples=4000, method="percentile", random_state=3
        )
        spread = theirs.standard_error
        assert found[name].low == pytest.approx(theirs.confidence_interval.low, abs=0.2 * spread)
        assert found[name].high == pytest.approx(theirs.confidence_interval.high, abs=0.2 * spread)


def test_macro_f1s_interval_agrees_with_scipys_bootstrap(labels: np.ndarray) -> None:
    scores = scores_of(labels, 0.4, 2)
    ours = bootstrap(labels, scores, resamples=1000).candidate.overall["macro_f1"]
    theirs = stats.bootstrap(
        (labels, scores.argmax(axis=1)),
        lambda truth, answer: sk.f1_score(truth, answer, average="macro"),
        n_resamples=400, paired=True, vectorized=False, method="percentile", random_state=3,
    )  # fmt: skip
    assert ours.low == pytest.approx(
        theirs.confidence_interval.low, abs=0.5 * theirs.standard_error
    )
    assert ours.high == pytest.approx(
        theirs.confidence_interval.high, abs=0.5 * theirs.standard_error
    )


def test_change_is_drawn_in_pairs(labels: np.ndarray) -> None:
    better, worse = scores_of(labels, 0.5, 4), scores_of(labels, 0.3, 4)
    found = bootstrap(labels, better, worse, resamples=6000)
    change = found.change.overall["accuracy"]
    assert change.value == pytest.approx(
        found.candidate.overall["accuracy"].value - found.baseline.overall["accuracy"].value
    )
    assert change.beyond_zero
    right = [(scores.argmax(axis=1) == labels).astype(float) for scores in (better, worse)]
    theirs = stats.bootstrap(
        (right[0] - right[1],), np.mean, n_resamples=6000, method="percentile", random_state=5
    )
    assert change.low == pytest.approx(
        theirs.confidence_interval.low, abs=0.3 * theirs.standard_error
    )
    # Drawn apart, the variances of the two would add up.
    ends = [one.overall["accuracy"] for one in (found.candidate, found.baseline)]
    apart = np.hypot(*(one.high - one.low for one in ends))
    assert change.high - change.low < 0.9 * apart


def test_a_model_does_not_differ_from_itself(labels: np.ndarray) -> None:
    scores = scores_of(labels, 0.4, 2)
    change = bootstrap(labels, scores, scores.copy(), resamples=50).change
    assert all(tuple(one) == (0, 0, 0) for one in change.overall.values())
    assert not any(one.beyond_zero for one in change.overall.values())


def test_a_perfect_model_has_no_spread(labels: np.ndarray) -> None:
    found = bootstrap(labels, np.eye(4, dtype=np.float32)[labels], resamples=50).candidate
    assert tuple(found.overall["macro_f1"]) == (1, 1, 1)
    assert found.overall["cross_entropy"].high == pytest.approx(0, abs=1e-6)


def test_a_class_that_does_not_occur_has_no_metric_and_does_not_pull_the_mean() -> None:
    labels = np.array([0, 1, 0, 1])
    scores = np.eye(3, dtype=np.float32)[labels]
    found = bootstrap(labels, scores, resamples=50).candidate
    assert found.overall["macro_f1"].value == 1
    assert np.isnan(found.per_class["f1"][2]).all()


def test_the_same_seed_gives_the_same_ends(labels: np.ndarray) -> None:
    scores = scores_of(labels, 0.4, 2)
    first, again, other = (bootstrap(labels, scores, resamples=100, seed=s) for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_scores_that_are_no_numbers_count_as_the_smallest() -> None:
    for score in (np.nan, 0.0):
        found = bootstrap(np.array([0]), np.array([[score, 1.0]]), resamples=1).candidate
        assert found.overall["cross_entropy"].value == pytest.approx(-np.log(1e-7))


@pytest.mark.parametrize(("labels", "scores"), [(np.zeros(0, int), np.zeros((0, 2))),
                                                (np.zeros(2, int), np.zeros((3, 2)))])  # fmt: skip
def test_rows_and_scores_must_fit(labels: np.ndarray, scores: np.ndarray) -> None:
    with pytest.raises(ValueError, match="labels for"):
        bootstrap(labels, scores)


def test_models_to_compare_must_have_the_same_rows(labels: np.ndarray) -> None:
    scores = scores_of(labels, 0.4, 2)
    with pytest.raises(ValueError, match="to compare with"):
        bootstrap(labels, scores, scores[:-1])


def sharpened(skill: float, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from probabilities, and these with logits ``skill`` times as large."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(rows, 4))
    truth, said = (
        np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in (logits, skill * logits)
    )
    return (truth.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1), said


def test_calibration_errors_interval_holds_that_of_the_whole_population() -> None:
    for skill in (1.0, 1.5, 3.0):
        # A million rows waver little; a calibrated model has no error at all.
        whole = calibration_error(*sharpened(skill, 1_000_000, 99)) if skill > 1 else 0.0
        held = 0
        for seed in range(20):
            found = bootstrap(*sharpened(skill, 2000, seed), resamples=200, seed=seed).candidate
            one = found.overall["expected_calibration_error"]
            assert 0 <= one.low <= one.value <= one.high
            held += one.low <= whole <= one.high
        assert held >= 17


def test_worse_calibration_is_told_apart() -> None:
    labels, scores = sharpened(1.5, 2000, 7)
    _, worse = sharpened(3.0, 2000, 7)
    change = bootstrap(labels, worse, scores, resamples=200).change
    one = change.overall["expected_calibration_error"]
    assert one.value == pytest.approx(
        calibration_error(labels, worse) - calibration_error(labels, scores)
    )
    assert 0 < one.low < one.value < one.high


def test_wilsons_interval_of_no_hit_in_ten() -> None:
    # Brown, Cai and DasGupta (2001): z^2 / (n + z^2), z = 1.96.
    found = wilson(0, 10)
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(1.96**2 / (10 + 1.96**2), abs=1e-4)
