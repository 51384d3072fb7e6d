"""Run by test_training_loop.py in processes of their own: trains, dies half-way, goes on.

``first FOLDER``: trains once without a break, then again, and dies in the middle of an epoch.
``second FOLDER``: goes on, breaks off twice more, and finishes.
``mirrored FOLDER``: trains on two mirrored devices.
Each writes what it got to FOLDER.
"""

import json
import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import keras
import numpy as np
import tensorflow as tf

from components.model.architectures import build_model
from components.model.model_settings import ModelSettings
from components.training.checkpoint import load_state
from components.training.dataset import Examples, make_examples
from components.training.phase import make_phases
from components.training.training_loop import Outcome
from components.training.training_loop import train as train_phases
from components.training.training_settings import TrainingSettings

SETTINGS = TrainingSettings.model_validate({
    "phase1": {"epochs": 3, "learning_rate": 0.01, "schedule": "cosine"},
    "phase2": {"epochs": 3, "learning_rate": 0.01},
    "batch_size": 16,
    "length_buckets": [6],
    "class_weighting": 0.5,
    "histogram_every": 0,
})  # fmt: skip
MODEL = ModelSettings(lstm_units=4, dense_units=8, wide_ngrams=64)
CLASSES = 3


class BreakError(Exception):
    """Stands for a kill where the process lives on."""


class BreakAt(keras.callbacks.Callback):
    """Breaks off in the middle of an epoch, counted over both phases."""

    def __init__(self, epoch: int, hard: bool) -> None:
        super().__init__()
        self._at, self._hard = epoch, hard
        self._epoch = -1

    def on_epoch_begin(self, epoch, *_):
        self._epoch = epoch

    def on_train_batch_end(self, batch, **_):
        if self._epoch == self._at and batch == 3:
            if self._hard:
                os._exit(9)
            raise BreakError


def splits() -> tuple[Examples, Examples]:
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, size=200)
    tokens = random.integers(2, 40, size=(200, 12))
    tokens[:, :3] = 40 + labels[:, None]
    tokens[:, 5:][random.random(200) < 0.5] = 0
    return make_examples(tokens[:150], labels[:150]), make_examples(tokens[150:], labels[150:])


def train(folder: Path, strategy=None, callbacks=()) -> tuple[keras.Model, Outcome]:
    keras.utils.set_random_seed(5)
    matrix = np.random.default_rng(1).normal(size=(45, 6)).astype(np.float32)
    with (strategy or tf.distribute.get_strategy()).scope():
        model = build_model(MODEL, matrix, None, CLASSES)
    outcome = train_phases(
        model, make_phases(model, SETTINGS), *splits(), state_dir=folder / "state",
        log_dir=folder / "logs", callbacks=callbacks,
    )  # fmt: skip
    return model, outcome


def save(path: Path, model: keras.Model, outcome: Outcome) -> None:
    history = [
        {name: value for name, value in record.items() if name != "seconds"}
        for record in outcome.history
    ]
    np.savez(path, *model.get_weights())
    path.with_suffix(".json").write_text(
        json.dumps({"history": history, "resumed": outcome.resumed_epochs})
    )


def main(part: str, folder: Path) -> None:
    if part == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2
        )
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        save(folder / "mirrored.npz", *train(folder / "mirrored", strategy))
        return
    tf.config.experimental.enable_op_determinism()
    if part == "first":
        save(folder / "whole.npz", *train(folder / "whole"))
        train(folder / "killed", callbacks=[BreakAt(1, hard=True)])
        return
    for epoch, done in ((3, 3), (5, 5)):
        try:
            train(folder / "killed", callbacks=[BreakAt(epoch, hard=False)])
        except BreakError:
            assert len(load_state(folder / "killed" / "state").history) == done
    save(folder / "resumed.npz", *train(folder / "killed"))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
