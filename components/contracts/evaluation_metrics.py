"""The Evaluator's metrics and verdict.

Undefined metrics (of an absent class or an empty bin) are None.
"""

from __future__ import annotations

from typing import Literal

from components.contracts.record import Record


class ClassMetrics(Record):
    """Metrics of one class; ``support`` is its number of rows."""

    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    support: int = 0


class ReliabilityBin(Record):
    """Rows whose highest score lies above ``lower`` and up to ``upper``."""

    lower: float = 0.0
    upper: float = 1.0
    examples: int = 0
    confidence: float | None = None
    """Mean of the highest scores."""
    accuracy: float | None = None


class Scores(Record):
    """Metrics of a split or a slice; ``cross_entropy`` in nats."""

    examples: int = 0
    accuracy: float | None = None
    cross_entropy: float | None = None
    macro_f1: float | None = None
    micro_f1: float | None = None
    weighted_f1: float | None = None
    expected_calibration_error: float | None = None
    per_class: dict[str, ClassMetrics] = {}


class Metrics(Scores):
    """The same, with the counts behind them."""

    confusion_matrix: tuple[tuple[int, ...], ...] = ()
    """Rows are true classes, columns predicted ones."""
    reliability: tuple[ReliabilityBin, ...] = ()


class SliceMetrics(Metrics):
    """Metrics of the rows with this value of this feature."""

    feature: str = ""
    value: str = ""


class ThresholdCheck(Record):
    """A threshold and whether it holds."""

    metric: str = ""
    kind: Literal["value", "change"] = "value"
    slice: str = ""
    value: float | None = None
    baseline: float | None = None
    """The baseline's value, if the threshold is on the change."""
    bound: float = 0.0
    passed: bool = False
    reason: str = ""
    """The check in a sentence."""


class ModelReference(Record):
    """A Model artifact; the id is 0 if unknown."""

    id: int = 0
    uri: str = ""


class ModelMetrics(Record):
    """Metrics of one model."""

    overall: Metrics = Metrics()
    slices: tuple[SliceMetrics, ...] = ()
    model: ModelReference = ModelReference()


class Evaluation(ModelMetrics):
    """Metrics of the candidate and of the baseline, and the verdict."""

    format_version: int = 1
    classes: tuple[str, ...] = ()
    """In the order of the confusion matrix's rows and columns."""
    blessed: bool = False
    """Whether every threshold holds."""
    baseline: ModelMetrics | None = None
    """The last pushed model, if one was compared."""
    checks: tuple[ThresholdCheck, ...] = ()
    reasons: tuple[str, ...] = ()
    """A sentence for each failed threshold; for each threshold if the model is blessed."""
