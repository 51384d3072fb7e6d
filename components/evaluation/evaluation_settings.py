"""Settings of the evaluation: thresholds on the test split, and slices."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from components.contracts.features import SLICE_FEATURES
from components.settings import BASIC, Settings

LABEL_SLICE = "label"
SLICE_KEYS = (LABEL_SLICE, *SLICE_FEATURES)

_Share = Annotated[float, Field(ge=0, le=1)]


class EvaluationSettings(Settings):
    """Thresholds on the test split that a model must reach to be pushed, and the slices.

    A slice never blocks a model: the smallest have a handful of papers, where a single mistake
    changes the accuracy by whole points.
    """

    min_accuracy: _Share = Field(0.80, json_schema_extra=BASIC)
    """Lowest test accuracy that is pushed."""
    min_macro_f1: _Share = Field(0.60, json_schema_extra=BASIC)
    """Lowest test macro-F1 (mean F1 of the classes) that is pushed."""
    max_cross_entropy: float = Field(1.0, gt=0, json_schema_extra=BASIC)
    """Highest test log loss that is pushed, in nats (guessing among seven classes costs 1.95)."""
    max_accuracy_drop: _Share = 0.01
    """How far test accuracy may lie below that of the last pushed model."""
    max_macro_f1_drop: _Share = 0.02
    """How far test macro-F1 may lie below that of the last pushed model."""
    slices: tuple[str, ...] = SLICE_KEYS
    """What the metrics are sliced by, any of the default ones; without a column of dates, not by
    year."""

    @field_validator("slices")
    @classmethod
    def _known_and_once(cls, slices: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in slices if name not in SLICE_KEYS]
        if unknown:
            raise ValueError(f"unknown slice {unknown[0]!r}; allowed: {', '.join(SLICE_KEYS)}")
        if len(set(slices)) != len(slices):
            raise ValueError("a slice is named twice; name each once")
        return slices
