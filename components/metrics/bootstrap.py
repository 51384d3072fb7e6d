"""Confidence intervals of test figures: a bootstrap over the rows of the test split.

Pure: arrays in, figures out. Two models are compared on the same resamples (paired), so that what
makes a row hard for both does not blur their difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32] | npt.NDArray[np.float64]

ACCURACY = "accuracy"
MACRO_F1 = "macro_f1"
WEIGHTED_F1 = "weighted_f1"
LOG_LOSS = "cross_entropy"
ECE = "expected_calibration_error"
PRECISION = "precision"
RECALL = "recall"
F1 = "f1"
OVERALL = (ACCURACY, MACRO_F1, WEIGHTED_F1, LOG_LOSS, ECE)
PER_CLASS = (PRECISION, RECALL, F1)

RESAMPLES = 2000
LEVEL = 0.95
# Of the highest score, for the ECE: the Evaluator's.
BINS = 15
# Keras's, and so TFMA's, bound on a probability before its logarithm is taken.
_SMALLEST = 1e-7


class Interval(NamedTuple):
    """A figure on the rows as they are, and the interval that the resamples give it.

    ``low`` and ``high`` are NaN where no resample defines the figure.
    """

    value: float
    low: float
    high: float

    @property
    def beyond_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Figures:
    """Intervals of one model, or of the change from one model to another.

    Attributes:
      overall: by name of :data:`OVERALL`; cross_entropy in nats.
      per_class: by name of :data:`PER_CLASS`, one for each class in order.
    """

    overall: Mapping[str, Interval]
    per_class: Mapping[str, tuple[Interval, ...]]


@dataclass(frozen=True)
class Comparison:
    """What :func:`bootstrap` gives; ``baseline`` and ``change`` are None without a second model."""

    candidate: Figures
    baseline: Figures | None
    change: Figures | None


class _Rows(NamedTuple):
    """What a model's figures need of each row."""

    cells: Ints  # [n]: cell of the flattened confusion matrix
    losses: Floats  # [n]: cross-entropy in nats
    bins: Ints  # [n]: bin of the highest score
    excess: Floats  # [n]: highest score, less 1 where the answer is right
    classes: int


class _Sums(NamedTuple):
    """What every figure is computed from, for r resamples of the rows."""

    matrices: Floats  # [r, classes, classes]: rows counted by true and predicted class
    losses: Floats  # [r]: mean cross-entropy in nats
    gaps: Floats  # [r, BINS]: excess of a bin's rows, by the number of all rows


def log_losses(labels: Ints, scores: Scores) -> Floats:
    """Returns each row's cross-entropy, float64 [n], in nats.

    Args:
      labels: class ids, [n].
      scores: probabilities, [n, classes].
    """
    own = scores[np.arange(len(labels)), labels].astype(np.float64)
    # fmax: a score that is not a number counts as the smallest.
    losses: Floats = -np.log(np.fmin(np.fmax(own, _SMALLEST), 1 - _SMALLEST))
    return losses


def confidence_bins(confidence: Scores) -> Ints:
    """Returns the bin of each score, int64 [n]: bin i holds (i / BINS, (i + 1) / BINS].

    Args:
      confidence: highest scores, [n]; 0 and NaN go to bin 0.
    """
    places = np.ceil(np.nan_to_num(confidence.astype(np.float64)) * BINS) - 1
    return np.clip(places, 0, BINS - 1).astype(np.int64)


def bootstrap(
    labels: Ints,
    scores: Scores,
    baseline: Scores | None = None,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Comparison:
    """Draws the test rows again and again, with replacement, and watches the figures vary.

    Percentile intervals (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter
    13). A class that a resample neither holds nor predicts is left out of its means, as in the
    figures themselves.

    The expected calibration error has a basic interval instead (Davison and Hinkley 1997,
    "Bootstrap Methods and their Application", section 5.2): a mean of absolute gaps grows with
    every resampling, so that a percentile interval may lie wholly above the figure. It starts at 0
    where a model without gaps could show as large a figure, and holds the figure; next to such a
    model a change is understated.

    Args:
      labels: class ids, [n].
      scores: a model's probabilities, [n, classes]; the highest is its answer.
      baseline: another model's for the same rows.
      resamples: how many; the interval's ends waver by some sd / sqrt(resamples).
      level: share of the resamples within the interval.
      seed: of the draws.

    Raises:
      ValueError: there are no rows, or the arrays do not belong together.
    """
    if not len(labels) or scores.shape[:1] != labels.shape or scores.ndim != 2:
        raise ValueError(f"no rows, or {labels.shape} labels for {scores.shape} scores")
    if baseline is not None and baseline.shape != scores.shape:
        raise ValueError(f"{baseline.shape} scores to compare with, {scores.shape} expected")
    models = [scores] if baseline is None else [scores, baseline]
    rows = [_rows(labels, model) for model in models]
    tails = 100 * (1 - level) / 2
    sums = [_sums(model, np.ones(len(labels), np.int64)) for model in rows]
    drawn = _draw(rows, resamples, seed)
    values, figures = [_figures(one) for one in sums], [_figures(one) for one in drawn]
    intervals = [
        {name: _intervals(value[name], resampled[name], tails) for name in value}
        for value, resampled in zip(values, figures, strict=True)
    ]
    for found, own, resampled in zip(intervals, sums, drawn, strict=True):
        found[ECE] = [_calibration_interval(own.gaps[0], resampled.gaps, tails)]
    if baseline is None:
        return Comparison(_named(intervals[0]), None, None)
    change = {
        name: _intervals(
            values[0][name] - values[1][name], figures[0][name] - figures[1][name], tails
        )
        for name in values[0]
    }
    change[ECE] = [_basic(one) for one in change[ECE]]
    return Comparison(_named(intervals[0]), _named(intervals[1]), _named(change))


def wilson(hits: int, rows: int, level: float = LEVEL) -> Interval:
    """Returns a share and its Wilson score interval, which holds for few rows, too."""
    if not rows:
        return Interval(float("nan"), float("nan"), float("nan"))
    found = stats.binomtest(hits, rows).proportion_ci(level, method="wilson")
    return Interval(hits / rows, float(found.low), float(found.high))


def _rows(labels: Ints, scores: Scores) -> _Rows:
    classes = scores.shape[1]
    answers, confidence = scores.argmax(axis=1), scores.max(axis=1)
    return _Rows(
        labels * classes + answers,
        log_losses(labels, scores),
        confidence_bins(confidence),
        np.nan_to_num(confidence.astype(np.float64)) - (answers == labels),
        classes,
    )


def _draw(models: list[_Rows], resamples: int, seed: int) -> list[_Sums]:
    """Sums of each model over the same resamples."""
    generator = np.random.default_rng(seed)
    size = len(models[0].cells)
    parts: list[list[_Sums]] = [[] for _ in models]
    # One resample at a time: those of a million rows would not fit in memory together.
    for _ in range(resamples):
        counts = np.bincount(generator.integers(0, size, size), minlength=size)
        for part, model in zip(parts, models, strict=True):
            part.append(_sums(model, counts))
    return [
        _Sums(*(np.concatenate(arrays) for arrays in zip(*part, strict=True))) for part in parts
    ]


def _sums(model: _Rows, counts: Ints) -> _Sums:
    """Sums of one resample (r = 1), in which row i occurs ``counts[i]`` times."""
    matrix = np.bincount(model.cells, weights=counts, minlength=model.classes**2)
    loss = counts @ model.losses / counts.sum()
    matrices = matrix.astype(np.float64).reshape(1, model.classes, model.classes)
    gaps = np.bincount(model.bins, weights=counts * model.excess, minlength=BINS)
    return _Sums(matrices, np.array([loss]), gaps.reshape(1, BINS) / counts.sum())


def _share(part: Floats, whole: Floats, present: npt.NDArray[np.bool_]) -> Floats:
    ratio = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return np.where(present, ratio, np.nan)


def _figures(sums: _Sums) -> dict[str, Floats]:
    """Figures of r resamples by name: [r], or [r, classes] for those of each class."""
    correct = np.diagonal(sums.matrices, axis1=1, axis2=2)
    support, predicted = sums.matrices.sum(axis=2), sums.matrices.sum(axis=1)
    present = (support + predicted) > 0
    f1 = _share(2 * correct, support + predicted, present)
    known = np.nan_to_num(f1)
    return {
        ACCURACY: correct.sum(axis=1) / support.sum(axis=1),
        MACRO_F1: known.sum(axis=1) / present.sum(axis=1),
        WEIGHTED_F1: (known * support).sum(axis=1) / support.sum(axis=1),
        LOG_LOSS: sums.losses,
        ECE: np.abs(sums.gaps).sum(axis=1),
        PRECISION: _share(correct, predicted, present),
        RECALL: _share(correct, support, present),
        F1: f1,
    }


def _intervals(value: Floats, resampled: Floats, tails: float) -> list[Interval]:
    """One interval, or one for each class: value [1] or [1, classes], resampled [r] or [r, ...]."""
    columns = resampled.reshape(len(resampled), -1)
    found = []
    for column, own in zip(columns.T, value.reshape(-1), strict=True):
        defined = column[~np.isnan(column)]
        if np.isnan(own) or not len(defined):
            found.append(Interval(float(own), float("nan"), float("nan")))
            continue
        low, high = np.percentile(defined, [tails, 100 - tails])
        found.append(Interval(float(own), float(low), float(high)))
    return found


def _basic(percentile: Interval) -> Interval:
    """Turns a percentile interval around the figure."""
    value = percentile.value
    return Interval(value, 2 * value - percentile.high, 2 * value - percentile.low)


def _calibration_interval(gaps: Floats, resampled: Floats, tails: float) -> Interval:
    """The interval of the expected calibration error: gaps [BINS], resampled [r, BINS]."""
    value = np.abs(gaps).sum(keepdims=True)
    (percentile,) = _intervals(value, np.abs(resampled).sum(axis=1), tails)
    _, low, high = _basic(percentile)
    # What chance alone makes of no gaps is how far the resampled gaps are from the observed ones.
    by_chance = np.percentile(np.abs(resampled - gaps).sum(axis=1), 100 - tails)
    low = 0.0 if value[0] <= by_chance else max(0.0, low)
    return Interval(float(value[0]), low, max(float(value[0]), high))


def _named(intervals: Mapping[str, list[Interval]]) -> Figures:
    return Figures(
        {name: intervals[name][0] for name in OVERALL},
        {name: tuple(intervals[name]) for name in PER_CLASS},
    )
