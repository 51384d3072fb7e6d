"""Loss, class weights and metrics of training and validation."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from components.metrics import classification

FloatArray = npt.NDArray[np.float64]


def class_weights(counts: npt.NDArray[np.int64], power: float) -> FloatArray:
    """Returns ``(n / (k n_c)) ** power``, float64 [k], scaled to a mean of 1 over the examples.

    Power 1 is scikit-learn's "balanced". Classes without examples have weight 1 before scaling.
    """
    present = counts > 0
    weights = np.ones(len(counts))
    weights[present] = (counts.sum() / (len(counts) * counts[present])) ** power
    return weights * counts.sum() / (weights * counts).sum()


def log_priors(counts: npt.NDArray[np.int64]) -> FloatArray:
    """Returns the classes' log priors, float64 [k]; absent classes count as half an example."""
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
    """Macro-F1 by :func:`components.metrics.classification.f1_macro`; NaN before any batch."""

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
        return classification.f1_macro(ops.convert_to_tensor(self.confusion), ops)


def watched_metrics(classes: int) -> list[keras.metrics.Metric]:
    """Returns accuracy, log loss (unweighted cross-entropy) and macro-F1."""
    return [
        keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
        keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="log_loss"),
        MacroF1(classes),
    ]


def fit_temperature(logits: npt.NDArray[Any], labels: npt.NDArray[Any]) -> float:
    """Returns the temperature in [.3, 5] with the lowest log loss (Guo et al., 2017).

    Args:
        logits: float [n, k], after logit adjustment.
        labels: integer [n].
    """
    logits = np.asarray(logits, np.float64)

    def log_loss(temperature: float) -> float:
        return classification.log_loss(labels, log_softmax(logits / temperature, axis=1))

    found = minimize_scalar(log_loss, bounds=(0.3, 5.0), method="bounded")
    return float(found.x)


def eval_metrics(logits: npt.NDArray[Any], labels: npt.NDArray[Any]) -> dict[str, float]:
    """Returns log loss (nats), accuracy and macro-F1 of ``softmax(logits)``, named as in `Monitor`.

    Args:
        logits: float [n, k], as exported: adjusted and divided by the temperature.
        labels: integer [n].
    """
    logs = log_softmax(np.asarray(logits, np.float64), axis=1)
    matrix = classification.confusion_matrix(labels, logs)
    return {
        "log_loss": classification.log_loss(labels, logs),
        "accuracy": float(classification.accuracy(matrix)),
        "macro_f1": float(classification.f1_macro(matrix)),
    }
