"""Written settings are read back as they were."""

from __future__ import annotations

import tomli

from components.model.model_settings import ModelSettings
from components.training.training_settings import TrainingSettings
from components.tuning.node import to_toml


def test_written_settings_are_read_back_as_they_were() -> None:
    model = ModelSettings(lstm_pooling=("mean",), wide_scale=3.25, categories=False)
    training = TrainingSettings.model_validate({
        "phase1": {"learning_rate": 0.1 + 0.2, "schedule": "cosine"},
        "phase2": {"learning_rate": 1.25e-05}, "fit_temperature": False, "length_buckets": [],
    })  # fmt: skip
    text = to_toml(model, training, {}, "First.\nSecond.")
    assert text.startswith("# First.\n# Second.\n\n[model]\n")
    read = tomli.loads(text)
    assert ModelSettings.model_validate(read["model"]) == model
    assert TrainingSettings.model_validate(read["training"]) == training


def test_only_what_differs_or_is_asked_for_is_written() -> None:
    text = to_toml(
        ModelSettings(lstm_units=32), TrainingSettings(), {"training.phase2.epochs": 0}, "Why."
    )
    assert tomli.loads(text) == {
        "model": {"lstm_units": 32},
        "training": {"phase2": {"epochs": TrainingSettings().phase2.epochs}},
    }
