"""Settings as text in the configuration's own format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from components.model.model_settings import ModelSettings
from components.training.training_settings import TrainingSettings
from components.tuning.tuning_settings import MODEL, TRAINING


def to_toml(
    model: ModelSettings, training: TrainingSettings, shown: Mapping[str, Any], comment: str
) -> str:
    """The tables ``[model]`` and ``[training]``, with every key that differs from its default.

    Args:
        shown: further keys to write, by dotted name, whatever their value.
        comment: lines that go before, without their ``#``.
    """
    defaults = {
        **_flat(MODEL, ModelSettings().model_dump(mode="json")),
        **_flat(TRAINING, TrainingSettings().model_dump(mode="json")),
    }
    values = {
        **_flat(MODEL, model.model_dump(mode="json")),
        **_flat(TRAINING, training.model_dump(mode="json")),
    }
    tables: dict[str, list[str]] = {}
    for key, value in values.items():
        if value != defaults[key] or key in shown:
            table, _, name = key.rpartition(".")
            # TOML's strings, numbers, booleans and lists are written as those of JSON are.
            tables.setdefault(table, []).append(f"{name} = {json.dumps(value)}")
    # A table's own keys must precede its sub-tables.
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    for table in sorted(tables):
        lines += ["", f"[{table}]", *tables[table]]
    return "\n".join(lines) + "\n"


def _flat(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables as one, by dotted key."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}.{name}"
        flat |= _flat(key, value) if isinstance(value, dict) else {key: value}
    return flat
