"""A small SavedModel with the contract's signatures, and models that break it in one way each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.contracts import features
from components.contracts.artifact_files import EXTRA_ASSETS, GOLDEN_PREDICTIONS, WARMUP
from components.contracts.golden_predictions import REAL, GoldenPredictions, GoldenText
from components.text.tf_example_wire import string_columns
from components.training.golden_predictions import odd_texts
from components.training.warmup_requests import write_warmup

CLASSES = ("cs", "math", "stat")
LENGTH = 4
ABSTRACTS = [b"We prove theorem %d about rings and graphs." % number for number in range(8)]

BuildModel = Callable[[str], Path]


class ToyClassifier(tf.Module):
    """Scores by a text's length alone.

    Args:
      fault: what is wrong with it; empty for nothing.
    """

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault

    def scores(self, texts: tf.Tensor) -> tf.Tensor:
        length = tf.cast(tf.strings.length(texts), tf.float32)
        if self.fault == "reads its neighbours":
            length += tf.cast(tf.size(texts) > 1, tf.float32)
        raised = tf.stack([tf.sin(length), tf.cos(length), tf.sin(2 * length)], axis=1)
        scores = tf.nn.softmax(raised)
        if self.fault == "NaN":
            scores = tf.where(length[:, tf.newaxis] == 0, np.nan, scores)
        if self.fault == "does not sum to 1":
            scores *= 1.001
        return scores

    def reply(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        scores = self.scores(texts)
        names = tf.constant(CLASSES[::-1] if self.fault == "other class order" else CLASSES)
        best = tf.argmin(scores, 1) if self.fault == "wrong label" else tf.argmax(scores, 1)
        if self.fault == "fails on noise":
            bad = tf.reduce_any(tf.strings.regex_full_match(texts, r"(?s).*\x00.*"))
            with tf.control_dependencies([tf.debugging.Assert(~bad, ["cannot read this"])]):
                scores = tf.identity(scores)
        if self.fault == "crashes":
            (scores,) = tf.py_function(lambda _: __import__("os")._exit(77), [scores], [tf.float32])
        classes = tf.tile(names[tf.newaxis], [tf.size(texts), 1])
        return {
            "label": tf.gather(names, best),
            "scores": tf.cast(scores, tf.float64) if self.fault == "float64" else scores,
            "classes": names if self.fault == "no batch dimension" else classes,
        }

    def transformed(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        texts = string_columns(examples, [features.ABSTRACT])[features.ABSTRACT]
        step = 2 if self.fault == "other ids" else 1
        ids = tf.cast(tf.strings.length(texts), tf.int64) + 1
        ids *= tf.constant([1, step, 1, 1], tf.int64)[:, tf.newaxis]
        none = tf.fill([tf.size(texts)], "none")
        return {
            features.TOKENS: tf.ensure_shape(tf.transpose(ids), [None, LENGTH]),
            features.LABEL_ID: tf.zeros_like(none, tf.int64),
            features.CATEGORY_ID: tf.zeros_like(none, tf.int64),
            **dict.fromkeys(features.SLICE_FEATURES, none),
        }

    def examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        if self.fault == "broken example fails":
            spec = {features.ABSTRACT: tf.io.FixedLenFeature([], tf.string, "")}
            return self.reply(tf.io.parse_example(examples, spec)[features.ABSTRACT])
        return self.reply(string_columns(examples, [features.ABSTRACT])[features.ABSTRACT])

    def save(self, folder: Path) -> None:
        texts = tf.TensorSpec([None], tf.string, name=features.ABSTRACT)
        serialized = tf.TensorSpec([None], tf.string, name=features.EXAMPLES_INPUT)
        signatures = {
            "serving_default": tf.function(self.reply).get_concrete_function(texts),
            "serving_examples": tf.function(self.examples).get_concrete_function(serialized),
            "transform_features": tf.function(self.transformed).get_concrete_function(serialized),
        }
        if self.fault == "no examples signature":
            del signatures["serving_examples"]
        tf.saved_model.save(self, str(folder), signatures=signatures)


@pytest.fixture(scope="session")
def build_model(tmp_path_factory: pytest.TempPathFactory) -> BuildModel:
    """Returns the folder of a SavedModel with one fault ("" for none), which a test may change."""

    def build(fault: str) -> Path:
        folder = tmp_path_factory.mktemp("model") / "Format-Serving"
        ToyClassifier(fault).save(folder)
        extra = folder / EXTRA_ASSETS
        extra.mkdir()
        texts = [*(GoldenText.of(REAL, text) for text in ABSTRACTS), *odd_texts(ABSTRACTS)]
        whole = ToyClassifier("")
        contents = [text.content for text in texts]
        rows = [tf.train.Example() for _ in contents]
        for row, content in zip(rows, contents, strict=True):
            row.features.feature[features.ABSTRACT].bytes_list.value.append(content)
        ids = whole.transformed(tf.constant([row.SerializeToString() for row in rows]))
        golden = GoldenPredictions.of(
            CLASSES,
            tuple(texts),
            ids[features.TOKENS].numpy(),
            whole.scores(tf.constant(contents)).numpy(),
        )
        golden.write(extra / GOLDEN_PREDICTIONS)
        write_warmup(extra / WARMUP, ABSTRACTS)
        return folder

    return build


@pytest.fixture(scope="session")
def good_model(build_model: BuildModel) -> Path:
    """A model that keeps the contract; tests leave it as it is."""
    return build_model("")


@pytest.fixture(scope="session")
def change_answers() -> Callable[[Path, Callable[[dict], None]], None]:
    """Edits the golden predictions of a model."""

    def edit(model: Path, change: Callable[[dict], None]) -> None:
        path = model / EXTRA_ASSETS / GOLDEN_PREDICTIONS
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")

    return edit
