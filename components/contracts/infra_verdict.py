"""Whether an exported model can be served, and what serving it costs."""

from __future__ import annotations

from dataclasses import dataclass

from components.contracts.record import Record


@dataclass(frozen=True)
class Check:
    """One requirement on the model.

    Attributes:
        name: what was checked.
        passed: whether it holds.
        line: what was checked, measured and allowed, for people.
        budget: whether it is about time or memory, which other load on the machine affects.
    """

    name: str
    passed: bool
    line: str
    budget: bool = False

    @classmethod
    def of(cls, name: str, problem: str, fine: str = "", *, budget: bool = False) -> Check:
        """Returns a check that failed with a problem or, if that is empty, passed."""
        return cls(name, not problem, f"{name}: {problem or fine}", budget)


@dataclass(frozen=True)
class Measurements:
    """Cost of serving.

    Attributes:
        load_seconds: until the model could be queried.
        latencies_ms: of requests with one abstract, after the warm-up.
        batch_seconds: of a request with 512 abstracts.
        memory_mib: peak resident memory of the serving process; None if unknown.
    """

    load_seconds: float
    latencies_ms: list[float]
    batch_seconds: float
    memory_mib: float | None


class ProbeResult(Record):
    """Result of probing a model; ``measurements`` is None if the probe failed before them."""

    checks: tuple[Check, ...] = ()
    measurements: Measurements | None = None


class InfraVerdict(ProbeResult):
    """The InfraValidator's verdict."""

    blessed: bool = False
    runtime: str = ""
    """What served the model."""
    note: str = ""
    """Why that was used."""
    reasons: tuple[str, ...] = ()
    """A line for each check that failed."""
