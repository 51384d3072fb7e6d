"""Compares two runs: configuration, code, data, metrics, slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from components.contracts.evaluation_metrics import Evaluation
from components.settings import flat
from pipeline.runs.history import Run

_METRICS = (
    "examples",
    "accuracy",
    "macro_f1",
    "micro_f1",
    "weighted_f1",
    "cross_entropy",
    "expected_calibration_error",
)
_SLICE_METRICS = ("accuracy", "macro_f1")
# Properties that do not describe the data.
_NOT_DATA = ("span", "split_names", "file_format", "payload_format")


@dataclass(frozen=True)
class Change:
    """A value in two runs, None where absent; the difference of numbers is second minus first."""

    key: str
    first: Any
    second: Any
    difference: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        values = (self.first, self.second)
        if all(isinstance(one, int | float) and not isinstance(one, bool) for one in values):
            object.__setattr__(self, "difference", float(self.second - self.first))


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        configuration_known: False if a run left no record of its configuration.
        configuration, code, data: what differs: keys, commits and sources, counts and hashes.
        metrics: every metric of the whole test split, including equal ones.
        slices: every metric of each slice, largest absolute difference first.
    """

    configuration_known: bool
    configuration: tuple[Change, ...]
    code: tuple[Change, ...]
    data: tuple[Change, ...]
    metrics: tuple[Change, ...]
    slices: tuple[Change, ...]


def compare(first: Run, second: Run) -> Comparison:
    """Compares two runs."""
    runs = (first, second)
    records = [run.record for run in runs]
    commits = [{"commit": (own and own.commit) or None} for own in records]
    configurations = [flat(own.configuration) if own else {} for own in records]
    slices = _changes(*(slice_metrics(run.evaluation) for run in runs))
    return Comparison(
        configuration_known=all(records),
        configuration=tuple(differing(*configurations) if all(records) else ()),
        code=(*differing(*commits), *differing(first.code, second.code)),
        data=tuple(one for one in differing(first.data, second.data) if one.key not in _NOT_DATA),
        metrics=tuple(_changes(*(overall_metrics(run.evaluation) for run in runs))),
        slices=tuple(sorted(slices, key=lambda change: -abs(change.difference or 0.0))),
    )


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Change]:
    """Returns the keys whose values differ, in the order of the first mapping."""
    return [change for change in _changes(first, second) if change.first != change.second]


def overall_metrics(evaluation: Evaluation | None) -> dict[str, Any]:
    """Returns {metric: value} measured on the test split, including each class's F1."""
    if evaluation is None:
        return {}
    overall = evaluation.overall
    f1 = {f"f1 of {name}": scores.f1 for name, scores in overall.per_class.items()}
    measured = {name: getattr(overall, name) for name in _METRICS}
    return {name: value for name, value in measured.items() if value is not None} | f1


def slice_metrics(evaluation: Evaluation | None) -> dict[str, Any]:
    """Returns {"feature=value metric": value} of each slice."""
    return {
        f"{one.feature}={one.value} {name}": getattr(one, name)
        for one in (evaluation.slices if evaluation else ())
        for name in _SLICE_METRICS
        if getattr(one, name) is not None
    }


def _changes(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Change]:
    return [Change(key, first.get(key), second.get(key)) for key in {**first, **second}]
