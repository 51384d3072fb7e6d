"""Settings of the training and of its two phases."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from components.errors import UserError
from components.model.model_settings import ModelSettings
from components.settings import BASIC, Settings

Precision = Literal["float32", "mixed_float16", "mixed_bfloat16"]
Schedule = Literal["constant", "cosine"]
Monitor = Literal["log_loss", "accuracy", "macro_f1"]


class PhaseSettings(Settings):
    """One phase: how long, how fast, and when to stop."""

    epochs: int = Field(8, ge=1, le=1000, json_schema_extra=BASIC)
    """Highest number of epochs of the phase."""
    learning_rate: float = Field(1e-3, gt=0, le=1)
    """Peak learning rate of Adam."""
    schedule: Schedule = "constant"
    """How the learning rate falls from its peak over the phase."""
    final_rate: float = Field(0.0, ge=0, le=1)
    """Where the cosine schedule ends, as a share of the peak."""
    patience: int = Field(3, ge=1)
    """Epochs without improvement after which the phase stops."""


_PHASES = {
    "phase1": PhaseSettings(epochs=1, learning_rate=2e-3),
    "phase2": PhaseSettings(epochs=4, learning_rate=2e-3, schedule="cosine", final_rate=0.02),
}


class TrainingSettings(Settings):
    """How the network is trained."""

    phase1: PhaseSettings = _PHASES["phase1"]
    """First phase, with the embedding frozen and the n-gram tables trainable."""
    phase2: PhaseSettings = _PHASES["phase2"]
    """Second phase, with the embedding trainable and the n-gram tables frozen."""
    batch_size: int = Field(128, ge=1, le=65536, json_schema_extra=BASIC)
    """Examples per step, over all devices."""
    seed: int = Field(42, ge=0, lt=2**31)
    """Seed of weights, dropout and example order."""
    mixed_precision: Precision = "float32"
    """Keras dtype policy; the mixed ones pay on GPUs only."""
    deterministic: bool = False
    """Bitwise repeatable TensorFlow ops, slower on a GPU."""
    category_loss: float = Field(1.0, ge=0, le=100)
    """Weight of the loss of the finer category beside that of the class, in models that predict
    it."""
    table_learning_rate: float = Field(0.2, gt=0, le=10)
    """Adagrad's rate for the wide paths' n-gram tables."""
    table_accumulator: float = Field(3e-5, ge=0, le=1)
    """Initial value of Adagrad's sums of squared gradients for these tables; a higher one makes
    the steps of rare n-grams smaller."""
    class_weighting: float = Field(0.0, ge=0, le=1)
    """Exponent on balanced class weights: 0 none, .5 square root, 1 balanced."""
    logit_adjustment: float = Field(0.3, ge=0, le=2)
    """Factor on the log priors that are subtracted from the logits after training."""
    fit_temperature: bool = True
    """Scale the logits by the temperature with the least eval log loss."""
    clip_norm: float = Field(0.0, ge=0)
    """Largest global norm of a step's gradients; 0: no clipping."""
    monitor: Monitor = "log_loss"
    """Eval-split metric that picks the best epoch and stops a phase."""
    length_buckets: tuple[int, ...] = tuple(range(32, 513, 16))
    """Widths in tokens to which batches are trimmed, beside the sequence length; an empty list
    turns trimming off, which a model that reads its padding needs."""
    histogram_every: int = Field(1, ge=0)
    """Epochs between TensorBoard weight histograms; 0 means none."""
    embedding_dim: int = Field(100, ge=1, le=4096)
    """Dimensions of a word vector, as many as the GloVe file has."""

    @field_validator("phase1", "phase2", mode="before")
    @classmethod
    def _rest_of_phase(cls, value: Any, info: ValidationInfo) -> Any:
        """Completes a partly given phase with that phase's defaults."""
        if not isinstance(value, dict) or info.field_name is None:
            return value
        return {**_PHASES[info.field_name].model_dump(), **value}

    @field_validator("length_buckets")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)) or (value and value[0] < 1):
            raise ValueError("must be positive and ascending")
        return value


def check_settings(model: ModelSettings, training: TrainingSettings) -> None:
    """Checks that the two groups of settings are compatible.

    Raises:
        UserError: batches would be trimmed for a model that reads its padding.
    """
    if model.architecture == "notebook" and training.length_buckets:
        raise UserError(
            f"training.length_buckets = {list(training.length_buckets)}: the notebook architecture "
            "reads its padding, so batches must not be trimmed; set it to []"
        )
