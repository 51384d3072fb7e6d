"""The Trainer node's function over a small corpus: one run, then what it left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from scipy.special import softmax

from components import provenance
from components.contracts import features
from components.contracts.artifact_files import GOLDEN_PREDICTIONS, WARMUP
from components.contracts.columns import ARXIV
from components.contracts.golden_predictions import GoldenPredictions
from components.errors import UserError
from components.model.architectures import build_model
from components.model.model_settings import ModelSettings
from components.training import run_fn as module
from components.training.device import prepare_device, uses_cudnn
from components.training.export import read_texts
from components.training.golden_predictions import pick
from components.training.training_settings import TrainingSettings
from components.training.warmup_requests import read_warmup

CLASSES = ["bio", "cs", "econ", "engineering", "math", "physics", "stat"]
# An empty text, spaces, a formula alone, a megabyte, binary noise, emoji, bytes that are no UTF-8.
ODD_TEXTS: list[bytes] = [
    b"", b"   \n\t", b"$x^2$", b"csterm1 " * 131_072, bytes(range(256)),
    "\N{SNAKE}\N{PILE OF POO} bioterm1".encode(), b"\xff\xfe\xfa",
]  # fmt: skip
_SCORE = """
import os, sys
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf
model, data, out = sys.argv[1:]
texts = np.load(data)
signature = tf.saved_model.load(model).signatures["serving_default"]
answer = signature(abstract=tf.constant([bytes(texts[name]) for name in texts.files]))
np.savez(out, **{name: value.numpy().astype("U" if value.dtype == tf.string else "f4")
                 for name, value in answer.items()})
"""


@dataclass(frozen=True)
class Finished:
    """A finished run: its folder, its report, the model as trained, the SavedModel loaded."""

    folder: Path
    report: dict[str, Any]
    trained: keras.Model
    loaded: Any


@pytest.fixture(scope="module")
def finished(workbench, tmp_path_factory) -> Finished:
    folder = tmp_path_factory.mktemp("run")
    settings = TrainingSettings.model_validate({
        "phase1": {"epochs": 2, "learning_rate": 0.01},
        "phase2": {"epochs": 2, "learning_rate": 0.01},
        "batch_size": 32, "embedding_dim": 8, "length_buckets": [8, 16], "logit_adjustment": 0.3,
    })  # fmt: skip
    models: list[keras.Model] = []

    def keep(model: keras.Model, *args: Any, **kwargs: Any) -> Any:
        models.append(model)
        return original(model, *args, **kwargs)

    original = module.train_phases
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "train_phases", keep)
        module.run_fn(workbench.fn_args(folder, training=settings))
    report = json.loads((folder / "model_run" / "training.json").read_text())
    loaded = tf.saved_model.load(str(folder / "Format-Serving"))
    return Finished(folder, report, models[0], loaded)


def expected_scores(finished: Finished, tokens: np.ndarray) -> np.ndarray:
    """What the trained model gives for whole, untrimmed rows of tokens."""
    logits = finished.trained.predict(tokens.astype(np.int32), verbose=0)
    return softmax(
        (logits + finished.report["logit_bias"]) / finished.report["temperature"], axis=1
    )


def transformed(workbench, texts: list[bytes]) -> np.ndarray:
    """Token ids of the Transform node's own graph."""
    layer = tft.TFTransformOutput(str(workbench.graph)).transform_features_layer()
    return layer({features.ABSTRACT: tf.constant([[text] for text in texts])})[
        features.TOKENS
    ].numpy()


def test_report(finished: Finished, workbench) -> None:
    report = finished.report
    assert [record["phase"] for record in report["history"]] == [1, 1, 2, 2]
    assert report["best"] in report["history"]
    assert report["best"]["val_log_loss"] == min(r["val_log_loss"] for r in report["history"])
    assert report["examples"] == {"train": 480, "eval": 120}
    assert report["classes"] == CLASSES
    assert report["cudnn"] is False
    assert report["device"].startswith("CPU, ")
    assert report["parameters"] == finished.trained.count_params()
    vocabulary = tft.TFTransformOutput(str(workbench.graph)).vocabulary_by_name("vocabulary")
    glove = report["glove"]
    assert glove["words"] == len(vocabulary)
    assert glove["found"] == len(vocabulary) - 10
    assert 0.9 < glove["token_share"] < 1
    shares = np.exp(-np.array(report["logit_bias"]) / 0.3)
    assert shares.sum() == pytest.approx(1.0)
    beside = finished.folder / "Format-Serving" / "assets.extra" / "training.json"
    assert json.loads(beside.read_text()) == report


def test_report_has_the_eval_metrics_of_what_is_exported(finished: Finished, workbench) -> None:
    rows = workbench.rows[features.EVAL]
    answer = finished.loaded.signatures["serving_default"](
        abstract=tf.constant([row[features.ABSTRACT] for row in rows])
    )
    labels = np.array([CLASSES.index(row[features.LABEL]) for row in rows])
    scores = answer["scores"].numpy()
    figures = finished.report["eval"]
    assert figures["accuracy"] == pytest.approx((scores.argmax(axis=1) == labels).mean())
    expected = -np.log(scores[np.arange(len(labels)), labels]).mean()
    assert figures["log_loss"] == pytest.approx(expected, abs=1e-5)
    assert finished.report["categories"] > 0


def test_without_categories_the_classes_are_learned_directly(workbench, tmp_path: Path) -> None:
    settings = TrainingSettings.model_validate({
        "phase1": {"epochs": 2, "learning_rate": 0.01}, "phase2": {"epochs": 1}, "batch_size": 32,
        "embedding_dim": 8, "length_buckets": [8, 16], "histogram_every": 0,
    })  # fmt: skip
    model = ModelSettings(lstm_units=4, dense_units=8, wide_ngrams=256, categories=False)
    module.run_fn(workbench.fn_args(tmp_path, model, settings))
    report = json.loads((tmp_path / "model_run" / "training.json").read_text())
    assert report["categories"] == 0
    assert report["eval"]["accuracy"] > 0.5
    scores = tf.saved_model.load(str(tmp_path / "Format-Serving")).signatures["serving_default"](
        abstract=tf.constant(["csterm1 csterm2"])
    )["scores"]
    assert scores.shape == (1, 7)


def test_learns_the_corpus(finished: Finished) -> None:
    assert finished.report["best"]["val_accuracy"] > 0.6


def test_state_is_gone_and_logs_are_kept(finished: Finished) -> None:
    assert not list((finished.folder / "checkpoints").iterdir())
    for phase in ("phase1", "phase2"):
        events = b"".join(
            path.read_bytes() for path in (finished.folder / "model_run" / phase).rglob("events*")
        )
        assert b"epoch_logits_log_loss" in events
        assert b"histogram" in events


def test_vocabulary_is_an_asset_and_nothing_is_pickled(finished: Finished, workbench) -> None:
    serving = finished.folder / "Format-Serving"
    asset = (serving / "assets" / features.VOCABULARY).read_bytes()
    source = tft.TFTransformOutput(str(workbench.graph)).vocabulary_file_by_name("vocabulary")
    assert asset == Path(source).read_bytes()
    assert not [p for p in finished.folder.rglob("*") if p.suffix in (".pkl", ".pickle")]


def test_signatures_are_the_contract(finished: Finished) -> None:
    signatures = finished.loaded.signatures
    assert set(signatures) == {"serving_default", "serving_examples", "transform_features"}
    _, inputs = signatures["serving_default"].structured_input_signature
    assert inputs == {"abstract": tf.TensorSpec([None], tf.string, name="abstract")}
    outputs = signatures["serving_default"].structured_outputs
    assert outputs == signatures["serving_examples"].structured_outputs
    assert {name: (spec.dtype, spec.shape.rank) for name, spec in outputs.items()} == {
        "label": (tf.string, 1), "scores": (tf.float32, 2), "classes": (tf.string, 2)
    }  # fmt: skip
    assert set(signatures["transform_features"].structured_outputs) == {
        features.TOKENS, features.LABEL_ID, features.CATEGORY_ID, *features.SLICE_FEATURES
    }  # fmt: skip


def test_raw_text_in_a_fresh_process_gives_the_trained_models_scores(
    finished: Finished, workbench, tmp_path: Path
) -> None:
    texts = [row[features.ABSTRACT].encode() for row in workbench.rows[features.EVAL]] + ODD_TEXTS
    np.savez(
        tmp_path / "texts.npz",
        **{f"t{i:04}": np.frombuffer(text, np.uint8) for i, text in enumerate(texts)},
    )
    done = subprocess.run(
        [sys.executable, "-c", _SCORE, str(finished.folder / "Format-Serving"),
         str(tmp_path / "texts.npz"), str(tmp_path / "answer.npz")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = np.load(tmp_path / "answer.npz")
    expected = expected_scores(finished, transformed(workbench, texts))
    np.testing.assert_allclose(answer["scores"], expected, atol=1e-5)
    np.testing.assert_allclose(answer["scores"].sum(axis=1), 1.0, atol=1e-5)
    assert list(answer["label"]) == [CLASSES[i] for i in answer["scores"].argmax(axis=1)]
    assert (answer["classes"] == np.array(CLASSES)).all()
    assert answer["classes"].shape == (len(texts), 7)


def test_texts_without_words_all_get_the_answer_of_one_unknown_word(finished: Finished) -> None:
    signature = finished.loaded.signatures["serving_default"]
    scores = signature(abstract=tf.constant([b"", b" \n", b"$x$", b"zzzunheardof"]))["scores"]
    np.testing.assert_allclose(scores, np.tile(scores[3], (4, 1)), atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 512])
def test_any_number_of_rows(finished: Finished, count: int) -> None:
    answer = finished.loaded.signatures["serving_default"](
        abstract=tf.constant(["csterm1 word2"] * count, tf.string, shape=[count])
    )
    assert answer["scores"].shape == (count, 7)
    assert answer["label"].shape == (count,)
    assert answer["classes"].shape == (count, 7)


def test_neighbours_in_a_batch_change_nothing(finished: Finished, workbench) -> None:
    signature = finished.loaded.signatures["serving_default"]
    texts = [row[features.ABSTRACT] for row in workbench.rows[features.EVAL][:20]]
    together = signature(abstract=tf.constant(texts))["scores"].numpy()
    alone = [signature(abstract=tf.constant([text]))["scores"].numpy()[0] for text in texts]
    np.testing.assert_allclose(together, alone, atol=1e-6)


def serialize(row: dict[str, str | bytes]) -> bytes:
    """A raw tf.Example of string columns."""
    example = tf.train.Example()
    for name, value in row.items():
        data = value.encode() if isinstance(value, str) else value
        example.features.feature[name].bytes_list.value.append(data)
    return example.SerializeToString()


def test_examples_give_the_scores_of_their_text_whatever_else_they_hold(
    finished: Finished, workbench
) -> None:
    rows = workbench.rows[features.EVAL][:5]
    by_text = finished.loaded.signatures["serving_default"](
        abstract=tf.constant([row[features.ABSTRACT] for row in rows] + [""])
    )
    for kept in ((*ARXIV.required, *ARXIV.optional), (features.ABSTRACT,)):
        examples = [serialize({name: row[name] for name in kept}) for row in rows]
        answer = finished.loaded.signatures["serving_examples"](
            examples=tf.constant([*examples, b""])
        )
        np.testing.assert_allclose(answer["scores"], by_text["scores"], atol=1e-6)
        np.testing.assert_array_equal(answer["label"], by_text["label"])


def test_examples_that_are_none_leave_the_others_alone(finished: Finished, workbench) -> None:
    rows = workbench.rows[features.EVAL][:4]
    by_text = finished.loaded.signatures["serving_default"](
        abstract=tf.constant([row[features.ABSTRACT] for row in rows] + [""])
    )
    numbers = tf.train.Example()
    numbers.features.feature[features.ABSTRACT].float_list.value.append(0.5)
    good = [serialize(row) for row in rows]
    broken = [good[0][:-1], b"no example", bytes(range(256)), numbers.SerializeToString()]
    mixed = [row for pair in zip(good, broken, strict=True) for row in pair]
    answer = finished.loaded.signatures["serving_examples"](examples=tf.constant(mixed))
    np.testing.assert_allclose(answer["scores"][::2], by_text["scores"][:4], atol=1e-6)
    np.testing.assert_allclose(answer["scores"][1::2], [by_text["scores"][4]] * 4, atol=1e-6)
    transformed_rows = finished.loaded.signatures["transform_features"](examples=tf.constant(mixed))
    assert {len(values) for values in transformed_rows.values()} == {len(mixed)}
    assert [CLASSES[i] for i in transformed_rows[features.LABEL_ID][::2]] == [
        row[features.LABEL] for row in rows
    ]
    assert transformed_rows[features.LABEL_ID].numpy()[1::2].tolist() == [-1] * 4


@pytest.mark.parametrize(
    ("odd", "plain"),
    [
        # NUL and bytes that are no UTF-8 separate words; nothing after them is lost.
        (b"csterm1\0word2\0 word3", b"csterm1 word2 word3"),
        (b"csterm1\xffword2 \xc3", b"csterm1 word2"),
        ("csterm1 \N{PILE OF POO}word2".encode(), b"csterm1 word2"),
        # Only the head of a long text counts.
        (b"csterm1 word2 " * 80_000, b"csterm1 word2 " * (24 // 2)),
        (b"a" * 1_000_000, b"zzzunheardof"),
        (bytes(range(32)), b""),
    ],
    ids=["NUL", "not UTF-8", "emoji", "1 MB", "1 MB in one word", "control characters"],
)
def test_odd_texts_are_scored_as_what_is_left_of_them(
    finished: Finished, odd: bytes, plain: bytes
) -> None:
    answer = finished.loaded.signatures["serving_default"](abstract=tf.constant([odd, plain, b"x"]))
    np.testing.assert_allclose(answer["scores"][0], answer["scores"][1], atol=1e-6)


def test_noise_of_every_kind_is_answered(finished: Finished) -> None:
    random = np.random.default_rng(11)
    sizes = random.integers(0, 300, 400)
    texts = [random.bytes(int(size)) for size in sizes[:200]]
    texts += [
        "".join(map(chr, random.integers(0, 0xD800, int(size)))).encode() for size in sizes[200:]
    ]
    for name, argument in (("serving_default", "abstract"), ("serving_examples", "examples")):
        answer = finished.loaded.signatures[name](**{argument: tf.constant(texts)})
        assert answer["scores"].shape == (400, 7)
        np.testing.assert_allclose(np.sum(answer["scores"], axis=1), 1.0, atol=1e-5)


def test_every_output_has_the_batch_dimension(finished: Finished) -> None:
    for name, signature in finished.loaded.signatures.items():
        (argument,) = signature.structured_input_signature[1]
        answer = signature(**{argument: tf.constant([b""] * 3)})
        assert {key: value.shape[0] for key, value in answer.items()} == dict.fromkeys(answer, 3)
        assert all(spec.shape[0] is None for spec in signature.structured_outputs.values()), name


def test_warmup_requests_are_eval_abstracts_and_the_model_answers_them(
    finished: Finished, workbench
) -> None:
    abstracts = {row[features.ABSTRACT].encode() for row in workbench.rows[features.EVAL]}
    requests = read_warmup(finished.folder / "Format-Serving" / "assets.extra" / WARMUP)
    assert 1 in {request.inputs["abstract"].tensor_shape.dim[0].size for request in requests}
    for request in requests:
        texts = tf.make_ndarray(request.inputs["abstract"])
        assert set(texts) <= abstracts
        signature = finished.loaded.signatures[request.model_spec.signature_name]
        answer = signature(**{n: tf.make_ndarray(t) for n, t in request.inputs.items()})
        assert answer["scores"].shape == (len(texts), 7)


def test_warmup_and_golden_predictions_do_not_depend_on_the_order_of_the_files(
    finished: Finished, workbench
) -> None:
    files = [str(path) for path in (workbench.folder / "raw" / "Split-eval").iterdir()]
    texts = [pick(read_texts(names, features.ABSTRACT), 64) for names in (files, files[::-1])]
    assert texts[0] == texts[1]
    golden = GoldenPredictions.read(
        finished.folder / "Format-Serving" / "assets.extra" / GOLDEN_PREDICTIONS
    )
    assert [one.content for one in golden.predictions if one.name == "real"] == texts[0]


def test_golden_predictions_are_the_trained_networks_and_the_signatures(
    finished: Finished, workbench
) -> None:
    extra = finished.folder / "Format-Serving" / "assets.extra"
    golden = GoldenPredictions.read(extra / GOLDEN_PREDICTIONS)
    assert golden.classes == tuple(CLASSES)
    texts = [text.content for text in golden.predictions]
    np.testing.assert_array_equal(golden.token_ids, transformed(workbench, texts))
    expected = expected_scores(finished, golden.token_ids)
    np.testing.assert_allclose(golden.scores, expected, atol=1e-5)
    exported = finished.loaded.signatures["serving_default"](abstract=tf.constant(texts))
    np.testing.assert_allclose(exported["scores"], golden.scores, atol=1e-5)
    assert {text.name for text in golden.predictions} >= {"empty", "1 MB", "binary noise", "emoji"}


def test_report_names_code_and_libraries(finished: Finished, repository: Path) -> None:
    assert finished.report["code"] == {
        "commit": provenance.commit(repository),
        "fingerprint": "0" * 16,
    }
    assert finished.report["versions"]["keras"] == keras.__version__


def test_transform_signature_gives_transforms_own_features(finished: Finished, workbench) -> None:
    rows = workbench.rows[features.EVAL]
    transform = finished.loaded.signatures["transform_features"]
    answer = transform(examples=tf.constant([serialize(row) for row in rows]))
    np.testing.assert_array_equal(
        answer[features.TOKENS],
        transformed(workbench, [row[features.ABSTRACT].encode() for row in rows]),
    )
    assert [CLASSES[i] for i in answer[features.LABEL_ID]] == [r[features.LABEL] for r in rows]
    assert set(answer[features.YEAR].numpy()) == {b"2019"}
    without_date = serialize({features.ABSTRACT: "word1", features.LABEL: "cs"})
    assert transform(examples=tf.constant([without_date]))[features.YEAR].numpy() == [b"unknown"]


def test_notebook_architecture_runs_untrimmed(workbench, tmp_path: Path) -> None:
    settings = TrainingSettings.model_validate({
        "phase1": {"epochs": 1}, "phase2": {"epochs": 1}, "batch_size": 240, "embedding_dim": 8,
        "length_buckets": [], "class_weighting": 1.0,
        "fit_temperature": False, "histogram_every": 0,
    })  # fmt: skip
    module.run_fn(workbench.fn_args(tmp_path, ModelSettings(architecture="notebook"), settings))
    loaded = tf.saved_model.load(str(tmp_path / "Format-Serving"))
    short = loaded.signatures["serving_default"](abstract=tf.constant(["word1"]))
    beside = loaded.signatures["serving_default"](abstract=tf.constant(["word1", "word2 " * 40]))
    np.testing.assert_allclose(short["scores"][0], beside["scores"][0], atol=1e-6)


def test_wrong_width_of_glove_is_the_users_to_mend(workbench, tmp_path: Path) -> None:
    settings = TrainingSettings.model_validate({"embedding_dim": 9})
    with pytest.raises(UserError, match=r"glove\.txt:1: 8 numbers after the word, 9 expected"):
        module.run_fn(workbench.fn_args(tmp_path, training=settings))


def test_device_on_this_machine_is_the_cpu() -> None:
    device = prepare_device(2)
    assert (device.description, device.gpus) == ("CPU, 2 threads", 0)
    model = build_model(ModelSettings(), np.zeros((10, 4), np.float32), None, 3)
    assert uses_cudnn(model, 5) is False
