"""Compares the training speed of the pipeline's model with that of the notebook's Keras code.

python benchmarks/training_step.py PARQUET

All train on the same papers. The notebook's method: padded to 150 words (the start of longer
abstracts cut off), no mask, batches of 64, arrays passed to ``model.fit`` with class weights. The
pipeline trains its default network and settings, and the notebook's, which isolates the cost of the
training itself. Epochs alternate, so that other load on the machine affects all.
"""

from __future__ import annotations

import os

from components.arrow import pq

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import json
import platform
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import keras
import machine
import numpy as np
import numpy.typing as npt
import tomli
import typer
from sklearn.utils.class_weight import compute_class_weight

from components.contracts import features
from components.model.architectures import EMBEDDING_LAYER, adapt, build_model
from components.model.model_settings import ModelSettings
from components.text.cleaning import clean_python
from components.training import dataset
from components.training.device import prepare_device, uses_cudnn
from components.training.phase import Phase, make_phases
from components.training.training_settings import TrainingSettings

_WORDS = 40_000
_LENGTH = 256
_NOTEBOOK_LENGTH = 150
_NOTEBOOK_CONFIG = Path(__file__).parents[1] / "pipeline" / "config" / "notebook.toml"
_DIMENSION = 100


def _read(
    parquet: Path, papers: int
) -> tuple[list[list[int]], npt.NDArray[np.int64], list[str], list[str], int]:
    """Returns token ids, label ids, categories of random papers; words; number of classes."""
    columns = [features.ABSTRACT, features.LABEL, features.CATEGORY]
    table = pq.read_table(parquet, columns=columns).to_pandas().dropna()
    vocabulary: Counter[str] = Counter()
    words = [clean_python(text).split() for text in table[features.ABSTRACT]]
    for text in words:
        vocabulary.update(text)
    ids = {word: i + 2 for i, (word, _) in enumerate(vocabulary.most_common(_WORDS - 2))}
    chosen = np.random.default_rng(0).permutation(len(words))[:papers]
    classes, labels = np.unique(table[features.LABEL].to_numpy()[chosen], return_inverse=True)
    categories = table[features.CATEGORY].to_list()
    tokens = [[ids.get(w, 1) for w in words[i]] or [1] for i in chosen]
    return tokens, labels, [categories[i] for i in chosen], list(ids), len(classes)


def _notebook(classes: int) -> keras.Model:
    return keras.Sequential([
        keras.Input((_NOTEBOOK_LENGTH,)),
        keras.layers.Embedding(_WORDS, _DIMENSION, name=EMBEDDING_LAYER),
        keras.layers.Bidirectional(keras.layers.LSTM(64, dropout=0.2)),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dense(classes, activation="softmax"),
    ])  # fmt: skip


def _time(epoch: Callable[[], Any]) -> tuple[float, float]:
    """Returns seconds of wall time and of processor time, which other load hardly affects."""
    started, processor = time.perf_counter(), time.process_time()
    epoch()
    return time.perf_counter() - started, time.process_time() - processor


@dataclass
class Contender:
    """A network that the pipeline trains, and its current phase.

    Attributes:
        examples: tokens padded on the right, labels and categories.
        phases: phases of its training.
        epoch: trains one epoch of the phase that :meth:`begin` started.
        before: each epoch's share of the phase's one-time work, in seconds of wall time and of
            processor time.
    """

    model: keras.Model
    settings: TrainingSettings
    examples: dataset.Examples
    phases: list[Phase] = field(init=False)
    epoch: Callable[[], Any] = field(init=False)
    before: tuple[float, float] = field(init=False)

    def __post_init__(self) -> None:
        self.phases = make_phases(self.model, self.settings)

    @property
    def steps(self) -> int:
        """Steps per epoch."""
        return dataset.steps_per_epoch(self.examples, self.settings.batch_size)

    def begin(self, phase: Phase) -> None:
        """Compiles for a phase and prepares its batches."""
        groups = dataset.category_groups(self.examples, self.model.output_shape[-1])
        compiled = phase.compile(self.model, self.examples)
        made: list[Any] = []
        seconds = _time(
            lambda: made.append(phase.training_batches(self.model, self.examples, groups, 0))
        )
        self.before = (seconds[0] / phase.own.epochs, seconds[1] / phase.own.epochs)
        self.epoch = lambda: compiled.fit(made[0], steps_per_epoch=self.steps, verbose=0)


def main(
    parquet: Annotated[Path, typer.Argument(exists=True, dir_okay=False, resolve_path=True)],
    papers: Annotated[int, typer.Option(help="Papers in an epoch.")] = 6400,
    repeats: Annotated[int, typer.Option(help="Timed epochs of each; the median counts.")] = 3,
    out: Annotated[Path | None, typer.Option(help="Also write the measurements as JSON.")] = None,
) -> None:
    """Prints commit, hardware and the measurements of both phases."""
    keras.utils.set_random_seed(0)
    device = prepare_device(len(os.sched_getaffinity(0)))
    tokens, labels, names, words, classes = _read(parquet, papers)

    padded = keras.utils.pad_sequences(tokens, _NOTEBOOK_LENGTH, padding="post", truncating="pre")
    balanced = compute_class_weight("balanced", classes=np.arange(classes), y=labels)
    notebook = _notebook(classes)

    def train_notebook() -> None:
        notebook.fit(
            padded, labels, batch_size=64, verbose=0, class_weight=dict(enumerate(balanced))
        )

    matrix = np.random.default_rng(0).normal(size=(_WORDS, _DIMENSION)).astype(np.float32)
    matrix[features.PAD_ID] = 0
    _, categories = np.unique(names, return_inverse=True)
    whole = keras.utils.pad_sequences(tokens, _LENGTH, padding="post", truncating="post")
    examples = dataset.make_examples(whole, labels, categories)
    groups = dataset.category_groups(examples, classes).tolist()
    ours = build_model(ModelSettings(), matrix, None, classes, groups=groups)
    adapt(ours, examples.tokens, words)
    same = tomli.loads(_NOTEBOOK_CONFIG.read_text(encoding="utf-8"))
    contenders = {
        "pipeline": Contender(ours, TrainingSettings(), examples),
        "pipeline_with_the_notebooks_network": Contender(
            build_model(
                ModelSettings.model_validate(same["model"]), matrix, _NOTEBOOK_LENGTH, classes
            ),
            TrainingSettings.model_validate(same["training"]),
            dataset.make_examples(padded, labels),
        ),
    }

    report: dict[str, Any] = {
        "commit": machine.commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "device": device.description,
        "cudnn": uses_cudnn(ours, _LENGTH) if device.gpus else False,
        "papers": len(labels),
        "categories": len(groups) - classes,
    }
    clocks: dict[str, float] = dict.fromkeys(["notebook", *contenders], 0.0)
    rates = (1e-3, 1e-4)
    for index, (phase, rate) in enumerate(zip(contenders["pipeline"].phases, rates, strict=True)):
        notebook.get_layer(EMBEDDING_LAYER).trainable = not phase.freezes(EMBEDDING_LAYER)
        notebook.compile(
            keras.optimizers.Adam(rate),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        for contender in contenders.values():
            contender.begin(contender.phases[index])
        epochs = {"notebook": train_notebook} | {
            name: contender.epoch for name, contender in contenders.items()
        }
        for epoch in epochs.values():
            epoch()
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in epochs}
        for _ in range(repeats):
            for name, epoch in epochs.items():
                runs[name].append(_time(epoch))
        measured: dict[str, dict[str, float]] = {}
        for name, times in runs.items():
            before = contenders[name].before if name in contenders else (0.0, 0.0)
            clock, cpu = (
                statistics.median(column) + once
                for column, once in zip(zip(*times, strict=True), before, strict=True)
            )
            batch, steps = (
                (contenders[name].settings.batch_size, contenders[name].steps)
                if name in contenders
                else (64, -(-len(labels) // 64))
            )
            clocks[name] += clock * phase.own.epochs
            measured[name] = {
                "batch_size": batch,
                "ms_per_step": 1e3 * clock / steps,
                "examples_per_second": len(labels) / clock,
                "cpu_ms_per_example": 1e3 * cpu / len(labels),
            }
        theirs = measured["notebook"]
        for name in contenders:
            own = measured[name]
            own["time_over_notebook"] = theirs["examples_per_second"] / own["examples_per_second"]
            own["cpu_over_notebook"] = own["cpu_ms_per_example"] / theirs["cpu_ms_per_example"]
        report[phase.name] = measured
    report["time_over_notebook_with_the_default_epochs_of_both_phases"] = {
        name: clocks[name] / clocks["notebook"] for name in contenders
    }
    print(json.dumps(report, indent=1))
    if out:
        out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
