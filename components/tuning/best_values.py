"""Writes settings in the configuration's format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomlkit

from components.model.model_settings import ModelSettings
from components.settings import flat
from components.training.training_settings import TrainingSettings
from components.tuning.tuning_settings import MODEL, TRAINING


def to_toml(
    model: ModelSettings, training: TrainingSettings, shown: Mapping[str, Any], comment: str
) -> str:
    """Returns the tables ``[model]`` and ``[training]``, with the keys that differ from defaults.

    Args:
        model, training: settings to write.
        shown: dotted keys that are written even with their default.
        comment: preceding lines, without ``#``.
    """
    defaults = _values(ModelSettings(), TrainingSettings())
    tables: dict[str, Any] = {}
    for key, value in _values(model, training).items():
        if value != defaults[key] or key in shown:
            *groups, name = key.split(".")
            table = tables
            for group in groups:
                table = table.setdefault(group, {})
            table[name] = value
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    return "\n".join([*lines, "", tomlkit.dumps(tables)])


def _values(model: ModelSettings, training: TrainingSettings) -> dict[str, Any]:
    return flat({MODEL: model.model_dump(mode="json"), TRAINING: training.model_dump(mode="json")})
