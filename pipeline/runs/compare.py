"""What differs between two runs: configuration, code, data, metrics, slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
# Properties that are the same for every file of a kind, and so say nothing.
_NOT_DATA = ("span", "split_names", "file_format", "payload_format")


@dataclass(frozen=True)
class Change:
    """A value in two runs.

    Attributes:
        key: of the value, parts joined by dots.
        first: in the first run; None if it has none.
        second: in the second run; None if it has none.
        difference: second minus first; None if one of them is no number.
    """

    key: str
    first: Any
    second: Any
    difference: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Computes the difference."""
        values = (self.first, self.second)
        if all(isinstance(one, int | float) and not isinstance(one, bool) for one in values):
            object.__setattr__(self, "difference", float(self.second - self.first))


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        configuration_known: False if a run left no record of its configuration.
        configuration: the keys whose values differ.
        code: the nodes whose sources differ, and the commits if they do.
        data: the counts and hashes that differ.
        metrics: every metric of the whole test split, also those that are the same.
        slices: every metric of each slice, by how much it differs.
    """

    configuration_known: bool
    configuration: tuple[Change, ...]
    code: tuple[Change, ...]
    data: tuple[Change, ...]
    metrics: tuple[Change, ...]
    slices: tuple[Change, ...]


def compare(first: Run, second: Run) -> Comparison:
    """Sets two runs side by side."""
    runs = (first, second)
    records = [run.record for run in runs]
    commits = [{"commit": (own and own.commit) or None} for own in records]
    configurations = [flat(own.configuration) if own else {} for own in records]
    slices = _changes(*(slice_metrics(run.metrics) for run in runs))
    return Comparison(
        configuration_known=all(records),
        configuration=tuple(differing(*configurations) if all(records) else ()),
        code=(*differing(*commits), *differing(first.code, second.code)),
        data=tuple(one for one in differing(first.data, second.data) if one.key not in _NOT_DATA),
        metrics=tuple(_changes(*(overall_metrics(run.metrics) for run in runs))),
        slices=tuple(sorted(slices, key=lambda change: -abs(change.difference or 0.0))),
    )


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Returns nested tables as one, keys joined by dots; lists stay whole."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= flat(inner, f"{prefix}.{key}" if prefix else str(key))
    return found


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Change]:
    """Returns the keys whose values differ, in the order of the first mapping."""
    return [change for change in _changes(first, second) if change.first != change.second]


def overall_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Returns {metric: value} of the whole test split, each class's F1 included."""
    overall = metrics.get("overall", {})
    found = {name: overall[name] for name in _METRICS if name in overall}
    for name, scores in overall.get("per_class", {}).items():
        found[f"f1 of {name}"] = scores.get("f1")
    return found


def slice_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Returns {"feature=value metric": value} of each slice."""
    return {
        f"{one['feature']}={one['value']} {name}": one[name]
        for one in metrics.get("slices", [])
        for name in _SLICE_METRICS
        if one.get(name) is not None
    }


def _changes(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Change]:
    return [Change(key, first.get(key), second.get(key)) for key in {**first, **second}]
