"""What the AnomalyGate found in accepted data."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import RootModel

from components.contracts.record import Record


@dataclass(frozen=True)
class Finding:
    """One violated expectation; ``severity`` is "ERROR" or "WARNING"."""

    split: str
    column: str
    severity: str
    words: str

    def __str__(self) -> str:
        return f"split {self.split}, column {self.column}: {self.words}"


@dataclass(frozen=True)
class Distance:
    """Distance between two distributions of a column, by one of TFDV's comparators.

    Attributes:
        kind: "drift" (train split against the last accepted data's) or "skew" (``split`` against
            this run's train split).
        measure: name in ``DriftSkewInfo.Measurement``, such as "L_INFTY".
        value: None if it is not a number.
        threshold: a higher ``value`` is an anomaly.
    """

    column: str
    kind: str
    split: str
    measure: str
    value: float | None
    threshold: float


class Findings(Record, RootModel[tuple[Finding, ...]]):
    """List of the warnings."""

    root: tuple[Finding, ...] = ()


class Distances(Record):
    """Measured drift and skew."""

    previous: str | None = None
    """URI of the accepted data that drift is measured against."""
    distances: tuple[Distance, ...] = ()
