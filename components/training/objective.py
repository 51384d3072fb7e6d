"""Loss, class weights and the figures that are watched on the eval split."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.metrics import f1_score

FloatArray = npt.NDArray[np.float64]


def class_weights(counts: npt.NDArray[np.int64], power: float) -> FloatArray:
    """Returns ``(n / (k n_c)) ** power``, float64 [k], scaled to a mean of 1 over the examples.

    Power 1 is scikit-learn's "balanced". A class without examples weighs 1.
    """
    present = counts > 0
    weights = np.ones(len(counts))
    weights[present] = (counts.sum() / (len(counts) * counts[present])) ** power
    return weights * counts.sum() / (weights * counts).sum()


def log_priors(counts: npt.NDArray[np.int64]) -> FloatArray:
    """Returns the classes' log priors, float64 [k]; one without examples counts as half of one."""
    smoothed = np.maximum(counts, 0.5)
    return np.log(smoothed / smoothed.sum())


class WeightedCrossEntropy(keras.losses.Loss):
    """Mean cross-entropy from logits, float [n, k], each example weighted by its class."""

    def __init__(self, weights: npt.NDArray[Any]) -> None:
        super().__init__(name="loss", reduction="sum_over_batch_size")
        self._weights = np.asarray(weights, np.float32)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        labels = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        targets = ops.one_hot(labels, len(self._weights), dtype="float32")
        logs = ops.log_softmax(ops.cast(y_pred, "float32"), axis=-1)
        return -ops.sum(targets * logs, axis=-1) * ops.sum(targets * self._weights, axis=-1)


@keras.saving.register_keras_serializable("arxiv")
class MacroF1(keras.metrics.Metric):
    """Mean over the classes of their F1; a class neither present nor predicted has F1 0."""

    def __init__(self, classes: int, name: str = "macro_f1") -> None:
        super().__init__(name=name)
        self.confusion = self.add_variable((classes, classes), "zeros", name="confusion")
        self._classes = classes

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        del sample_weight
        true = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), self._classes)
        predicted = ops.one_hot(ops.argmax(y_pred, axis=-1), self._classes)
        self.confusion.assign_add(ops.matmul(ops.transpose(true), predicted))

    def result(self) -> Any:
        hits = ops.diagonal(self.confusion)
        total = ops.sum(self.confusion, axis=0) + ops.sum(self.confusion, axis=1)
        return ops.mean(2.0 * hits / ops.maximum(total, 1.0))


def watched_metrics(classes: int) -> list[keras.metrics.Metric]:
    """Accuracy, log loss (cross-entropy without weights) and macro-F1."""
    return [
        keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
        keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="log_loss"),
        MacroF1(classes),
    ]


def fit_temperature(logits: npt.NDArray[Any], labels: npt.NDArray[Any]) -> float:
    """Returns the temperature in [.3, 5] with the least log loss (Guo et al., 2017).

    Args:
        logits: float [n, k], adjusted if the exported model adjusts them.
        labels: integer [n].
    """
    logits = np.asarray(logits, np.float64)
    rows = np.arange(len(labels))

    def log_loss(temperature: float) -> float:
        return float(-log_softmax(logits / temperature, axis=1)[rows, labels].mean())

    found = minimize_scalar(log_loss, bounds=(0.3, 5.0), method="bounded")
    return float(found.x)


def eval_figures(logits: npt.NDArray[Any], labels: npt.NDArray[Any]) -> dict[str, float]:
    """Log loss (nats), accuracy and macro-F1 of ``softmax(logits)``, by the names of ``monitor``.

    Args:
        logits: float [n, k], as exported: adjusted and divided by the temperature.
        labels: integer [n].
    """
    logs = log_softmax(np.asarray(logits, np.float64), axis=1)
    found, classes = logs.argmax(axis=1), range(logs.shape[1])
    return {
        "log_loss": float(-logs[np.arange(len(labels)), labels].mean()),
        "accuracy": float((found == labels).mean()),
        # As MacroF1: a class neither present nor predicted counts with 0.
        "macro_f1": float(
            f1_score(labels, found, labels=classes, average="macro", zero_division=0)
        ),
    }
