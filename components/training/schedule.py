"""The optimizer of a phase, and how its learning rate rises and falls."""

from __future__ import annotations

import math
from typing import Any

import keras

from components.training.optimizer import FusedAdam
from components.training.training_settings import PhaseSettings, TrainingSettings

_BIASES = ("bias", "beta", "gamma")


def learning_rate(
    phase: PhaseSettings, steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """The phase's learning rate over ``steps`` steps; a schedule's position is the step count."""
    if phase.schedule == "constant" and not phase.warmup:
        return phase.learning_rate
    return PhaseSchedule(phase.learning_rate, phase.schedule, steps, phase.warmup, phase.final_rate)


@keras.saving.register_keras_serializable("arxiv")
class PhaseSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear rise over the first share of steps, then constant, linear or cosine fall."""

    def __init__(
        self, peak: float, shape: str, steps: int, warmup: float = 0.0, final: float = 0.0
    ) -> None:
        self.peak, self.shape, self.steps = peak, shape, steps
        self.warmup, self.final = warmup, final

    def __call__(self, step: Any) -> Any:
        step = keras.ops.cast(step, "float32")
        rise = self.warmup * self.steps
        share = keras.ops.clip((step - rise) / max(1.0, self.steps - rise), 0.0, 1.0)
        height = {
            "constant": keras.ops.ones_like(share),
            "linear": 1.0 - share,
            "cosine": 0.5 * (1.0 + keras.ops.cos(math.pi * share)),
        }[self.shape]
        floor = 0.0 if self.shape == "constant" else self.final
        rate = self.peak * (floor + (1.0 - floor) * height)
        return keras.ops.where(step < rise, self.peak * (step + 1.0) / max(1.0, rise), rate)

    def get_config(self) -> dict[str, Any]:
        return {
            "peak": self.peak,
            "shape": self.shape,
            "steps": self.steps,
            "warmup": self.warmup,
            "final": self.final,
        }


def make_optimizer(
    phase: PhaseSettings, settings: TrainingSettings, steps: int
) -> keras.optimizers.Optimizer:
    """A new Adam, with decoupled weight decay (AdamW) if set, for a phase of ``steps`` steps."""
    optimizer = FusedAdam(
        learning_rate=learning_rate(phase, steps),
        table_learning_rate=settings.table_learning_rate,
        table_accumulator=settings.table_accumulator,
        weight_decay=phase.weight_decay or None,
        global_clipnorm=settings.clip_norm or None,
        use_ema=settings.ema_momentum > 0,
        ema_momentum=settings.ema_momentum or 0.99,
        ema_overwrite_frequency=None,
    )
    if phase.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=list(_BIASES))
    return optimizer
