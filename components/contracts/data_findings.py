"""What the gate found in accepted data."""

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
    """How far two data sets' distributions of a column lie apart, by one of the comparators.

    Attributes:
        column: the column.
        kind: "drift", of the train split against the last accepted data's; or "skew", of ``split``
            against this run's train split.
        split: the split compared.
        measure: the comparator's name in ``DriftSkewInfo.Measurement``, such as "L_INFTY".
        value: the distance.
        threshold: above which it is an anomaly.
    """

    column: str
    kind: str
    split: str
    measure: str
    value: float
    threshold: float


class Findings(Record, RootModel[tuple[Finding, ...]]):
    """The warnings, a list."""

    root: tuple[Finding, ...] = ()


class Distances(Record):
    """What the comparators measured."""

    previous: str | None = None
    """URI of the accepted data that drift is measured against."""
    distances: tuple[Distance, ...] = ()
