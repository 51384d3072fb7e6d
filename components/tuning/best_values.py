"""Writes settings in the configuration's format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomlkit

from components.model.model_settings import ModelSettings
from components.training.training_settings import TrainingSettings
from components.tuning.tuning_settings import nested, values_of


def to_toml(
    model: ModelSettings, training: TrainingSettings, shown: Mapping[str, Any], comment: str
) -> str:
    """Returns the tables ``[model]`` and ``[training]``, with the keys that differ from defaults.

    Args:
        model, training: settings to write.
        shown: dotted keys that are written even with their default.
        comment: preceding lines, without ``#``.
    """
    defaults = values_of(ModelSettings(), TrainingSettings())
    written = {
        key: value
        for key, value in values_of(model, training).items()
        if value != defaults[key] or key in shown
    }
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    return "\n".join([*lines, "", tomlkit.dumps(nested(written))])
