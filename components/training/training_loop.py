"""Trains a model in phases, keeps the best weights, and resumes after a kill."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from absl import logging

from components.contracts.progress import EpochProgress, Note
from components.errors import UserError
from components.model.architectures import LOGITS_LAYER
from components.training import dataset
from components.training.checkpoint import (
    State,
    assign_variables,
    load_state,
    read_variables,
    save_state,
    seed_states,
)
from components.training.histograms import WeightHistograms
from components.training.phase import Phase
from components.training.training_settings import Monitor

Record = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """The result of training.

    Attributes:
        history: one record per epoch, over all phases: phase (from 1), epoch (from 1 in its phase),
            loss, accuracy, log_loss, macro_f1, the same with ``val_`` for the eval split,
            learning_rate, seconds.
        best: the record of the best epoch.
        resumed_epochs: epochs finished by an earlier, killed run.
    """

    history: list[Record]
    best: Record
    resumed_epochs: int


def train(
    model: keras.Model,
    phases: Sequence[Phase],
    train_split: dataset.Examples,
    eval_split: dataset.Examples,
    *,
    state_dir: Path,
    log_dir: Path,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Outcome:
    """Trains ``model`` in place; it ends with the weights of the best epoch of all phases.

    Each phase starts from the best weights so far, with a new optimizer and new callbacks, and
    stops early by its own patience.

    After each epoch the state is saved under ``state_dir``. If called again with the same arguments
    after a kill, training resumes there, with the same result. The caller removes the folder.

    Args:
        model: token ids int [n, length] to logits float32 [n, classes].
        phases: in order; see :func:`components.training.phase.make_phases`.
        train_split, eval_split: the examples.
        state_dir, log_dir: folders of this training's state, and of TensorBoard's logs.
        callbacks: further callbacks, called last.

    Raises:
        UserError: the loss is not finite.
    """
    state = load_state(state_dir) or State()
    if state.history:
        try:
            assign_variables(model.weights, state.weights)
            last = state.history[-1]
            resumed_after = f"phase {last['phase']} epoch {last['epoch']}"
            logging.info("%s", Note(f"training: resumed after {resumed_after}"))
        except ValueError:
            note = Note(f"training: the state in {state_dir} does not fit; starting anew")
            logging.warning("%s", note)
            state = State()
    resumed = len(state.history)
    groups = dataset.category_groups(train_split, model.output_shape[-1])
    for number, phase in enumerate(phases, 1):
        done = [record for record in state.history if record["phase"] == number]
        if _has_ended(phase, done):
            continue
        if not done and state.history:
            assign_variables(model.weights, state.best)
            state.optimizer = []
        compiled = phase.compile(model, train_split)
        if state.optimizer:
            assign_variables(compiled.optimizer.variables, state.optimizer)
        if state.seeds:
            assign_variables(seed_states(model), state.seeds)
        # Epochs are counted over all phases here.
        next_epoch = len(state.history)
        logs = log_dir / phase.name
        compiled.fit(
            phase.training_batches(model, train_split, groups, next_epoch),
            initial_epoch=next_epoch,
            epochs=next_epoch - len(done) + phase.own.epochs,
            steps_per_epoch=dataset.steps_per_epoch(train_split, phase.shared.batch_size),
            validation_data=phase.validation_batches(model, eval_split, groups),
            callbacks=[
                _Watch(model, state, phase, number, state_dir),
                keras.callbacks.TensorBoard(str(logs), write_graph=False),
                WeightHistograms(str(logs / "weights"), phase.shared.histogram_every),
                *callbacks,
            ],
            verbose=0,
        )
    assign_variables(model.weights, state.best)
    best = state.history[_best(state.history, phases[-1].shared.monitor)]
    return Outcome(state.history, best, resumed)


def _best(records: Sequence[Record], monitor: Monitor) -> int:
    """Returns the index of the best record; of ties, the first."""
    values = [record[f"val_{monitor}"] for record in records]
    return values.index(min(values) if monitor == "log_loss" else max(values))


def _has_ended(phase: Phase, records: Sequence[Record]) -> bool:
    """Returns whether a phase has finished its epochs or exhausted its patience."""
    if not records:
        return False
    waited = len(records) - 1 - _best(records, phase.shared.monitor)
    return len(records) >= phase.own.epochs or waited >= phase.own.patience


def _plain(logs: dict[str, Any] | None) -> dict[str, float]:
    """Returns Keras's logs as floats, without the output's name in the model's own metrics."""
    plain = {}
    for name, value in (logs or {}).items():
        stage = "val_" if name.startswith("val_") else ""
        metric = name.removeprefix(stage).removeprefix(f"{LOGITS_LAYER}_")
        if metric != "loss" or name == f"{stage}loss":
            plain[stage + metric] = float(value)
    return plain


class _Watch(keras.callbacks.Callback):
    """Records each epoch, keeps the best weights, saves the state and ends the phase."""

    def __init__(
        self, model: keras.Model, state: State, phase: Phase, number: int, state_dir: Path
    ) -> None:
        super().__init__()
        # Keras sets ``model`` to the compiled model, whose weights may be in another order.
        self._trained = model
        self._state, self._phase, self._number = state, phase, number
        self._state_dir = state_dir
        self._records = [record for record in state.history if record["phase"] == number]
        self._started = 0.0

    def on_epoch_begin(self, *_: Any) -> None:
        self._started = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._check(f"step {batch + 1}", float((logs or {}).get("loss", 0.0)))

    def on_epoch_end(self, _: int, logs: dict[str, Any] | None = None) -> None:
        metrics = _plain(logs)
        self._check("validation", metrics["val_log_loss"])
        record: dict[str, Any] = {
            "phase": self._number,
            "epoch": len(self._records) + 1,
            **metrics,
            "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            "seconds": round(time.monotonic() - self._started, 3),
        }
        state = self._state
        state.history.append(record)
        self._records.append(record)
        done = _has_ended(self._phase, self._records)
        state.weights = read_variables(self._trained.weights)
        improved = state.history[_best(state.history, self._phase.shared.monitor)] is record
        if improved:
            state.best = state.weights
        state.optimizer = read_variables(self.model.optimizer.variables)
        state.seeds = read_variables(seed_states(self._trained))
        save_state(self._state_dir, state)
        progress = EpochProgress(
            **record, epochs=self._phase.own.epochs, improved=improved, done=done
        )
        logging.info("%s", progress)
        if done:
            self.model.stop_training = True

    def _check(self, where: str, loss: float) -> None:
        if math.isfinite(loss):
            return
        message = (
            f"phase {self._number}, epoch {len(self._records) + 1}, {where}: the loss is not a "
            f"number; lower training.{self._phase.name}.learning_rate (now "
            f"{self._phase.own.learning_rate:g}) or set training.clip_norm to 1"
        )
        if self._phase.shared.mixed_precision != "float32":
            message += ', or training.mixed_precision to "float32"'
        raise UserError(message)
