"""A stand-in model with the real one's signatures, judged by TFX's own Evaluator.

Its scores are not computed: each example carries them, so a test knows every prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from tfx.components.evaluator import executor
from tfx.dsl.components.base import base_beam_executor
from tfx.types import standard_artifacts
from tfx.utils import json_utils, proto_utils

from components.contracts import features
from components.evaluation.evaluation_settings import EvaluationSettings
from pipeline.eval_config import make_eval_config

CLASSES = ["bio", "cs", "econ", "engineering", "math", "physics", "stat"]
SHARES = [0.05, 0.39, 0.03, 0.06, 0.30, 0.12, 0.05]
PAPERS = 300


class Papers(NamedTuple):
    """What the examples hold; ``scores`` by name, each float32 [PAPERS, 7]."""

    labels: np.ndarray
    buckets: np.ndarray
    years: np.ndarray
    latex: np.ndarray
    scores: dict[str, np.ndarray]


class Judged(NamedTuple):
    """An evaluation on disk and the blessing artifact beside it."""

    uri: str
    evaluation: Any
    blessing: Any


def _scores(rng: np.random.Generator, labels: np.ndarray, skill: np.ndarray) -> np.ndarray:
    scores = rng.dirichlet(np.full(7, 0.7), len(labels))
    scores[np.arange(len(labels)), labels] += skill * rng.random(len(labels))
    return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


def _without(scores: np.ndarray, class_ids: list[int]) -> np.ndarray:
    scores = scores.copy()
    scores[:, class_ids] = 0
    return scores / scores.sum(axis=1, keepdims=True)


@pytest.fixture(scope="session")
def classes() -> list[str]:
    return CLASSES


@pytest.fixture(scope="session")
def papers() -> Papers:
    rng = np.random.default_rng(7)
    labels = rng.choice(7, PAPERS, p=SHARES)
    buckets = rng.choice(["short", "long"], PAPERS, p=[0.1, 0.9])
    ones = np.ones(PAPERS)
    return Papers(
        labels,
        buckets,
        rng.choice(["2019", "2020", ""], PAPERS),
        np.random.default_rng(8).choice(["none", "0-2%", "10%+"], PAPERS, p=[0.7, 0.2, 0.1]),
        {
            "good": _scores(rng, labels, 0.8 * ones),
            "better": _scores(rng, labels, 2.5 * ones),
            "poor": _scores(rng, labels, 0.2 * ones),
            "bad_when_short": _scores(rng, labels, np.where(buckets == "short", 0.0, 8.0)),
            "never_econ_or_stat": _without(_scores(rng, labels, ones), [2, 6]),
            "not_a_number": np.full((PAPERS, 7), np.nan, np.float32),
        },
    )


class _GivenScores(tf.Module):
    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key
        self._table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(CLASSES, tf.range(7, dtype=tf.int64)), -1
        )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serving_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        spec = {self._key: tf.io.FixedLenFeature([7], tf.float32)}
        scores = tf.io.parse_example(examples, spec)[self._key]
        names = tf.constant(CLASSES)
        return {
            features.LABEL_OUTPUT: tf.gather(names, tf.argmax(scores, axis=1)),
            features.SCORES_OUTPUT: scores,
            features.CLASSES_OUTPUT: tf.tile(names[tf.newaxis], [tf.shape(scores)[0], 1]),
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def transform_features(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        text = tf.io.FixedLenFeature([], tf.string, default_value="")
        columns = (features.ABSTRACT, features.LABEL, features.DATE, features.LATEX_BUCKET)
        spec = dict.fromkeys(columns, text)
        raw = tf.io.parse_example(examples, spec)
        year = tf.strings.substr(raw[features.DATE], 0, 4)
        return {
            features.TOKENS: tf.zeros([tf.shape(examples)[0], 4], tf.int64),
            features.LABEL_ID: self._table.lookup(raw[features.LABEL]),
            features.LENGTH_BUCKET: raw[features.ABSTRACT],
            features.YEAR: tf.where(year == "", "unknown", year),
            features.LATEX_BUCKET: raw[features.LATEX_BUCKET],
        }


def _bytes(value: str) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory, papers: Papers) -> Path:
    """A folder with the examples (split test) and one SavedModel for each set of scores."""
    root = tmp_path_factory.mktemp("evaluation")
    split = root / "examples" / "Split-test"
    split.mkdir(parents=True)
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    with tf.io.TFRecordWriter(str(split / "data.gz"), options) as writer:
        for row in range(PAPERS):
            feature = {
                features.ID: _bytes(str(row)),
                features.ABSTRACT: _bytes(papers.buckets[row]),
                features.LABEL: _bytes(CLASSES[papers.labels[row]]),
                features.LATEX_BUCKET: _bytes(papers.latex[row]),
            }
            if papers.years[row]:
                feature[features.DATE] = _bytes(f"{papers.years[row]}-05-01")
            for key, scores in papers.scores.items():
                given = tf.train.FloatList(value=scores[row])
                feature[key] = tf.train.Feature(float_list=given)
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())
    for key in papers.scores:
        model = _GivenScores(key)
        tf.saved_model.save(
            model,
            str(root / "models" / key / "Format-Serving"),
            signatures={
                features.SERVING_EXAMPLES: model.serving_examples,
                features.TRANSFORM_FEATURES: model.transform_features,
            },
        )
    return root


@pytest.fixture(scope="session")
def judge(workspace: Path) -> Iterator[Callable[..., Judged]]:
    """Runs the Evaluator on a model, once for each combination of arguments."""
    done: dict[tuple[Any, ...], Judged] = {}

    def run(candidate: str, baseline: str | None = None, **settings: Any) -> Judged:
        key = (candidate, baseline, tuple(sorted(settings.items())))
        if key not in done:
            done[key] = _evaluate(workspace, str(len(done)), candidate, baseline, settings)
        return done[key]

    return run


def _artifact(kind: type, uri: Path, artifact_id: int) -> Any:
    artifact = kind()
    artifact.uri = str(uri)
    artifact.id = artifact_id
    return artifact


def _evaluate(
    root: Path, run: str, candidate: str, baseline: str | None, settings: dict[str, Any]
) -> Judged:
    examples = _artifact(standard_artifacts.Examples, root / "examples", 1)
    examples.split_names = '["train", "eval", "test"]'
    examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    inputs = {
        "examples": [examples],
        "model": [_artifact(standard_artifacts.Model, root / "models" / candidate, 11)],
    }
    if baseline:
        inputs["baseline_model"] = [
            _artifact(standard_artifacts.Model, root / "models" / baseline, 10)
        ]
    evaluation = _artifact(standard_artifacts.ModelEvaluation, root / run / "evaluation", 21)
    blessing = _artifact(standard_artifacts.ModelBlessing, root / run / "blessing", 22)
    # Given any Beam argument, TFX first packs itself for remote workers, which takes seconds.
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=[],
        tmp_dir=str(root / run / "tmp"),
        unique_id=run,
    )
    executor.Executor(context).Do(
        inputs,
        {"evaluation": [evaluation], "blessing": [blessing]},
        {
            "eval_config": proto_utils.proto_to_json(
                make_eval_config(EvaluationSettings(**settings), CLASSES, "f00d")
            ),
            "example_splits": json_utils.dumps([features.TEST]),
            "fairness_indicator_thresholds": "null",
        },
    )
    return Judged(evaluation.uri, evaluation, blessing)
