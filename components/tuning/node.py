"""Tuner: TFX's node, which also writes the best values in the configuration's format."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from absl import logging
from tfx.components.tuner import component
from tfx.components.tuner import executor as stock
from tfx.dsl.components.base import executor_spec
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import json_utils

from components.contracts import artifact_files
from components.contracts.progress import Note
from components.model.model_settings import ModelSettings
from components.training.training_settings import TrainingSettings
from components.tuning.tuner_fn import decoded, shown
from components.tuning.tuning_settings import TuningSettings, apply, nested, values_of


class TunerExecutor(stock.Executor):  # type: ignore[misc]
    """TFX's executor, which also writes the best settings as TOML."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the search; raises UserError if no trial finished."""
        super().Do(input_dict, output_dict, exec_properties)
        config = json_utils.loads(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY])
        tuning = TuningSettings.model_validate(config["tuning"])
        names = standard_component_specs
        folder, results = (
            Path(artifact_utils.get_single_uri(output_dict[name]))
            for name in (names.BEST_HYPERPARAMETERS_KEY, names.TUNER_RESULTS_KEY)
        )
        (table,) = results.glob("*.json")
        trials = json.loads(table.read_text(encoding="utf-8"))
        best = decoded(tuning, {key: trials[0][key] for key in tuning.space})
        model, training = apply(
            ModelSettings.model_validate(config["model"]),
            TrainingSettings.model_validate(config["training"]),
            best,
        )
        measured = f"{tuning.objective} {trials[0]['score']:.4f} on the eval split"
        file = folder / artifact_files.BEST_VALUES
        limit = f", epochs a phase at most: {tuning.epochs}" if tuning.epochs else ""
        searched = textwrap.fill(f"Searched: {', '.join(tuning.space)}.", 98)
        comment = (
            f"Best of {len(trials)} trials: {measured}{limit}.\n{searched}\n"
            "These tables replace all model and training keys of the configuration; put them at\n"
            "its end. Set tuning.enabled to false with them, or the search starts again from here."
        )
        file.write_text(to_toml(model, training, best, comment), encoding="utf-8")
        best_of = Note(f"tuning: best of {len(trials)} trials: {measured}; {shown(best)}")
        logging.info("%s", best_of)
        logging.info("%s", Note(f"tuning: to train with these values: {file}"))


class Tuner(component.Tuner):  # type: ignore[misc]
    """TFX's Tuner with :class:`TunerExecutor`."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(TunerExecutor)


def to_toml(
    model: ModelSettings, training: TrainingSettings, shown: Mapping[str, Any], comment: str
) -> str:
    """Returns the tables ``[model]`` and ``[training]`` below a comment.

    They have the keys that differ from their defaults, and all dotted keys in ``shown``.
    """
    defaults = values_of(ModelSettings(), TrainingSettings())
    written = {
        key: value
        for key, value in values_of(model, training).items()
        if value != defaults[key] or key in shown
    }
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    return "\n".join([*lines, "", tomlkit.dumps(nested(written))])
