"""The settings of the model refuse what cannot be built."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from components.model.model_settings import ModelSettings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"architecture": "transformer"}, "'bilstm_wide' or 'notebook'"),
        ({"lstm_unit": 64}, "Extra inputs are not permitted"),
        ({"lstm_units": -1}, "greater than or equal to 0"),
        ({"dense_units": 0}, "greater than or equal to 1"),
        ({"dense_dropout": 1.0}, "less than 1"),
        ({"wide_scale": 0}, "greater than 0"),
        ({"wide_ngrams": -1}, "greater than or equal to 0"),
        ({"wide_orders": []}, "at least one length"),
        ({"wide_orders": [0]}, "at least one length"),
        ({"wide_orders": [2, 2]}, "must not repeat"),
        ({"lstm_pooling": ["max", "max"]}, "must not repeat"),
        ({"lstm_pooling": ["min"]}, "'max', 'mean' or 'attention'"),
        ({"lstm_pooling": []}, "lstm_pooling must not be empty"),
        ({"lstm_units": 0, "wide_ngrams": 0}, "no path at all"),
        ({"architecture": "notebook", "lstm_units": 32}, "lstm_units has no effect"),
    ],
)
def test_impossible_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ModelSettings.model_validate(values)


@pytest.mark.parametrize("architecture", ["bilstm_wide", "notebook"])
def test_settings_survive_json(architecture: str) -> None:
    settings = ModelSettings.model_validate({"architecture": architecture})
    assert ModelSettings.model_validate_json(settings.model_dump_json()) == settings


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ModelSettings().lstm_units = 3  # type: ignore[misc]


def test_every_setting_is_described() -> None:
    assert all(field.description for field in ModelSettings.model_fields.values())
