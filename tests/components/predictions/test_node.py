"""Row by row, a model's scores arrive where they belong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components.contracts import features
from components.contracts.artifact_files import BASELINE_PREDICTIONS, CANDIDATE_PREDICTIONS
from components.contracts.columns import ARXIV
from components.contracts.predictions import read_scores
from components.predictions import node
from components.predictions.node import Predictions, RowPredictions
from components.predictions.prediction_rows import read_texts, split_files

CLASSES = ["cs", "math", "x$y"]
ROWS = 45


class _Lengths(tf.Module):
    """Scores by the length of the abstract, times a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = tf.Variable(factor)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def score(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        spec = {features.ABSTRACT: tf.io.FixedLenFeature([], tf.string)}
        length = tf.strings.length(tf.io.parse_example(examples, spec)[features.ABSTRACT])
        first = tf.cast(length, tf.float32) * self.factor
        scores = tf.stack([first, first + 1, tf.zeros_like(first)], axis=1)
        names = tf.tile(tf.constant(CLASSES)[tf.newaxis], [tf.shape(examples)[0], 1])
        return {
            features.LABEL_OUTPUT: names[:, 0],
            features.SCORES_OUTPUT: scores,
            features.CLASSES_OUTPUT: names,
        }


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


@pytest.fixture(scope="module")
def lengths() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, ROWS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, lengths: np.ndarray) -> Path:
    root = tmp_path_factory.mktemp("predictions")
    split = root / "examples" / "Split-test"
    split.mkdir(parents=True)
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    for part in range(2):
        path = split / f"data-{part}.gz"
        with tf.io.TFRecordWriter(str(path), options) as writer:
            for row in range(ROWS)[part * 20 : 20 if part == 0 else ROWS]:
                feature = {
                    features.ABSTRACT: _bytes(b"\xff" * int(lengths[row])),
                    features.LABEL: _bytes(CLASSES[row % 3].encode()),
                }
                if row != 4:
                    feature[features.ID] = _bytes(f"id {row}".encode())
                example = tf.train.Example(features=tf.train.Features(feature=feature))
                writer.write(example.SerializeToString())
    for name, factor in (("new", 2.0), ("old", 3.0)):
        model = _Lengths(factor)
        tf.saved_model.save(
            model,
            str(root / name / "Format-Serving"),
            signatures={features.SERVING_EXAMPLES: model.score},
        )
    return root


def predict(folder: Path, target: Path, *models: str) -> Path:
    artifacts = []
    for name in models:
        model = standard_artifacts.Model()
        model.uri = str(folder / name)
        artifacts.append(model)
    examples = standard_artifacts.Examples()
    examples.uri = str(folder / "examples")
    examples.split_names = '["train", "eval", "test"]'
    output = RowPredictions()
    output.uri = str(target)
    baseline = dict(zip(["baseline_model"], artifacts[1:], strict=False))
    Predictions.test_call(
        examples=examples,
        model=artifacts[0],
        predictions=output,
        split=features.TEST,
        names=ARXIV.model_dump_json(),
        fingerprint="f00d",
        **baseline,
    )
    return target


def test_every_row_gets_its_own_scores_in_the_order_of_the_files(
    folder: Path, tmp_path: Path, lengths: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several chunks, several batches each, none of them full at the end.
    monkeypatch.setattr(node, "_CHUNK", 16)
    monkeypatch.setattr(node, "_BATCH", 5)
    target = predict(folder, tmp_path / "out", "new", "old")
    for name, factor in ((CANDIDATE_PREDICTIONS, 2), (BASELINE_PREDICTIONS, 3)):
        found = read_scores(target / name)
        np.testing.assert_array_equal(found.scores[:, 0], factor * lengths)
        np.testing.assert_array_equal(found.scores[:, 1], factor * lengths + 1)
        assert found.labels.tolist() == [row % 3 for row in range(ROWS)]
        assert found.ids == tuple("" if row == 4 else f"id {row}" for row in range(ROWS))
        assert found.classes == tuple(CLASSES)


def test_without_an_earlier_model_there_is_one_file(folder: Path, tmp_path: Path) -> None:
    target = predict(folder, tmp_path / "out", "new")
    assert [path.name for path in target.iterdir()] == [CANDIDATE_PREDICTIONS]


def test_split_without_rows_is_an_error(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.gz"
    with tf.io.TFRecordWriter(str(empty), tf.io.TFRecordOptions(compression_type="GZIP")):
        pass
    with pytest.raises(ValueError, match="no rows to score"):
        node.write_predictions(
            [str(empty)], str(folder / "new" / "Format-Serving"), tmp_path / "out.parquet"
        )


def test_texts_are_read_by_row_number(folder: Path, lengths: np.ndarray) -> None:
    files = split_files(str(folder / "examples" / "Split-test"))
    found = read_texts(files, [44, 0, 21])
    assert found == {row: "\N{REPLACEMENT CHARACTER}" * lengths[row] for row in (0, 21, 44)}
    assert read_texts(files, []) == {}
