"""A SavedModel is asked by one scorer, and what is wrong with one is said in one line."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from components.contracts import features
from components.errors import UserError
from components.scoring.errors import LoadError, RefusedError, SignatureError
from components.scoring.scorer import Scorer, score_by_length
from components.scoring.signatures import Signature, TensorKind

CLASSES = ["cs", "math", "stat"]


class _Lengths(tf.Module):
    """Scores a row by its length, fails on "bad", names the classes of "other" backwards."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable(tf.reshape(tf.range(300.0), [100, 3]))

    def reply(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        bad = tf.reduce_any(tf.equal(rows, "bad"))
        with tf.control_dependencies([tf.debugging.Assert(~bad, ["cannot read this"])]):
            scores = tf.gather(self.weights, tf.strings.length(rows))
        names = tf.tile(tf.constant([CLASSES]), [tf.size(rows), 1])
        names = tf.where(tf.equal(rows, "other")[:, tf.newaxis], names[:, ::-1], names)
        labels = tf.gather(CLASSES, tf.strings.length(rows) % 3)
        return {"label": labels, "scores": scores, "classes": names}

    def save(self, folder: Path) -> None:
        signatures = {}
        for name, argument in (("serving_default", "abstract"), ("serving_examples", "examples")):
            rows = tf.TensorSpec([None], tf.string, name=argument)
            signatures[name] = tf.function(self.reply).get_concrete_function(rows)
        double = tf.function(lambda x: {"y": 2 * x})
        number = tf.TensorSpec([None], tf.float32, name="abstract")
        signatures["transform_features"] = double.get_concrete_function(number)
        tf.saved_model.save(self, str(folder), signatures=signatures)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scoring") / "1"
    _Lengths().save(folder)
    return folder


@pytest.fixture(scope="module")
def scorer(folder: Path) -> Scorer:
    return Scorer(folder)


@pytest.mark.parametrize("signature", [features.SERVING_TEXT, features.SERVING_EXAMPLES])
def test_rows_get_labels_classes_and_float32_scores(scorer: Scorer, signature: str) -> None:
    labels, classes, scores = scorer.score([b"four", b"", b"\xff"], signature)
    assert (labels, classes) == (["math", "cs", "math"], CLASSES)
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, [[12, 13, 14], [0, 1, 2], [3, 4, 5]])
    assert scorer.classes(signature) == CLASSES
    empty = scorer.score([], signature)
    assert (empty.labels, empty.scores.shape) == ([], (0, 3))


def test_signatures_are_those_of_the_file(scorer: Scorer) -> None:
    strings = TensorKind("string", (-1,))
    assert set(scorer.signatures) == {"serving_default", "serving_examples", "transform_features"}
    assert scorer.signatures["serving_default"].inputs == {"abstract": strings}
    assert scorer.signatures["transform_features"] == Signature(
        {"abstract": TensorKind("float32", (-1,))}, {"y": TensorKind("float32", (-1,))}
    )


@pytest.mark.parametrize("rows_at_once", [1, 4, 100])
def test_many_rows_are_answered_in_their_order(scorer: Scorer, rows_at_once: int) -> None:
    rows = [b"x" * int(n) for n in np.random.default_rng(0).permutation(60)]
    with ThreadPoolExecutor(3) as threads:
        for run in (map, threads.map):
            found = score_by_length(scorer, rows, rows_at_once, run=run)
            assert found.classes == CLASSES
            np.testing.assert_array_equal(found.scores[:, 0], [3 * len(row) for row in rows])
            assert found.labels == [CLASSES[len(row) % 3] for row in rows]
    none = score_by_length(scorer, [], rows_at_once)
    assert (none.labels, none.classes, none.scores.shape) == ([], CLASSES, (0, 3))


def test_model_that_fails_on_a_row_says_the_line_that_matters(scorer: Scorer) -> None:
    with pytest.raises(RefusedError) as caught:
        scorer.score([b"fine", b"bad"])
    assert caught.value.reason == "assertion failed: [cannot read this]"
    assert str(caught.value) == f"{scorer.folder}: serving_default failed: {caught.value.reason}"
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.reason) == (str(caught.value), caught.value.reason)


def test_answer_that_is_no_classifiers_is_refused(scorer: Scorer) -> None:
    with pytest.raises(SignatureError, match="names other classes from row to row"):
        scorer.score([b"one", b"other"])
    with pytest.raises(SignatureError, match=r"takes \['abstract'\] and gives \['y'\]"):
        scorer.score([b"one"], features.TRANSFORM_FEATURES)


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (lambda t: {"label": t}, r"it takes \['abstract'\] and gives \['label'\]"),
        (
            lambda t: {"label": t, "scores": tf.zeros([2, 3]), "classes": tf.constant(CLASSES)},
            r"answers 1 rows with labels, scores and classes of shapes \(1,\), \(2, 3\), \(3,\)",
        ),
    ],
)
def test_model_of_another_kind_is_named(
    tmp_path: Path, output: Callable[[tf.Tensor], dict[str, tf.Tensor]], line: str
) -> None:
    module = tf.Module()
    strings = tf.TensorSpec([None], tf.string, name="abstract")
    module.f = tf.function(output).get_concrete_function(strings)
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.f})
    with pytest.raises(SignatureError, match=line):
        Scorer(tmp_path).score([b"text"])
    with pytest.raises(SignatureError, match="no signature 'serving_examples'"):
        Scorer(tmp_path).check(features.SERVING_EXAMPLES)


def test_input_of_another_type_is_named(tmp_path: Path) -> None:
    module = tf.Module()
    numbers = tf.TensorSpec([None], tf.float32, name="abstract")
    module.f = tf.function(
        lambda abstract: dict.fromkeys(("label", "scores", "classes"), abstract)
    ).get_concrete_function(numbers)
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.f})
    with pytest.raises(SignatureError, match="its abstract is float32"):
        Scorer(tmp_path).check()


def _shorten(name: str, size: int) -> Callable[[Path], None]:
    def damage(model: Path) -> None:
        (model / name).write_bytes((model / name).read_bytes()[:size])

    return damage


def _without_graph(model: Path) -> None:
    file = model / "saved_model.pb"
    content = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    content.meta_graphs[0].ClearField("graph_def")
    file.write_bytes(content.SerializeToString())


def _without_signatures(model: Path) -> None:
    file = model / "saved_model.pb"
    content = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    content.meta_graphs[0].signature_def.clear()
    file.write_bytes(content.SerializeToString())


DATA = "variables/variables.data-00000-of-00001"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (shutil.rmtree, "no saved_model.pb"),
        (_shorten("saved_model.pb", 0), "saved_model.pb holds no graph"),
        (_shorten("saved_model.pb", 1000), "saved_model.pb is cut off or damaged"),
        (_without_graph, "KeyError: '__inference_signature_wrapper"),
        (_shorten(DATA, 500), f"{DATA} has 500 bytes of "),
        (_shorten("variables/variables.index", 50), "variables.index is cut off or damaged"),
        (lambda model: (model / DATA).unlink(), f"no {DATA}"),
        (lambda model: shutil.rmtree(model / "variables"), "no variables/variables.index"),
    ],
    ids=["no folder", "no graphs", "cut", "no functions", "cut data", "index", "data", "variables"],
)
def test_broken_model_is_one_line(
    folder: Path, tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    model = tmp_path / "1"
    shutil.copytree(folder, model)
    damage(model)
    with pytest.raises(LoadError) as caught:
        Scorer(model)
    message = str(caught.value)
    assert isinstance(caught.value, UserError)
    assert message.startswith(f"{model}: the model is not loaded: ")
    assert message.endswith("; copy or export it again")
    assert reason in message
    assert "\n" not in message
    assert "[[" not in message


def test_signature_that_the_file_does_not_describe_is_not_there(
    folder: Path, tmp_path: Path
) -> None:
    model = tmp_path / "1"
    shutil.copytree(folder, model)
    _without_signatures(model)
    with pytest.raises(SignatureError, match="no signature 'serving_default'"):
        Scorer(model).score([b"text"])


def test_importing_the_scorer_imports_no_tensorflow() -> None:
    script = "import sys, components.scoring.scorer; print('tensorflow' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "False\n"
