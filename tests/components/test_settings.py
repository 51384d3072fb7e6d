"""Settings take each value as it was written, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from components.evaluation.evaluation_settings import EvaluationSettings
from components.infra_validation.budgets import InfraValidationSettings
from components.model.model_settings import ModelSettings
from components.settings import Settings, declared_keys, flat
from components.training.training_settings import PhaseSettings, TrainingSettings
from components.tuning.tuning_settings import Range, TuningSettings


class Inner(Settings):
    number: int = 1
    share: float = 0.5
    flag: bool = True
    word: str = "a"
    widths: tuple[int, ...] = (1,)


class Outer(Settings):
    inner: Inner = Inner()
    place: Path | None = None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"number": True}, "valid integer"),
        ({"number": "64"}, "valid integer"),
        ({"number": 64.0}, "valid integer"),
        ({"share": True}, "valid number"),
        ({"share": "0.5"}, "valid number"),
        ({"share": float("inf")}, "finite number"),
        ({"share": float("nan")}, "finite number"),
        ({"flag": "yes"}, "valid boolean"),
        ({"flag": 1}, "valid boolean"),
        ({"word": 3}, "valid string"),
        ({"widths": [True]}, "valid integer"),
        ({"widths": ["8"]}, "valid integer"),
        ({"widths": "8"}, "valid tuple"),
        ({"number": [1]}, r"input_value=\[1\]"),
        ({"other": 1}, "Extra inputs"),
    ],
)
def test_values_of_another_type_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Outer.model_validate({"inner": values})


def test_integers_are_floats_and_lists_are_tuples() -> None:
    inner = Outer.model_validate({"inner": {"share": 1, "widths": [8, 16]}}).inner
    assert (inner.share, type(inner.share)) == (1.0, float)
    assert inner.widths == (8, 16)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Inner().number = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    "settings",
    [
        ModelSettings(wide_orders=(1, 2, 3), lstm_pooling=("max",)),
        TrainingSettings(
            length_buckets=(8, 24), phase1=PhaseSettings(final_rate=0.25), clip_norm=1
        ),
        EvaluationSettings(slices=("year",)),
        TuningSettings(space={"model.lstm_units": Range(choices=(0, 64))}),
        InfraValidationSettings(max_latency_ms=1, runtime="tensorflow"),
    ],
    ids=lambda settings: type(settings).__name__,
)
def test_settings_survive_json(settings: Settings) -> None:
    kind = type(settings)
    through_json = json.loads(json.dumps(settings.model_dump(mode="json")))
    assert kind.model_validate(through_json) == settings
    assert kind.model_validate_json(settings.model_dump_json()) == settings


def test_a_phase_keeps_its_own_values_for_keys_left_out() -> None:
    whole = TrainingSettings()
    part = TrainingSettings.model_validate({"phase1": {"patience": 5}, "phase2": {"epochs": 9}})
    assert part.phase1 == whole.phase1.model_copy(update={"patience": 5})
    assert part.phase2 == whole.phase2.model_copy(update={"epochs": 9})
    assert part.phase1.schedule != part.phase2.schedule


def test_keys_and_values_are_known_by_their_dotted_names() -> None:
    assert declared_keys(Outer, "a.") == {
        "a.inner.number": int,
        "a.inner.share": float,
        "a.inner.flag": bool,
        "a.inner.word": str,
        "a.inner.widths": tuple[int, ...],
        "a.place": Path | None,
    }
    assert flat({"a": {"b": {"c": 1}, "d": []}, "e": None}) == {"a.b.c": 1, "a.d": [], "e": None}
