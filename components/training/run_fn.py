"""Entry point of the Trainer node."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft
from absl import logging

from components import provenance
from components.contracts import artifact_files, features
from components.contracts.columns import Columns
from components.contracts.golden_predictions import REAL, GoldenText
from components.contracts.progress import Note
from components.contracts.training_report import (
    Code,
    Epoch,
    EvalMetrics,
    TrainingReport,
)
from components.model.architectures import adapt, build_model, with_probabilities
from components.model.model_settings import ModelSettings
from components.model.word_vectors import coverage, load_glove, random_vectors
from components.training import dataset, export, golden_predictions, objective
from components.training.checkpoint import prune_states
from components.training.device import prepare_device, uses_cudnn
from components.training.node import RAW_FILES
from components.training.phase import make_phases, predict_logits
from components.training.training_loop import train as train_phases
from components.training.training_settings import TrainingSettings, check_settings
from components.training.warmup_requests import write_warmup

# Real texts for warm-up requests and golden predictions.
_REAL_TEXTS = 64
# Locations, which do not affect the result.
_PLACES = ("checkpoint_dir", RAW_FILES)


def run_fn(fn_args: Any) -> None:
    """Trains and exports the classifier.

    Writes the SavedModel to ``serving_model_dir``, with ``training.json``, warm-up requests and
    golden predictions in its ``assets.extra``; and TensorBoard logs and ``training.json`` to
    ``model_run_dir``.

    Args:
        fn_args: TFX's FnArgs. ``custom_config`` has ``model`` and ``training`` (dumps of their
            settings), ``classes``, ``columns`` (a dump of `Columns`), ``glove`` (path, or ""),
            ``glove_sha256``, ``checkpoint_dir`` (outside the pipeline root, since TFX removes a
            failed node's folders), ``fingerprint`` of the sources, and ``raw_files`` (patterns of
            the raw eval split), without which neither warm-up requests nor golden predictions are
            written.
    """
    started = time.monotonic()
    config = fn_args.custom_config
    model_settings = ModelSettings.model_validate(config["model"])
    settings = TrainingSettings.model_validate(config["training"])
    check_settings(model_settings, settings)
    classes = list(config["classes"])
    columns = Columns.model_validate(config.get("columns", {}))

    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(settings.seed)
    device = prepare_device(len(os.sched_getaffinity(0)))

    transform = tft.TFTransformOutput(fn_args.transform_output)
    words, train, evaluation = load_data(fn_args, transform, len(classes))
    vocabulary_size = len(words) + features.FIRST_WORD_ID
    matrix, has_vector = (
        load_glove(Path(config["glove"]), words, settings.embedding_dim)
        if config["glove"]
        else random_vectors(len(words), settings.embedding_dim, settings.seed)
    )
    glove = coverage(matrix, has_vector, words, train.token_counts(vocabulary_size))
    sizes = f"training: {train.size} + {evaluation.size} examples on {device.description}"
    found = f"GloVe has {glove.word_share:.1%} of the words, {glove.token_share:.1%} of the text"
    if not config["glove"]:
        found = "no word vectors given (data.glove), so they start from random ones"
    logging.info("%s", Note(f"{sizes}; {found}"))

    groups = dataset.category_groups(train, len(classes)).tolist()
    trim = bool(settings.length_buckets)
    length = None if trim else train.sequence_length
    build = partial(
        build_model,
        model_settings,
        sequence_length=length,
        classes=len(classes),
        groups=groups,
    )
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(settings.mixed_precision)
    try:
        with device.strategy.scope():
            model = build(embedding_matrix=matrix)
        adapt(model, train.tokens, words)
        cudnn = uses_cudnn(model, train.sequence_length) if device.gpus else False
        used = "used" if cudnn else "not used"
        logging.info("%s", Note(f"training: cuDNN's LSTM kernel is {used}"))
        key = state_key(config, words, train, evaluation)
        state_dir = Path(config["checkpoint_dir"]) / key
        prune_states(state_dir.parent, key)
        outcome = train_phases(
            model, make_phases(model, settings), train, evaluation,
            state_dir=state_dir, log_dir=state_dir / "logs",
        )  # fmt: skip
    finally:
        keras.config.set_dtype_policy(policy)

    serving = export.rebuild_for_serving(model, build, matrix.shape)
    bias = -settings.logit_adjustment * objective.log_priors(train.class_counts(len(classes)))
    logits = predict_logits(serving, evaluation, settings)
    temperature = 1.0
    if settings.fit_temperature:
        temperature = objective.fit_temperature(logits + bias, evaluation.labels)
    folder = Path(fn_args.serving_model_dir)
    scorer = with_probabilities(serving, temperature, bias)
    module = export.Classifier(scorer, transform, classes, columns, trim)
    tf.saved_model.save(module, str(folder), signatures=module.signatures())
    extra = folder / artifact_files.EXTRA_ASSETS
    extra.mkdir()
    if config.get(RAW_FILES):
        texts = golden_predictions.pick(
            export.read_texts(config[RAW_FILES], columns.feature), _REAL_TEXTS
        )
        write_warmup(extra / artifact_files.WARMUP, texts, columns.text)
        golden = export.golden_predictions(
            [
                *(GoldenText.of(REAL, text) for text in texts),
                *golden_predictions.odd_texts(texts),
            ],
            serving, transform, classes, columns=columns, temperature=temperature, bias=bias,
        )  # fmt: skip
        golden.write(extra / artifact_files.GOLDEN_PREDICTIONS)

    eval_metrics = objective.eval_metrics((logits + bias) / temperature, evaluation.labels)
    report = TrainingReport(
        best=Epoch(**outcome.best),
        history=tuple(Epoch(**one) for one in outcome.history),
        resumed_epochs=outcome.resumed_epochs,
        device=device.description,
        cudnn=cudnn,
        mixed_precision=settings.mixed_precision,
        seconds=round(time.monotonic() - started, 1),
        examples={features.TRAIN: train.size, features.EVAL: evaluation.size},
        glove=glove,
        vocabulary_size=vocabulary_size,
        categories=len(groups) - len(classes) if model_settings.categories else 0,
        sequence_length=train.sequence_length,
        parameters=model.count_params(),
        eval=EvalMetrics(**eval_metrics),
        temperature=temperature,
        logit_bias=tuple(bias.tolist()),
        classes=tuple(classes),
        columns=columns.model_dump(mode="json"),
        code=Code(commit=provenance.commit(), fingerprint=config.get("fingerprint")),
        versions=provenance.versions(),
        model=model_settings.model_dump(mode="json"),
        training=settings.model_dump(mode="json"),
    )
    run_dir = Path(fn_args.model_run_dir)
    shutil.copytree(state_dir / "logs", run_dir, dirs_exist_ok=True)
    for place in (run_dir, extra):
        report.write(place / artifact_files.TRAINING_REPORT)
    shutil.rmtree(state_dir)


def load_data(
    fn_args: Any, transform: tft.TFTransformOutput, classes: int
) -> tuple[list[str], dataset.Examples, dataset.Examples]:
    """Returns the vocabulary, and the splits train and eval."""
    path = transform.vocabulary_file_by_name(features.VOCABULARY)
    words = Path(path).read_text(encoding="utf-8").split("\n")[:-1]
    schema = transform.transformed_metadata.schema
    train, evaluation = (
        dataset.load_examples(files, fn_args.data_accessor, schema, classes, split)
        for files, split in (
            (fn_args.train_files, features.TRAIN),
            (fn_args.eval_files, features.EVAL),
        )
    )
    return words, train, evaluation


def state_key(
    config: dict[str, Any],
    words: list[str],
    train: dataset.Examples,
    evaluation: dataset.Examples,
) -> str:
    """Returns a hash of all settings and data that training depends on."""
    parts = [
        json.dumps({name: config[name] for name in sorted(config) if name not in _PLACES}),
        "\n".join(words),
        train.digest(),
        evaluation.digest(),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
