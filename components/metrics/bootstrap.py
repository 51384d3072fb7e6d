"""Confidence intervals of test metrics: a bootstrap over the rows of the test split.

Two models are compared on the same resamples (paired), so that rows that are hard for both do not
add noise to their difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from components.metrics import classification
from components.metrics.classification import (
    ACCURACY,
    CALIBRATION_BINS,
    ECE,
    F1,
    F1_MACRO,
    F1_WEIGHTED,
    LOG_LOSS,
    PRECISION,
    RECALL,
    Array,
    Floats,
    Ints,
)

Scores = npt.NDArray[np.float32] | npt.NDArray[np.float64]

OVERALL = (ACCURACY, F1_MACRO, F1_WEIGHTED, LOG_LOSS, ECE)
PER_CLASS = (PRECISION, RECALL, F1)

RESAMPLES = 2000
LEVEL = 0.95
# Keras's, and so TFMA's, bound on a probability before its logarithm is taken.
_SMALLEST = 1e-7


class Interval(NamedTuple):
    """A metric on the original rows, and its confidence interval from the resamples.

    ``low`` and ``high`` are NaN if the metric is undefined in every resample.
    """

    value: float
    low: float
    high: float

    @property
    def beyond_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Intervals:
    """Intervals of one model, or of the change from one model to another.

    Attributes:
        overall: keys are :data:`OVERALL`; the log loss is in nats.
        per_class: keys are :data:`PER_CLASS`; one interval for each class, in order.
    """

    overall: Mapping[str, Interval]
    per_class: Mapping[str, tuple[Interval, ...]]


@dataclass(frozen=True)
class Comparison:
    """Result of :func:`bootstrap`; ``baseline`` and ``change`` are None without a second model."""

    candidate: Intervals
    baseline: Intervals | None
    change: Intervals | None


class _Rows(NamedTuple):
    """A model's results for each row."""

    cells: Ints  # [n]: cell of the flattened confusion matrix
    losses: Floats  # [n]: log loss in nats
    bins: Ints  # [n]: bin of the highest score
    gaps: Floats  # [n]: highest score, less 1 if the prediction is correct
    classes: int


class _Sums(NamedTuple):
    """Sums over all rows and over those of r - 1 resamples, from which metrics are computed."""

    matrices: Array  # [r, classes, classes]: confusion matrices
    losses: Floats  # [r]: mean log loss in nats
    gaps: Array  # [r, CALIBRATION_BINS]: sum of the gaps of a bin's rows


def bootstrap(
    labels: Ints,
    scores: Scores,
    baseline: Scores | None = None,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Comparison:
    """Computes intervals of the metrics from resamples of the rows, drawn with replacement.

    Percentile intervals (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter
    13). In each resample, absent classes are treated as in
    :mod:`components.metrics.classification`.

    The expected calibration error has a basic interval instead (Davison and Hinkley 1997,
    "Bootstrap Methods and their Application", section 5.2): resampling biases a mean of absolute
    gaps upwards, so a percentile interval may lie entirely above the value. The interval contains
    the value, and starts at 0 if a calibrated model could show as large a value by chance. The
    change from or to such a model is understated.

    Args:
        labels: class ids, int64 [n].
        scores: a model's probabilities, [n, classes].
        baseline: another model's probabilities for the same rows.
        resamples: number of resamples; the interval's ends vary by about sd / sqrt(resamples).
        level: share of the resamples within the interval.
        seed: seed of the resampling.

    Raises:
        ValueError: there are no rows, or the arrays' shapes do not match.
    """
    if not len(labels) or scores.shape[:1] != labels.shape or scores.ndim != 2:
        raise ValueError(f"no rows, or {labels.shape} labels for {scores.shape} scores")
    if baseline is not None and baseline.shape != scores.shape:
        raise ValueError(f"{baseline.shape} scores to compare with, {scores.shape} expected")
    models = [scores] if baseline is None else [scores, baseline]
    rows = [_rows(labels, model) for model in models]
    tails = 100 * (1 - level) / 2
    drawn = _sums(rows, _resamples(len(labels), resamples, seed))
    metrics = [_metrics(one, len(labels)) for one in drawn]
    intervals = [{name: _intervals(of, tails) for name, of in one.items()} for one in metrics]
    for found, sums in zip(intervals, drawn, strict=True):
        found[ECE] = [_calibration_interval(sums.gaps, len(labels), tails)]
    if baseline is None:
        return Comparison(_named(intervals[0]), None, None)
    change = {name: _intervals(of - metrics[1][name], tails) for name, of in metrics[0].items()}
    change[ECE] = [_basic(one) for one in change[ECE]]
    return Comparison(_named(intervals[0]), _named(intervals[1]), _named(change))


def wilson(hits: int, rows: int, level: float = LEVEL) -> Interval:
    """Returns a proportion and its Wilson score interval, which also suits few rows."""
    if not rows:
        return Interval(float("nan"), float("nan"), float("nan"))
    found = stats.binomtest(hits, rows).proportion_ci(level, method="wilson")
    return Interval(hits / rows, float(found.low), float(found.high))


def _rows(labels: Ints, scores: Scores) -> _Rows:
    classes = scores.shape[1]
    predicted, confidence = scores.argmax(axis=1), scores.max(axis=1)
    # fmax: NaN counts as the smallest score.
    bounded = np.fmin(np.fmax(scores.astype(np.float64), _SMALLEST), 1 - _SMALLEST)
    return _Rows(
        labels * classes + predicted,
        classification.log_losses(labels, np.log(bounded)),
        classification.calibration_bins(confidence),
        np.nan_to_num(confidence.astype(np.float64)) - (predicted == labels),
        classes,
    )


def _resamples(size: int, resamples: int, seed: int) -> Iterator[Ints]:
    """Yields how often each row occurs, int64 [n]: once each, then in one resample at a time.

    All resamples of a million rows would not fit in memory.
    """
    yield np.ones(size, np.int64)
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(generator.integers(0, size, size), minlength=size)


def _sums(models: list[_Rows], resamples: Iterable[Ints]) -> list[_Sums]:
    """Returns the sums of each model over the same resamples."""
    parts: list[list[tuple[Array, Array, Array]]] = [[] for _ in models]
    for counts in resamples:
        for part, model in zip(parts, models, strict=True):
            cells = np.bincount(model.cells, weights=counts, minlength=model.classes**2)
            part.append(
                (
                    cells.reshape(model.classes, model.classes),
                    counts @ model.losses / len(counts),
                    np.bincount(model.bins, counts * model.gaps, minlength=CALIBRATION_BINS),
                )
            )
    return [_Sums(*map(np.stack, zip(*part, strict=True))) for part in parts]


def _metrics(sums: _Sums, rows: int) -> dict[str, Floats]:
    """Returns metrics of r resamples by name: [r], or [r, classes] for per-class ones."""
    by_class = classification.per_class_scores(sums.matrices)
    return {
        ACCURACY: classification.accuracy(sums.matrices),
        F1_MACRO: classification.f1_macro(sums.matrices),
        F1_WEIGHTED: classification.f1_weighted(sums.matrices),
        LOG_LOSS: sums.losses,
        ECE: classification.expected_calibration_error(sums.gaps, rows),
        **{name: by_class[name] for name in PER_CLASS},
    }


def _intervals(drawn: Floats, tails: float) -> list[Interval]:
    """Returns one interval, or one per class, from [1 + r] or [1 + r, k]: the rows' own first."""
    found = []
    for own, *resampled in drawn.reshape(len(drawn), -1).T:
        defined = np.array(resampled)[~np.isnan(resampled)]
        if np.isnan(own) or not len(defined):
            found.append(Interval(float(own), float("nan"), float("nan")))
            continue
        low, high = np.percentile(defined, [tails, 100 - tails])
        found.append(Interval(float(own), float(low), float(high)))
    return found


def _basic(percentile: Interval) -> Interval:
    """Returns the basic interval: the percentile interval reflected about its value."""
    value = percentile.value
    return Interval(value, 2 * value - percentile.high, 2 * value - percentile.low)


def _calibration_interval(gaps: Floats, rows: int, tails: float) -> Interval:
    error = classification.expected_calibration_error
    (percentile,) = _intervals(error(gaps, rows), tails)
    value, low, high = _basic(percentile)
    # Resampled minus observed gaps show what a model without gaps would have by chance.
    by_chance = np.percentile(error(gaps[1:] - gaps[0], rows), 100 - tails)
    low = 0.0 if value <= by_chance else max(0.0, low)
    return Interval(value, low, max(value, high))


def _named(intervals: Mapping[str, list[Interval]]) -> Intervals:
    return Intervals(
        {name: intervals[name][0] for name in OVERALL},
        {name: tuple(intervals[name]) for name in PER_CLASS},
    )
