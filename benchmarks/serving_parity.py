"""Compares the exported model with Transform and the network on all rows of a run's corpus.

python benchmarks/serving_parity.py CONFIG [--seed 1] [--inputs 10000]

Token, label and category ids from the exported signature on raw examples are compared with
Transform's output; scores of ``serving_default`` on raw texts with those of the Keras network
(rebuilt with the exported weights, on Transform's untrimmed rows). Then both signatures are fuzzed
with random bytes, random Unicode and damaged tf.Examples.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import time
from pathlib import Path
from typing import Annotated, Any

import keras
import machine
import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_transform as tft
import typer
from absl import logging
from tfx.components.util import tfxio_utils
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components.contracts import features
from components.contracts.artifact_files import EXTRA_ASSETS, TRAINING_REPORT
from components.contracts.training_report import TrainingReport
from components.errors import UserError
from components.metadata_store import MetadataStore
from components.model.architectures import build_model, with_probabilities
from components.model.model_settings import ModelSettings
from components.text.tf_example_wire import string_columns
from components.training import dataset
from components.training.training_settings import TrainingSettings
from pipeline.config.pipeline_config import PipelineConfig, load_config

_ROWS = 512


def main(
    config: Annotated[Path, typer.Argument(exists=True, dir_okay=False, resolve_path=True)],
    seed: Annotated[int, typer.Option(help="Of the random inputs.")] = 1,
    inputs: Annotated[int, typer.Option(help="Random inputs for each signature.")] = 10_000,
) -> None:
    """Prints commit, hardware, compared rows, the largest difference, and fuzzing crashes."""
    logging.set_verbosity(logging.ERROR)
    tf.get_logger().setLevel("ERROR")
    places = _latest_training(load_config(config))
    exported = path_utils.serving_model_path(str(places["model"]))
    report = TrainingReport.read(Path(exported) / EXTRA_ASSETS / TRAINING_REPORT)
    loaded = tf.saved_model.load(exported)
    print(f"commit       {machine.commit()} (model trained at {report.code.commit})")
    print(f"processor    {machine.processor()}")

    rows = differing = 0
    largest = 0.0
    train = _transformed(places, features.TRAIN, len(report.classes))
    network = _network(Path(exported), report, train)
    started = time.perf_counter()
    for split in features.SPLITS:
        written = (
            train if split == features.TRAIN else _transformed(places, split, len(report.classes))
        )
        ids, scores = _ask(loaded, places["raw_examples"] / f"Split-{split}")
        ours = dataset.make_examples(
            ids[features.TOKENS], ids[features.LABEL_ID], ids[features.CATEGORY_ID]
        )
        differing += _differing(ours, written)
        tokens = ids[features.TOKENS].astype(np.int32)
        expected = network.predict(tokens, batch_size=_ROWS, verbose=0)
        largest = max(largest, float(np.abs(scores - expected).max()))
        rows += len(tokens)
    print(f"rows         {rows:,} in {time.perf_counter() - started:.0f} s")
    print(f"ids          {differing} rows differ from Transform's")
    print(f"scores       largest difference {largest:.2g} to the network's")
    failed = _fuzz(loaded, seed, inputs)
    print(f"fuzz         {inputs:,} inputs for each signature, seed {seed}: {failed} crashes")
    if differing or failed or not largest <= 1e-5:
        raise typer.Exit(1)


def _latest_training(config: PipelineConfig) -> dict[str, Path]:
    """Returns the folders of the latest model and of the Trainer's inputs, by the inputs' names."""
    database = config.folder.metadata_file
    lineage = MetadataStore(database).lineage()
    models = [
        one.id
        for one in lineage.artifacts.values()
        if one.type == standard_artifacts.Model.TYPE_NAME and one.alive and Path(one.uri).is_dir()
    ]
    if not models:
        raise UserError(f"{database}: no trained model; run the pipeline first")
    latest = max(models)
    # Cached executions output the model, too.
    trainer = min(lineage.sources[latest], key=lambda execution: execution.id)
    places = {link.key: Path(link.artifact.uri) for link in trainer.inputs}
    return {"model": Path(lineage.artifacts[latest].uri), **places}


def _transformed(places: dict[str, Path], split: str, classes: int) -> dataset.Examples:
    artifact = standard_artifacts.Examples()
    artifact.uri = str(places["examples"])
    factory = tfxio_utils.get_tf_dataset_factory_from_artifact([artifact], [])
    schema = tft.TFTransformOutput(str(places["transform_graph"])).transformed_metadata.schema

    class Accessor:
        tf_dataset_factory = staticmethod(factory)

    files = [str(places["examples"] / f"Split-{split}" / "*")]
    return dataset.load_examples(files, Accessor, schema, classes, split)


def _network(exported: Path, report: TrainingReport, train: dataset.Examples) -> keras.Model:
    """Builds the network with Keras, with the exported weights."""
    classes = len(report.classes)
    settings = TrainingSettings.model_validate(report.training)
    shape = (report.vocabulary_size, settings.embedding_dim)
    model = build_model(
        ModelSettings.model_validate(report.model),
        np.zeros(shape, np.float32),
        None if settings.length_buckets else report.sequence_length,
        classes,
        groups=dataset.category_groups(train, classes).tolist(),
        serving=True,
    )
    scorer = with_probabilities(model, report.temperature, np.array(report.logit_bias))
    saved = str(exported / "variables" / "variables")
    tf.train.Checkpoint(_scorer=scorer).read(saved).assert_existing_objects_matched()
    return scorer


def _ask(
    loaded: Any, folder: Path
) -> tuple[dict[str, npt.NDArray[np.int64]], npt.NDArray[np.float32]]:
    """Returns ids and scores of a raw split's rows by two signatures, in the same order."""
    names = (features.TOKENS, features.LABEL_ID, features.CATEGORY_ID)
    ids: dict[str, list[Any]] = {name: [] for name in names}
    scores = []
    files = tf.data.Dataset.list_files(str(folder / "*"), shuffle=False)
    for batch in tf.data.TFRecordDataset(files, "GZIP").batch(_ROWS):
        transformed = loaded.signatures[features.TRANSFORM_FEATURES](examples=batch)
        for name in names:
            ids[name].append(transformed[name].numpy())
        texts = string_columns(batch, [features.ABSTRACT])[features.ABSTRACT]
        scores.append(loaded.signatures[features.SERVING_TEXT](abstract=texts)["scores"].numpy())
    return {name: np.concatenate(parts) for name, parts in ids.items()}, np.concatenate(scores)


def _differing(ours: dataset.Examples, written: dataset.Examples) -> int:
    """Returns the number of differing rows; both are sorted by content."""
    if ours.size != written.size:
        return abs(ours.size - written.size)
    return int(
        (
            (ours.tokens != written.tokens).any(axis=1)
            | (ours.labels != written.labels)
            | (ours.categories != written.categories)
        ).sum()
    )


def _random_inputs(random: np.random.Generator, count: int) -> list[bytes]:
    """Returns a third each of random bytes, random Unicode (all planes) and damaged tf.Examples."""
    texts = []
    for number in range(count):
        size = int(random.integers(0, 2000))
        if number % 3 == 0:
            texts.append(random.bytes(size))
            continue
        points = random.integers(0, random.choice([0x80, 0x3000, 0x110000]), size)
        text = "".join(map(chr, points)).encode("utf-8", "replace")
        if number % 3 == 2:
            example = tf.train.Example()
            example.features.feature[features.ABSTRACT].bytes_list.value.append(text)
            data = bytearray(example.SerializeToString())
            for _ in range(random.integers(1, 5)):
                data[int(random.integers(len(data)))] = int(random.integers(256))
            text = bytes(data)
        texts.append(text)
    return texts


def _fuzz(loaded: Any, seed: int, count: int) -> int:
    """Returns the number of inputs without scores that add up to 1."""
    failed = 0
    for name, argument in (
        (features.SERVING_TEXT, features.ABSTRACT),
        (features.SERVING_EXAMPLES, features.EXAMPLES_INPUT),
    ):
        texts = _random_inputs(np.random.default_rng(seed), count)
        for start in range(0, count, _ROWS):
            rows = texts[start : start + _ROWS]
            try:
                outputs = loaded.signatures[name](**{argument: tf.constant(rows)})
            except tf.errors.OpError as error:
                print(f"{name}, inputs {start} to {start + len(rows) - 1}: {error.message}")
                failed += len(rows)
                continue
            sums = outputs[features.SCORES_OUTPUT].numpy().sum(axis=1)
            failed += int((~(np.abs(sums - 1) <= 1e-5)).sum()) + len(rows) - len(sums)
    return failed


if __name__ == "__main__":
    typer.run(main)
