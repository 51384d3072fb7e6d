"""What differs between two runs: configuration, code, data, metrics, slices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.runs.history import History, Run

_FIGURES = (
    "accuracy",
    "macro_f1",
    "micro_f1",
    "weighted_f1",
    "cross_entropy",
    "expected_calibration_error",
)
_SLICE_FIGURES = ("accuracy", "macro_f1")
# Counts that are the same for every file of a kind, and so say nothing.
_NOT_DATA = ("span", "split_names", "file_format", "payload_format")


@dataclass(frozen=True)
class Change:
    """A value in two runs.

    Attributes:
        key: of the value, parts joined by dots.
        before: in the first run; None where it has none.
        after: in the second run; None where it has none.
    """

    key: str
    before: Any
    after: Any

    @property
    def difference(self) -> float | None:
        """``after - before``; None where one of them is no number."""
        if _is_number(self.before) and _is_number(self.after):
            return float(self.after - self.before)
        return None


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        configuration: the keys whose values differ.
        configuration_known: False where a run left no record of its configuration.
        code: the nodes whose sources differ, and the commits where they do.
        data: the counts and hashes that differ.
        metrics: every figure of the whole test split, also those that are the same.
        slices: every figure of each slice, by how much it differs.
    """

    configuration: tuple[Change, ...]
    configuration_known: bool
    code: tuple[Change, ...]
    data: tuple[Change, ...]
    metrics: tuple[Change, ...]
    slices: tuple[Change, ...]


def compare(history: History, first: Run, second: Run) -> Comparison:
    """Sets two runs side by side."""
    records = (first.record, second.record)
    before, after = (flat(own.configuration) if own else {} for own in records)
    code = differing(history.code(first), history.code(second))
    commits = tuple(own.commit if own else "" for own in records)
    if commits[0] != commits[1]:
        code.insert(0, Change("commit", commits[0] or None, commits[1] or None))
    data = [
        change
        for change in differing(history.data(first), history.data(second))
        if change.key not in _NOT_DATA
    ]
    metrics = (history.metrics(first), history.metrics(second))
    return Comparison(
        configuration=tuple(differing(before, after)) if all(records) else (),
        configuration_known=all(records),
        code=tuple(code),
        data=tuple(data),
        metrics=tuple(_side_by_side(*(overall_figures(one) for one in metrics))),
        slices=tuple(
            sorted(
                _side_by_side(*(slice_figures(one) for one in metrics)),
                key=lambda change: -abs(change.difference or 0.0),
            )
        ),
    )


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Returns nested tables as one, keys joined by dots; lists stay whole."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= flat(inner, f"{prefix}.{key}" if prefix else str(key))
    return found


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Returns the keys whose values differ, in the order of the first mapping."""
    return [
        Change(key, before.get(key), after.get(key))
        for key in _keys(before, after)
        if before.get(key) != after.get(key)
    ]


def overall_figures(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Returns {figure: value} of the whole test split, each class's F1 included."""
    overall = metrics.get("overall", {})
    found = {name: overall[name] for name in ("examples", *_FIGURES) if name in overall}
    for name, scores in overall.get("per_class", {}).items():
        found[f"f1 of {name}"] = scores.get("f1")
    return found


def slice_figures(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Returns {"feature=value figure": value} of each slice."""
    return {
        f"{one['feature']}={one['value']} {name}": one[name]
        for one in metrics.get("slices", [])
        for name in _SLICE_FIGURES
        if one.get(name) is not None
    }


def _side_by_side(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterable[Change]:
    return (Change(key, before.get(key), after.get(key)) for key in _keys(before, after))


def _keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [*before, *(key for key in after if key not in before)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
