"""The search's settings refuse a space that the configuration's keys cannot take."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from components.errors import UserError
from components.model.model_settings import ModelSettings
from components.training.training_settings import TrainingSettings
from components.tuning.tuning_settings import TuningSettings, apply, check_tuning, current

MODEL, TRAINING = ModelSettings(), TrainingSettings()


def tuning_of(space: dict[str, Any], **changes: Any) -> TuningSettings:
    return TuningSettings.model_validate({"space": space, **changes})


def test_search_is_off_by_default_and_its_space_holds_the_defaults() -> None:
    tuning = TuningSettings()
    assert not tuning.enabled
    check_tuning(MODEL, TRAINING, tuning)
    held = current(MODEL, TRAINING, tuning)
    assert held is not None
    assert held["training.phase2.learning_rate"] == TRAINING.phase2.learning_rate


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "needs both low and high"),
        ({"low": 1}, "needs both low and high"),
        ({"low": 2, "high": 1}, "low = 2 is not below high = 1"),
        ({"low": 0, "high": 1, "scale": "log"}, "above 0 on a log scale"),
        ({"low": 0, "high": 1, "choices": [1]}, "either choices, or low and high"),
        ({"low": 0, "high": 1, "scale": "cubic"}, "'linear' or 'log'"),
    ],
)
def test_impossible_ranges_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        tuning_of({"model.dense_dropout": values})


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        ("model.lstm_unit", {"low": 1, "high": 2}, r'"model\.lstm_unit": there is no such key'),
        ("transform.sequence_length", {"low": 1, "high": 2}, "there is no such key"),
        ("training.phase2", {"choices": [1]}, "there is no such key"),
        ("training", {"choices": [1]}, "there is no such key"),
        ("training.phase2.epochs.most", {"low": 1, "high": 2}, "there is no such key"),
        ("model.lstm_units", {"low": 1.5, "high": 8}, "valid integer"),
        ("model.lstm_units", {"choices": [32, 64.0]}, "valid integer"),
        ("model.dense_dropout", {"low": 0, "high": 1}, "less than 1"),
        ("model.lstm_pooling", {"low": 0, "high": 1}, "is no number; give choices"),
        ("model.lstm_pooling", {"choices": [["max"], ["min"]]}, "'max', 'mean' or"),
        ("training.fit_temperature", {"choices": ["yes"]}, "valid boolean"),
    ],
)
def test_keys_and_values_that_the_settings_lack_are_refused(
    key: str, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check_tuning(MODEL, TRAINING, tuning_of({key: values}))


def test_epochs_are_either_limited_or_searched() -> None:
    space = {"training.phase2.epochs": {"low": 1, "high": 4}}
    check_tuning(MODEL, TRAINING, tuning_of(space))
    with pytest.raises(UserError, match=r"tuning\.epochs = 2 limits"):
        check_tuning(MODEL, TRAINING, tuning_of(space, epochs=2))


def test_applied_values_leave_the_rest_as_it_is() -> None:
    model, training = apply(
        MODEL, TRAINING, {"model.lstm_pooling": ["mean"], "training.phase2.epochs": 9}
    )
    assert model == MODEL.model_copy(update={"lstm_pooling": ("mean",)})
    phase2 = TRAINING.phase2.model_copy(update={"epochs": 9})
    assert training == TRAINING.model_copy(update={"phase2": phase2})


def test_values_outside_the_space_are_no_first_trial() -> None:
    pooling = {"choices": [["max", "mean", "attention"], ["max"]]}
    space = {"model.lstm_pooling": pooling, "model.lstm_units": {"low": 8, "high": 64}}
    assert current(MODEL, TRAINING, tuning_of(space)) == {
        "model.lstm_pooling": ["max", "mean", "attention"],
        "model.lstm_units": 64,
    }
    space["model.lstm_units"] = {"low": 8, "high": 63}
    assert current(MODEL, TRAINING, tuning_of(space)) is None
