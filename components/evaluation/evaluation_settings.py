"""What a model must reach before it is pushed, and over which slices it is measured."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from components.contracts.features import LABEL, SLICE_FEATURES
from components.settings import Settings

SLICE_KEYS = (LABEL, *SLICE_FEATURES)

_Share = Annotated[float, Field(ge=0.0, le=1.0, strict=True, allow_inf_nan=False)]


class EvaluationSettings(Settings):
    """Thresholds on the whole test split, and the slices that are reported beside it.

    A slice never blocks a model: the rarest hold a handful of papers, where a single mistake
    moves a share by whole points.
    """

    min_accuracy: _Share = Field(
        default=0.80, description="Lowest test accuracy that is pushed, a share in [0, 1]."
    )
    min_macro_f1: _Share = Field(
        default=0.60,
        description="Lowest test macro-F1 (mean F1 of the classes) that is pushed, in [0, 1].",
    )
    max_cross_entropy: float = Field(
        default=1.0,
        gt=0.0,
        strict=True,
        allow_inf_nan=False,
        description="Highest test cross-entropy that is pushed, in nats (guessing: ln 7 = 1.95).",
    )
    max_accuracy_drop: _Share = Field(
        default=0.01,
        description="How far test accuracy may lie below the last pushed model's, in [0, 1].",
    )
    max_macro_f1_drop: _Share = Field(
        default=0.02,
        description="How far test macro-F1 may lie below the last pushed model's, in [0, 1].",
    )
    slices: tuple[str, ...] = Field(
        default=SLICE_KEYS,
        description=f"Features whose values are reported apart: any of {', '.join(SLICE_KEYS)}.",
    )

    @field_validator("slices")
    @classmethod
    def _known_and_once(cls, slices: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in slices if name not in SLICE_KEYS]
        if unknown:
            raise ValueError(f"unknown slice {unknown[0]!r}; allowed: {', '.join(SLICE_KEYS)}")
        if len(set(slices)) != len(slices):
            raise ValueError("a slice is named twice; name each once")
        return slices
