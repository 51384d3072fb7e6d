"""Metrics of a classifier that predicts the class with the highest score.

Most functions take a confusion matrix, or a stack of them with shape ``[..., classes, classes]``:
row = true class, column = predicted class. TFMA and the bootstrap have these, not the rows that
scikit-learn's functions take; the values equal scikit-learn's.

Absent classes follow scikit-learn's default labels. A class that is neither true nor predicted in
any row has undefined precision, recall and F1 (NaN) and is left out of ``f1_macro``. For any other
class a ratio with denominator zero is 0 (``zero_division=0``). Without rows every metric is NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import metrics

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Array = npt.NDArray[Any]

# Keys of the metrics in metrics.json and ML Metadata.
ACCURACY = "accuracy"
F1_MACRO = "macro_f1"
F1_MICRO = "micro_f1"
F1_WEIGHTED = "weighted_f1"
LOG_LOSS = "cross_entropy"
ECE = "expected_calibration_error"
PRECISION = "precision"
RECALL = "recall"
F1 = "f1"
SUPPORT = "support"
PER_CLASS = (PRECISION, RECALL, F1, SUPPORT)

CALIBRATION_BINS = 15
"""Equal-width bins of the highest score over [0, 1], as in Guo et al. (2017)."""


def confusion_matrix(labels: Array, scores: Array) -> Ints:
    """Returns the counts of each true and predicted class, int64 [classes, classes].

    Args:
        labels: class ids, integer [n].
        scores: float [n, classes]; the highest is the prediction, the first one of a tie.
    """
    predicted, classes = scores.argmax(axis=1), np.arange(scores.shape[1])
    matrix: Ints = metrics.confusion_matrix(labels, predicted, labels=classes)
    return matrix


def per_class_scores(matrices: Any, xp: Any = np) -> dict[str, Any]:
    """Returns precision, recall, F1 and support of each class, each float [..., classes].

    Args:
        matrices: counts, float or integer [..., classes, classes].
        xp: module that computes: NumPy, or ``keras.ops`` inside a compiled training step.
    """
    correct = xp.diagonal(matrices, axis1=-2, axis2=-1)
    support, predicted = xp.sum(matrices, axis=-1), xp.sum(matrices, axis=-2)
    absent_or_zero = xp.where(support + predicted > 0, 0.0, np.nan)
    return {
        PRECISION: _ratio(correct, predicted, absent_or_zero, xp),
        RECALL: _ratio(correct, support, absent_or_zero, xp),
        F1: _ratio(2 * correct, support + predicted, np.nan, xp),
        SUPPORT: support,
    }


def f1_macro(matrices: Any, xp: Any = np) -> Any:
    """Returns the mean F1 of the classes that are true or predicted in some row, float [...].

    Args:
        matrices: counts, float or integer [..., classes, classes].
        xp: module that computes: NumPy, or ``keras.ops`` inside a compiled training step.
    """
    f1 = per_class_scores(matrices, xp)[F1]
    present = xp.where(xp.isnan(f1), 0.0, 1.0)
    return _ratio(xp.sum(xp.nan_to_num(f1), axis=-1), xp.sum(present, axis=-1), np.nan, xp)


def f1_weighted(matrices: Array) -> Array:
    """Returns the mean F1 of the classes, weighted by support, float64 [...]."""
    scores = per_class_scores(matrices)
    total = np.sum(np.nan_to_num(scores[F1]) * scores[SUPPORT], axis=-1)
    return _ratio(total, np.sum(scores[SUPPORT], axis=-1))


def accuracy(matrices: Array) -> Array:
    """Returns the share of correct predictions, float64 [...]; with one label per row, micro-F1."""
    return _ratio(np.trace(matrices, axis1=-2, axis2=-1), np.sum(matrices, axis=(-2, -1)))


def log_losses(labels: Array, log_probabilities: Array) -> Floats:
    """Returns the negative log-likelihood of each row in nats, float64 [n].

    Args:
        labels: class ids, integer [n].
        log_probabilities: float [n, classes].
    """
    return -log_probabilities[np.arange(len(labels)), labels].astype(np.float64)


def log_loss(labels: Array, log_probabilities: Array) -> float:
    """Returns the mean of :func:`log_losses`; exact even if a probability rounds to 0 or 1."""
    return float(log_losses(labels, log_probabilities).mean())


def calibration_bins(confidence: Any) -> Any:
    """Returns the bin of each score, int64: bin i of k is (i / k, (i + 1) / k].

    Takes highest scores, float of any shape; 0 and NaN go to bin 0.
    """
    confidence = np.nan_to_num(np.asarray(confidence, np.float64))
    places = np.ceil(confidence * CALIBRATION_BINS) - 1
    return np.clip(places, 0, CALIBRATION_BINS - 1).astype(np.int64)


def expected_calibration_error(gaps: Array, rows: Any) -> Array:
    """Returns the mean gap between confidence and accuracy, weighted by each bin's rows.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3. A bin's weight and
    the denominator of its means cancel out.

    Args:
        gaps: sum over each bin's rows of the confidence, less 1 if the prediction is correct,
            float [..., bins].
        rows: number of all rows.
    """
    return _ratio(np.abs(gaps).sum(axis=-1), np.asarray(rows))


def _ratio(part: Any, whole: Any, undefined: Any = np.nan, xp: Any = np) -> Any:
    """Returns ``part / whole``, or ``undefined`` where ``whole`` is 0."""
    return xp.where(whole > 0, part / xp.where(whole > 0, whole, 1), undefined)
