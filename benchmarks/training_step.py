"""Training speed of the pipeline's model against the notebook's Keras method, in one run.

python benchmarks/training_step.py PARQUET

Both train on the same papers. The notebook's method as it was: padded to 150 words (the start of
longer abstracts cut off), no mask, batches of 64, arrays given to ``model.fit`` with class weights.
The pipeline's: its default settings and batches. Epochs of the two alternate, so that other load
on the machine hits both.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import json
import platform
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import keras
import machine
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import typer
from sklearn.utils.class_weight import compute_class_weight

from components import features
from components.model.architectures import EMBEDDING_LAYER, adapt, build_model
from components.model.settings import ModelSettings
from components.text import clean_python
from components.training import dataset
from components.training.device import prepare_device, uses_cudnn
from components.training.settings import TrainingSettings
from components.training.two_phase import (
    compile_phase,
    held_logits,
    held_paths,
    make_targets,
    objective_outputs,
)

_WORDS = 40_000
_NOTEBOOK_LENGTH = 150
_DIMENSION = 100


def _read(
    parquet: Path, papers: int
) -> tuple[list[list[int]], npt.NDArray[np.int64], list[str], list[str], int]:
    """Token ids, label ids, categories of papers spread over the file; words; class count."""
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
    """Seconds by the clock and seconds of processor time; the latter hardly mind other load."""
    started, processor = time.perf_counter(), time.process_time()
    epoch()
    return time.perf_counter() - started, time.process_time() - processor


def main(
    parquet: Annotated[Path, typer.Argument(exists=True, dir_okay=False, resolve_path=True)],
    papers: Annotated[int, typer.Option(help="Papers in an epoch.")] = 6400,
    repeats: Annotated[int, typer.Option(help="Timed epochs of each; the median counts.")] = 3,
    out: Annotated[Path | None, typer.Option(help="Also write the figures as JSON.")] = None,
) -> None:
    """Prints commit, hardware and the figures of both phases."""
    keras.utils.set_random_seed(0)
    device = prepare_device(len(os.sched_getaffinity(0)))
    tokens, labels, names, words, classes = _read(parquet, papers)

    padded = keras.utils.pad_sequences(tokens, _NOTEBOOK_LENGTH, padding="post", truncating="pre")
    balanced = compute_class_weight("balanced", classes=np.arange(classes), y=labels)
    notebook = _notebook(classes)

    settings, model_settings = TrainingSettings(), ModelSettings()
    length = 256
    whole = keras.utils.pad_sequences(tokens, length, padding="post", truncating="post")
    _, categories = np.unique(names, return_inverse=True)
    examples = dataset.make_examples(whole, labels, categories)
    groups = dataset.category_groups(examples, classes)
    steps = dataset.steps_per_epoch(examples, settings.batch_size)
    matrix = np.random.default_rng(0).normal(size=(_WORDS, _DIMENSION)).astype(np.float32)
    matrix[features.PAD_ID] = 0
    ours = build_model(model_settings, matrix, None, classes, groups=groups.tolist())
    adapt(ours, examples.tokens, words)

    def train_notebook() -> None:
        notebook.fit(
            padded, labels, batch_size=64, verbose=0, class_weight=dict(enumerate(balanced))
        )

    def train_ours() -> None:
        compiled.fit(batches, steps_per_epoch=steps, verbose=0)

    report: dict[str, Any] = {
        "commit": machine.commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "device": device.description,
        "cudnn": uses_cudnn(ours, length) if device.gpus else False,
        "papers": len(labels),
        "categories": len(groups) - classes,
    }
    for phase in (1, 2):
        notebook.get_layer(EMBEDDING_LAYER).trainable = phase == 2
        notebook.compile(
            keras.optimizers.Adam(1e-3 if phase == 1 else 1e-4),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        compiled = compile_phase(ours, phase, settings, examples.class_counts(classes), steps)
        started, processor = time.perf_counter(), time.process_time()
        held = held_logits(ours, held_paths(ours, phase), examples, settings)
        # Once for the phase, so each of its epochs bears its part.
        epochs = getattr(settings, f"phase{phase}").epochs
        before_clock = (time.perf_counter() - started) / epochs
        before_cpu = (time.process_time() - processor) / epochs
        targets = make_targets(examples, groups, objective_outputs(ours, settings, phase))
        batches = dataset.training_dataset(
            examples, targets, held, settings.length_buckets, settings.batch_size, 0, 0
        )
        train_notebook()
        train_ours()
        theirs, own = [], []
        for _ in range(repeats):
            theirs.append(_time(train_notebook))
            own.append(_time(train_ours))
        (their_clock, their_cpu), (own_clock, own_cpu) = (
            [statistics.median(column) for column in zip(*runs, strict=True)]
            for runs in (theirs, own)
        )
        own_clock, own_cpu = own_clock + before_clock, own_cpu + before_cpu
        report[f"phase{phase}"] = {
            "batch_size": {"notebook": 64, "pipeline": settings.batch_size},
            "ms_per_step": {
                "notebook": 1e3 * their_clock / -(-len(labels) // 64),
                "pipeline": 1e3 * own_clock / steps,
            },
            "examples_per_second": {
                "notebook": len(labels) / their_clock,
                "pipeline": len(labels) / own_clock,
            },
            "cpu_ms_per_example": {
                "notebook": 1e3 * their_cpu / len(labels),
                "pipeline": 1e3 * own_cpu / len(labels),
            },
            "pipeline_time_over_notebook_time": own_clock / their_clock,
            "pipeline_cpu_over_notebook_cpu": own_cpu / their_cpu,
        }
    print(json.dumps(report, indent=1))
    if out:
        out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
