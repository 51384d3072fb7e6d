"""Whether an exported model can be served as it should be, and what serving it took."""

from __future__ import annotations

from dataclasses import dataclass

from components.contracts.record import Record


@dataclass(frozen=True)
class Check:
    """One demand on the model.

    Attributes:
        name: what was looked at.
        passed: whether it holds.
        line: what was looked at, what was measured and what was allowed, for people.
        budget: whether it is about time or memory, which other load on the machine may spoil.
    """

    name: str
    passed: bool
    line: str
    budget: bool = False


@dataclass(frozen=True)
class Measurements:
    """What serving took.

    Attributes:
        load_seconds: until the model could be asked.
        latencies_ms: of requests with one abstract, after the warm-up.
        batch_seconds: of a request with 512 abstracts.
        memory_mib: peak resident memory of the process that serves; None where it is not known.
    """

    load_seconds: float
    latencies_ms: list[float]
    batch_seconds: float
    memory_mib: float | None


class ProbeResult(Record):
    """What the probe of a model found; ``measurements`` is None where it did not come to that."""

    checks: tuple[Check, ...] = ()
    measurements: Measurements | None = None


class InfraVerdict(ProbeResult):
    """The InfraValidator's verdict."""

    blessed: bool = False
    runtime: str = ""
    """What served the model."""
    note: str = ""
    """Why it was served by that."""
    reasons: tuple[str, ...] = ()
    """A line for each check that failed."""
