"""The two training phases: word vectors held still, then trained along."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy.typing as npt
import tensorflow as tf
from absl import logging

from components.errors import UserError
from components.model.architectures import (
    LOGITS_LAYER,
)
from components.training import dataset
from components.training.checkpoint import (
    Progress,
    State,
    assign_variables,
    load_state,
    read_variables,
    save_state,
    seed_states,
)
from components.training.histograms import WeightHistograms
from components.training.phase import (
    EVALUATION_FACTOR,
    compile_phase,
    held_logits,
    held_paths,
    make_targets,
    objective_outputs,
)
from components.training.training_settings import PhaseSettings, TrainingSettings

# Sign of each watched figure such that less is better.
_SIGNS = {"log_loss": 1.0, "accuracy": -1.0, "macro_f1": -1.0}


@dataclass(frozen=True)
class Outcome:
    """What training gave; the model holds the weights of the best epoch.

    Attributes:
      history: one record an epoch, over both phases: phase, epoch (from 1 in its phase), loss,
        accuracy, log_loss, macro_f1, the same with ``val_`` for the eval split, learning_rate,
        seconds.
      best: the record of the best epoch.
      resumed_epochs: epochs that an earlier, killed run had done.
    """

    history: list[dict[str, Any]]
    best: dict[str, Any]
    resumed_epochs: int


def _plain(logs: dict[str, Any] | None) -> dict[str, float]:
    """Keras's logs as numbers, the figures of the model's own logits without that output's name."""
    plain = {}
    for name, value in (logs or {}).items():
        stage = "val_" if name.startswith("val_") else ""
        figure = name.removeprefix(stage).removeprefix(f"{LOGITS_LAYER}_")
        if figure != "loss" or name == f"{stage}loss":
            plain[stage + figure] = float(value)
    return plain


class _StopOnNan(keras.callbacks.Callback):
    """Ends training at the first step whose loss is not a number."""

    def __init__(self, phase: int, settings: TrainingSettings, first_epoch: int) -> None:
        super().__init__()
        self._phase, self._settings, self._first = phase, settings, first_epoch
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, *_: Any) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if not math.isfinite(float((logs or {}).get("loss", 0.0))):
            raise self._error(f"step {batch + 1}")

    def on_epoch_end(self, _: int, logs: dict[str, Any] | None = None) -> None:
        if not math.isfinite(_plain(logs)["val_log_loss"]):
            raise self._error("validation")

    def _error(self, where: str) -> UserError:
        name = f"training.phase{self._phase}.learning_rate"
        rate = getattr(self._settings, f"phase{self._phase}").learning_rate
        message = (
            f"phase {self._phase}, epoch {self._epoch - self._first + 1}, {where}: the loss is not "
            f"a number; lower {name} (now {rate:g}) or set training.clip_norm to 1"
        )
        if self._settings.mixed_precision != "float32":
            message += ', or training.mixed_precision to "float32"'
        return UserError(message)


class _Tracker(keras.callbacks.Callback):
    """Keeps the best weights, decides when the phase ends, saves the state and reports."""

    def __init__(
        self,
        model: keras.Model,
        state: State,
        phase: PhaseSettings,
        settings: TrainingSettings,
        first_epoch: int,
        state_dir: Path,
    ) -> None:
        super().__init__()
        self.state = state
        # Not ``model``, which Keras sets to the compiled one; the weights' order may differ there.
        self._trained = model
        self._phase, self._settings, self._first = phase, settings, first_epoch
        self._state_dir = state_dir
        self._validated: list[npt.NDArray[Any]] = []
        self._started = 0.0

    def on_epoch_begin(self, *_: Any) -> None:
        self._started = time.monotonic()

    def on_test_end(self, *_: Any) -> None:
        # Here the model still holds what was validated: averaged weights, where they are on.
        self._validated = self._trained.get_weights()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = _plain(logs)
        progress = self.state.progress
        progress.finished = epoch - self._first + 1
        record = {
            "phase": progress.phase,
            "epoch": progress.finished,
            **logs,
            "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            "seconds": round(time.monotonic() - self._started, 3),
        }
        progress.history.append(record)
        monitor = self._settings.monitor
        value = _SIGNS[monitor] * logs[f"val_{monitor}"]
        improved = value < progress.best
        if improved:
            progress.best, progress.best_record = value, len(progress.history) - 1
            self.state.best = self._validated
        if value < progress.phase_best:
            progress.phase_best, progress.waited = value, 0
        else:
            progress.waited += 1
        progress.done = (
            progress.finished >= self._phase.epochs or progress.waited >= self._phase.patience
        )
        self.state.weights = read_variables(self._trained.weights)
        self.state.optimizer = read_variables(self.model.optimizer.variables)
        self.state.seeds = read_variables(seed_states(self._trained))
        save_state(self._state_dir, self.state)
        logging.info("%s", progress_line(record, self._phase.epochs, improved, progress.done))
        if progress.done:
            self.model.stop_training = True


def progress_line(record: dict[str, Any], epochs: int, improved: bool, done: bool) -> str:
    """One line about an epoch, for a log or a terminal."""
    left = 0.0 if done else (epochs - record["epoch"]) * record["seconds"]
    line = (
        f"training: phase {record['phase']} epoch {record['epoch']}/{epochs}"
        f"  loss {record['loss']:.4f}  val loss {record['val_log_loss']:.4f}"
        f"  val accuracy {record['val_accuracy']:.4f}  val macro-F1 {record['val_macro_f1']:.4f}"
        f"  lr {record['learning_rate']:.2g}  {record['seconds']:.1f} s"
    )
    if improved:
        line += "  best"
    if done and record["epoch"] < epochs:
        return line + "  phase stopped early"
    return line if done else line + f"  at most {left:.0f} s left in phase"


def train_two_phases(
    model: keras.Model,
    train: dataset.Examples,
    evaluation: dataset.Examples,
    settings: TrainingSettings,
    *,
    classes: int,
    state_dir: Path,
    log_dir: Path,
    strategy: tf.distribute.Strategy | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Outcome:
    """Trains ``model`` in place and leaves the best epoch's weights in it.

    Phase 1 holds the layer :data:`EMBEDDING_LAYER` still; phase 2 starts from the best weights so
    far with every layer trainable, a new optimizer and new callbacks. Each phase stops early by its
    own patience; the best weights are those of the best epoch of both.

    After each epoch the whole state is saved under ``state_dir``; called again with the same
    arguments after a kill, training goes on from there as if nothing had happened. The caller
    removes the folder when it no longer needs it.

    Args:
      model: token ids int [n, length] to logits float32 [n, classes].
      train, evaluation: the splits.
      classes: number of classes.
      state_dir: folder of this very training's state.
      log_dir: TensorBoard folder; gets ``phase1`` and ``phase2``.
      strategy: in whose scope the model was built.
      callbacks: further ones, called last.

    Raises:
      UserError: the loss is not a number.
    """
    strategy = strategy or tf.distribute.get_strategy()
    restored = load_state(state_dir)
    if restored is not None:
        try:
            assign_variables(model.weights, restored.weights)
        except ValueError:
            logging.warning("training: the state in %s does not fit; starting anew", state_dir)
            restored = None
    state = restored or State(Progress(), [], [], [], [])
    resumed = len(state.progress.history)
    if resumed:
        logging.info(
            "training: resumed after phase %d epoch %d",
            state.progress.phase,
            state.progress.finished,
        )
    job = _Job(model, train, evaluation, settings, classes, state_dir, log_dir, strategy, callbacks)
    if not state.progress.done:
        job.run_phase(state)
    if state.progress.phase == 1:
        state = State(_second_phase(state.progress), state.best, [], [], state.seeds)
        assign_variables(model.weights, state.best)
        job.run_phase(state)
    assign_variables(model.weights, state.best)
    progress = state.progress
    return Outcome(progress.history, progress.history[progress.best_record], resumed)


def _second_phase(progress: Progress) -> Progress:
    return Progress(
        phase=2,
        history=progress.history,
        best=progress.best,
        best_record=progress.best_record,
    )


@dataclass(frozen=True)
class _Job:
    """The arguments of :func:`train_two_phases` that both phases share."""

    model: keras.Model
    train: dataset.Examples
    evaluation: dataset.Examples
    settings: TrainingSettings
    classes: int
    state_dir: Path
    log_dir: Path
    strategy: tf.distribute.Strategy
    callbacks: Sequence[keras.callbacks.Callback]

    def run_phase(self, state: State) -> None:
        """Runs the phase that ``state`` is in, from where it is, to the phase's end."""
        model, settings, progress = self.model, self.settings, state.progress
        phase = settings.phase1 if progress.phase == 1 else settings.phase2
        steps = dataset.steps_per_epoch(self.train, settings.batch_size)
        with self.strategy.scope():
            counts = self.train.class_counts(self.classes)
            compiled = compile_phase(model, progress.phase, settings, counts, steps)
        if state.optimizer:
            assign_variables(compiled.optimizer.variables, state.optimizer)
        if state.seeds:
            assign_variables(seed_states(model), state.seeds)
        # Epochs count over both phases here, so that each has an order of its own.
        next_epoch = len(progress.history)
        first_epoch = next_epoch - progress.finished
        groups = dataset.category_groups(self.train, self.classes)
        outputs = objective_outputs(model, settings, progress.phase)
        held = held_paths(model, progress.phase)
        batches = dataset.training_dataset(
            self.train,
            make_targets(self.train, groups, outputs),
            held_logits(model, held, self.train, settings),
            settings.length_buckets,
            settings.batch_size,
            settings.seed,
            next_epoch,
        )
        validation, _ = dataset.evaluation_dataset(
            self.evaluation,
            make_targets(self.evaluation, groups, outputs),
            held_logits(model, held, self.evaluation, settings),
            settings.length_buckets,
            settings.batch_size * EVALUATION_FACTOR,
        )
        watching: list[keras.callbacks.Callback] = [
            _StopOnNan(progress.phase, settings, first_epoch),
            _Tracker(model, state, phase, settings, first_epoch, self.state_dir),
        ]
        if settings.ema_momentum:
            # After the tracker, which copies the validated weights before they are swapped out.
            watching.append(keras.callbacks.SwapEMAWeights())
        logs = self.log_dir / f"phase{progress.phase}"
        watching += [
            keras.callbacks.TensorBoard(str(logs), write_graph=False),
            WeightHistograms(str(logs / "weights"), settings.histogram_every),
        ]
        compiled.fit(
            batches,
            initial_epoch=next_epoch,
            epochs=first_epoch + phase.epochs,
            steps_per_epoch=steps,
            validation_data=validation,
            callbacks=[*watching, *self.callbacks],
            verbose=0,
        )
