"""Settings of the search for better settings: what is tried, how often, by which metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from components.errors import UserError
from components.model.model_settings import ModelSettings
from components.settings import Settings, declared_keys, flat
from components.training.training_settings import Monitor, TrainingSettings, check_settings

Algorithm = Literal["bayesian", "random"]
Scale = Literal["linear", "log"]

MODEL, TRAINING = "model", "training"


class Range(Settings):
    """Values that one key may take: numbers between two bounds, or one of a list."""

    low: int | float | None = None
    """Lowest value, inclusive."""
    high: int | float | None = None
    """Highest value, inclusive."""
    scale: Scale = "linear"
    """Scale on which values are drawn; log suits learning rates."""
    choices: tuple[Any, ...] = ()
    """List of values, instead of bounds."""

    @model_validator(mode="after")
    def _one_kind(self) -> Range:
        if self.choices:
            if self.low is not None or self.high is not None or self.scale != "linear":
                raise ValueError("give either choices, or low and high with a scale")
        elif self.low is None or self.high is None:
            raise ValueError("needs both low and high, or choices")
        elif not self.low < self.high:
            raise ValueError(f"low = {self.low:g} is not below high = {self.high:g}")
        elif self.scale == "log" and self.low <= 0:
            raise ValueError(f"low = {self.low:g}: must be above 0 on a log scale")
        return self

    def holds(self, value: Any) -> bool:
        return value in self.choices if self.choices else self.low <= value <= self.high


_SPACE = {
    "training.phase1.learning_rate": Range(low=5e-4, high=8e-3, scale="log"),
    "training.phase2.learning_rate": Range(low=5e-4, high=8e-3, scale="log"),
    "training.table_learning_rate": Range(low=0.05, high=0.5, scale="log"),
    "model.dense_dropout": Range(low=0.0, high=0.5),
    "model.embedding_dropout": Range(low=0.0, high=0.5),
    "model.lstm_units": Range(choices=(32, 64, 96)),
}


class TuningSettings(Settings):
    """An optional search for better values of [model] and [training] keys; off by default.

    A Tuner node trains once for each trial and writes the best values as tables to copy. It changes
    nothing else.
    """

    enabled: bool = False
    """Whether the pipeline has a Tuner node."""
    trials: int = Field(20, ge=1, le=10_000)
    """Number of trainings in all; a higher number continues the same search."""
    algorithm: Algorithm = "bayesian"
    """How the next values are picked, by a Gaussian process or at random."""
    objective: Monitor = "log_loss"
    """Eval-split metric of the exported model that is optimized."""
    seed: int = Field(42, ge=1, lt=2**31)
    """Seed of the picks; each training keeps training.seed."""
    epochs: int = Field(0, ge=0, le=1000)
    """Highest number of epochs per phase in a trial; 0 means no limit."""
    space: dict[str, Range] = Field(_SPACE, min_length=1)
    """Searched keys, each with low, high and an optional scale (linear or log), or with choices; a
    given space replaces the default one."""


def annotation(key: str) -> Any:
    """Returns the declared type of ``key``, such as ``training.phase2.epochs``.

    Raises:
        UserError: there is no such key, or it names a group of keys.
    """
    declared = {
        **declared_keys(ModelSettings, f"{MODEL}."),
        **declared_keys(TrainingSettings, f"{TRAINING}."),
    }
    if key not in declared:
        raise UserError(
            f'tuning.space."{key}": there is no such key in [model] or [training]; write it as in '
            '"training.phase2.learning_rate"'
        )
    return declared[key]


def values_of(model: ModelSettings, training: TrainingSettings) -> dict[str, Any]:
    """Returns all values by dotted key, lists for tuples."""
    return flat({MODEL: model.model_dump(mode="json"), TRAINING: training.model_dump(mode="json")})


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the tables of values by dotted key."""
    tables: dict[str, Any] = {}
    for key, value in values.items():
        *groups, name = key.split(".")
        table = tables
        for group in groups:
            table = table.setdefault(group, {})
        table[name] = value
    return tables


def apply(
    model: ModelSettings, training: TrainingSettings, values: dict[str, Any]
) -> tuple[ModelSettings, TrainingSettings]:
    """Returns copies of the two groups with other values of some dotted keys.

    Raises:
        UserError: a value or a combination of values is invalid.
    """
    tables = nested(values_of(model, training) | values)
    try:
        changed = (
            ModelSettings.model_validate(tables[MODEL]),
            TrainingSettings.model_validate(tables[TRAINING]),
        )
    except ValidationError as error:
        shown = ", ".join(f"{key} = {value!r}" for key, value in values.items())
        raise UserError(f"{shown}: {error.errors()[0]['msg']}") from None
    check_settings(*changed)
    return changed


def check_tuning(model: ModelSettings, training: TrainingSettings, tuning: TuningSettings) -> None:
    """Checks the space against the settings that it changes, each bound and choice separately.

    Raises:
        UserError: a key does not exist, a bound or choice is invalid, or a key with bounds is not a
            number.
    """
    for key, values in tuning.space.items():
        kind = annotation(key)
        where = f'tuning.space."{key}"'
        if not values.choices and kind not in (int, float):
            raise UserError(f"{where}: this key is no number; give choices instead of low and high")
        if tuning.epochs and key.endswith(".epochs"):
            raise UserError(
                f"{where}: tuning.epochs = {tuning.epochs} limits the epochs of each trial; set it "
                "to 0, or leave this key out"
            )
        for value in values.choices or (values.low, values.high):
            try:
                apply(model, training, {key: value})
            except UserError as error:
                raise UserError(f"{where}: {error}") from None


def current(
    model: ModelSettings, training: TrainingSettings, tuning: TuningSettings
) -> dict[str, Any] | None:
    """Returns the searched keys' current values, or None if the space does not contain them all."""
    now = values_of(model, training)
    if all(allowed.holds(now[key]) for key, allowed in tuning.space.items()):
        return {key: now[key] for key in tuning.space}
    return None
