"""Training: two phases, best weights over both, early stop, NaN stop, resume after a kill."""

import json
import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.special import log_softmax

from components.contracts.progress import EpochProgress, progress_in
from components.errors import UserError
from components.model.architectures import (
    CATEGORY_LAYER_OF,
    DEEP_LAYER,
    EMBEDDING_LAYER,
    adapt,
    build_model,
)
from components.model.layers import WideNgrams
from components.model.model_settings import ModelSettings
from components.training.checkpoint import (
    State,
    load_state,
    prune_states,
    save_state,
    seed_states,
)
from components.training.dataset import category_groups, make_examples
from components.training.export import rebuild_for_serving
from components.training.objective import eval_metrics
from components.training.phase import Phase, make_phases, predict_logits
from components.training.training_loop import Outcome
from components.training.training_loop import train as train_phases
from components.training.training_settings import TrainingSettings, check_settings

pytestmark = pytest.mark.slow

MODEL = ModelSettings(lstm_units=4, dense_units=8, wide_ngrams=0)
MATRIX = np.random.default_rng(1).normal(size=(45, 6)).astype(np.float32)


def settings_of(**changes) -> TrainingSettings:
    return TrainingSettings.model_validate({
        "phase1": {"epochs": 2, "learning_rate": 0.03, "schedule": "constant"},
        "phase2": {"epochs": 2, "learning_rate": 0.03, "schedule": "constant"},
        "category_loss": 0.0, "logit_adjustment": 0.0,
        "batch_size": 16, "length_buckets": [6], "histogram_every": 0, **changes,
    })  # fmt: skip


def splits():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, size=200)
    tokens = random.integers(2, 40, size=(200, 12))
    tokens[:, :3] = 40 + labels[:, None]
    return make_examples(tokens[:150], labels[:150]), make_examples(tokens[150:], labels[150:])


def fit(model: keras.Model, data, folder: Path, settings: TrainingSettings, callbacks=()):
    return train_phases(
        model, make_phases(model, settings), *data, state_dir=folder / "state",
        log_dir=folder / "logs", callbacks=callbacks,
    )  # fmt: skip


def train(folder: Path, settings: TrainingSettings, callbacks=()) -> tuple[keras.Model, Outcome]:
    keras.utils.set_random_seed(3)
    model = build_model(MODEL, MATRIX, None, 3)
    return model, fit(model, splits(), folder, settings, callbacks)


def eval_log_loss(model: keras.Model, settings: TrainingSettings) -> float:
    _, evaluation = splits()
    logits = predict_logits(model, evaluation, settings)
    shares = log_softmax(logits, axis=1)
    return float(-shares[np.arange(evaluation.size), evaluation.labels].mean())


class Embeddings(keras.callbacks.Callback):
    """Keeps the word vectors at each epoch's end."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[np.ndarray] = []

    def on_epoch_end(self, *_):
        self.seen.append(self.model.get_layer(EMBEDDING_LAYER).get_weights()[0])


def test_word_vectors_are_frozen_in_phase_1_and_trained_in_phase_2(tmp_path) -> None:
    watch = Embeddings()
    _, outcome = train(tmp_path, settings_of(), callbacks=[watch])
    assert [(r["phase"], r["epoch"]) for r in outcome.history] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    np.testing.assert_array_equal(watch.seen[1], MATRIX)
    assert np.abs(watch.seen[2] - MATRIX).max() > 1e-3
    assert outcome.history[-1]["val_log_loss"] < outcome.history[0]["val_log_loss"]
    assert list((tmp_path / "logs" / "phase2" / "validation").iterdir())


def test_phases_freeze_the_layers_that_their_patterns_name(tmp_path) -> None:
    """Not two phases and not their patterns: what is trained follows from the list alone."""
    keras.utils.set_random_seed(3)
    model = build_model(MODEL, MATRIX, None, 3)
    before = {layer.name: layer.get_weights() for layer in model.layers}
    settings = settings_of()
    phases = [Phase("phase2", ("embed*", "*lstm*", "hidden"), settings.phase2, settings)]
    outcome = train_phases(
        model, phases, *splits(), state_dir=tmp_path / "state", log_dir=tmp_path / "logs"
    )
    assert [(r["phase"], r["epoch"]) for r in outcome.history] == [(1, 1), (1, 2)]
    changed = {
        layer.name
        for layer in model.layers
        if any(
            (old != new).any()
            for old, new in zip(before[layer.name], layer.get_weights(), strict=True)
        )
    }
    assert changed == {"deep_logits"}
    assert (tmp_path / "logs" / "phase2").is_dir()


def test_a_ruinous_phase_2_leaves_the_best_weights_of_phase_1(tmp_path) -> None:
    settings = settings_of(phase2={"epochs": 9, "learning_rate": 1.0, "patience": 2})
    model, outcome = train(tmp_path, settings)
    worst = max(record["val_log_loss"] for record in outcome.history[2:])
    assert worst > outcome.best["val_log_loss"]
    assert outcome.best["val_log_loss"] == min(r["val_log_loss"] for r in outcome.history)
    assert eval_log_loss(model, settings) == pytest.approx(outcome.best["val_log_loss"], rel=1e-4)


def test_each_phase_stops_by_its_own_patience(tmp_path) -> None:
    # Accuracy reaches 1 and can rise no more, in both phases.
    phase = {"epochs": 30, "learning_rate": 0.03, "patience": 2}
    settings = settings_of(phase1=phase, phase2={**phase, "patience": 4}, monitor="accuracy")
    _, outcome = train(tmp_path, settings)
    for number, patience in ((1, 2), (2, 4)):
        values = [r["val_accuracy"] for r in outcome.history if r["phase"] == number]
        assert len(values) < 30
        assert values.index(max(values)) == len(values) - 1 - patience


class Ruin(keras.callbacks.Callback):
    """Makes the logits NaN after the second epoch's fifth step."""

    def on_epoch_begin(self, epoch, *_):
        self._epoch = epoch

    def on_train_batch_end(self, batch, **_):
        if (self._epoch, batch) == (1, 4):
            self.model.get_layer("deep_logits").bias.assign([np.nan] * 3)


def test_nan_stops_with_phase_epoch_step_and_advice(tmp_path) -> None:
    with pytest.raises(UserError) as raised:
        train(tmp_path, settings_of(), callbacks=[Ruin()])
    assert str(raised.value) == (
        "phase 1, epoch 2, step 6: the loss is not a number; lower training.phase1.learning_rate "
        "(now 0.03) or set training.clip_norm to 1"
    )
    assert len(load_state(tmp_path / "state").history) == 1


def test_state_of_another_model_is_not_used(tmp_path) -> None:
    other = [np.zeros((2, 2), np.float32)]
    record = {"phase": 2, "epoch": 1, "val_log_loss": 0.5}
    save_state(tmp_path / "state", State([record], other, other, [], []))
    _, outcome = train(tmp_path, settings_of())
    assert outcome.resumed_epochs == 0
    assert len(outcome.history) == 4


def test_state_file_is_old_or_new_and_whole(tmp_path, monkeypatch) -> None:
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(7)]
    save_state(tmp_path, State([{"val_log_loss": 0.1 + 0.2}], arrays, arrays, arrays, []))

    def die(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", die)
    with pytest.raises(KeyboardInterrupt):
        save_state(tmp_path, State())
    state = load_state(tmp_path)
    assert state.history == [{"val_log_loss": 0.1 + 0.2}]
    np.testing.assert_array_equal(state.weights[0], arrays[0])
    assert state.optimizer[1].shape == ()
    for damaged in (b"PK\x03\x04 cut short", b""):
        (tmp_path / "state.npz").write_bytes(damaged)
        assert load_state(tmp_path) is None


def test_only_the_newest_states_of_other_settings_are_kept(tmp_path) -> None:
    for age, key in enumerate(["new", "mine", "old", "older", "oldest"]):
        save_state(tmp_path / key, State())
        os.utime(tmp_path / key / "state.npz", (1e9 - age, 1e9 - age))
    # Killed in its first save.
    (tmp_path / "unsaved").mkdir()
    (tmp_path / "unsaved" / ".state.npz.0123.tmp").write_bytes(b"PK")
    prune_states(tmp_path, "mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "new", "old"]


def test_dropout_generators_are_found() -> None:
    model = build_model(ModelSettings(lstm_units=2), MATRIX, None, 3)
    # Three dropout layers and two LSTMs.
    assert len(seed_states(model)) == 5
    assert all(variable.shape == (2,) for variable in seed_states(model))


def test_cosine_schedule_falls_over_the_whole_phase_to_its_final_rate() -> None:
    settings = settings_of(
        phase2={"epochs": 4, "learning_rate": 0.5, "schedule": "cosine", "final_rate": 0.2}
    )
    constant, cosine = make_phases(build_model(MODEL, MATRIX, None, 3), settings)
    optimizer = cosine.make_optimizer(25)
    for step in range(120):
        optimizer.iterations.assign(step)
        height = 0.5 * (1 + math.cos(math.pi * min(step / 100, 1)))
        expected = 0.5 * (0.2 + 0.8 * height)
        assert float(optimizer.learning_rate) == pytest.approx(expected, rel=1e-6)
    optimizer = constant.make_optimizer(25)
    optimizer.iterations.assign(99)
    assert float(optimizer.learning_rate) == pytest.approx(0.03)


def test_objective_adds_up_what_the_model_has(tmp_path) -> None:
    keras.utils.set_random_seed(3)
    tokens = keras.Input((None,), dtype="int32")
    pooled = keras.layers.GlobalMaxPooling1D()(
        keras.layers.Embedding(45, 6, name=EMBEDDING_LAYER)(tokens)
    )
    fine = keras.layers.Dense(5, name=CATEGORY_LAYER_OF[DEEP_LAYER])(pooled)
    model = keras.Model(tokens, keras.layers.Dense(3, name="logits")(fine))
    train_split, evaluation = splits()
    # Two categories of class 0; papers of the others have none.
    train_split, evaluation = (
        make_examples(e.tokens, e.labels, np.where(e.labels == 0, e.tokens[:, 3] % 2, -1))
        for e in (train_split, evaluation)
    )
    outcome = fit(model, (train_split, evaluation), tmp_path, settings_of(category_loss=2.0))
    for record in outcome.history:
        expected = record["val_log_loss"] + 2.0 * record["val_deep_category_logits_loss"]
        assert record["val_loss"] == pytest.approx(expected, rel=1e-4)
    losses = [record["val_deep_category_logits_loss"] for record in outcome.history]
    assert losses[-1] < losses[0]


def test_each_path_that_is_not_frozen_learns_by_its_own_loss() -> None:
    def weights_of(model: keras.Model) -> list[dict[str, float]]:
        return [phase.loss_weights(model) for phase in make_phases(model, settings_of())]

    deep_only = build_model(MODEL, MATRIX, None, 3)
    assert weights_of(deep_only) == [{"logits": 1.0}, {"logits": 1.0}]
    both = build_model(ModelSettings(lstm_units=4, wide_ngrams=8), MATRIX, None, 3)
    assert weights_of(both) == [
        {"logits": 0.0, "deep_logits": 1.0, "wide_logits": 1.0, "by_prefix_logits": 1.0},
        {"logits": 0.0, "deep_logits": 1.0},
    ]
    wide = ModelSettings(lstm_units=0, wide_ngrams=8)
    wide_only = build_model(wide, MATRIX, None, 3)
    # Without a deep path, the linear ones are what phase 2 is for.
    linear = {"logits": 0.0, "wide_logits": 1.0, "by_prefix_logits": 1.0}
    assert weights_of(wide_only) == [linear, linear]


def test_second_phase_watches_the_whole_model_and_freezes_its_linear_paths(tmp_path) -> None:
    """What it is given instead of computing it is what the model computes."""
    keras.utils.set_random_seed(7)
    train_split, evaluation = splits()
    groups = category_groups(train_split, 3).tolist()
    sizes = ModelSettings(lstm_units=4, dense_units=8, wide_ngrams=256)
    model = build_model(sizes, MATRIX, None, 3, groups=groups)
    adapt(model, train_split.tokens, [f"word{i}" for i in range(len(MATRIX) - 2)])
    tables: list[list[np.ndarray]] = []
    figures: list[dict[str, float]] = []
    settings = settings_of(category_loss=1.0)

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            del epoch, logs
            layers = [layer for layer in model.layers if isinstance(layer, WideNgrams)]
            tables.append([np.array(layer.table) for layer in layers])
            figures.append(
                eval_metrics(predict_logits(model, evaluation, settings), evaluation.labels)
            )

    outcome = fit(model, (train_split, evaluation), tmp_path, settings, [Watch()])
    for record, expected in zip(outcome.history, figures, strict=True):
        for name, value in expected.items():
            assert record[f"val_{name}"] == pytest.approx(value, rel=1e-4)
    phases = [record["phase"] for record in outcome.history]
    last = phases.index(2) - 1
    assert any(table.any() for table in tables[last])
    best = [record["val_log_loss"] for record in outcome.history[: last + 1]]
    for table, kept in zip(tables[-1], tables[int(np.argmin(best))], strict=True):
        np.testing.assert_array_equal(table, kept)


def test_each_epoch_is_logged_as_a_progress_record(tmp_path, caplog) -> None:
    caplog.set_level("INFO", logger="absl")
    _, outcome = train(tmp_path, settings_of())
    seen = [found for found in map(progress_in, caplog.records) if found is not None]
    assert all(isinstance(progress, EpochProgress) for progress in seen)
    assert [(p.phase, p.epoch, p.epochs, p.done) for p in seen] == [
        (1, 1, 2, False), (1, 2, 2, True), (2, 1, 2, False), (2, 2, 2, True)
    ]  # fmt: skip
    losses = [record["val_log_loss"] for record in outcome.history]
    for index, (progress, record) in enumerate(zip(seen, outcome.history, strict=True)):
        for name in ("loss", "val_log_loss", "val_accuracy", "val_macro_f1", "learning_rate"):
            assert getattr(progress, name) == record[name]
        assert progress.improved == (losses[index] == min(losses[: index + 1]))


def test_settings_of_model_and_training_must_agree() -> None:
    with pytest.raises(UserError, match=r"training\.length_buckets .* reads its padding"):
        check_settings(ModelSettings(architecture="notebook"), settings_of())
    check_settings(ModelSettings(architecture="notebook"), settings_of(length_buckets=[]))
    with pytest.raises(ValueError, match="positive and ascending"):
        settings_of(length_buckets=[9, 3])


def run_part(part: str, folder: Path) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).with_name("killed_run.py")
    return subprocess.run(
        [sys.executable, str(script), part, str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.timeout(300)
def test_killed_training_goes_on_to_the_same_weights(tmp_path) -> None:
    first = run_part("first", tmp_path)
    assert first.returncode == 9, first.stderr
    second = run_part("second", tmp_path)
    assert second.returncode == 0, second.stderr
    whole, resumed = np.load(tmp_path / "whole.npz"), np.load(tmp_path / "resumed.npz")
    assert len(whole.files) > 5
    for name in whole.files:
        np.testing.assert_array_equal(whole[name], resumed[name])
    records = json.loads((tmp_path / "whole.json").read_text())
    again = json.loads((tmp_path / "resumed.json").read_text())
    assert again["history"] == records["history"]
    assert (records["resumed"], again["resumed"]) == (0, 5)


@pytest.mark.timeout(300)
def test_two_mirrored_devices_learn_too(tmp_path) -> None:
    done = run_part("mirrored", tmp_path)
    assert done.returncode == 0, done.stderr
    history = json.loads((tmp_path / "mirrored.json").read_text())["history"]
    assert len(history) == 6
    assert history[-1]["val_log_loss"] < history[0]["val_log_loss"] - 0.05
    assert all(0 <= record["val_accuracy"] <= 1 for record in history)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_learns_and_keeps_float32_logits(tmp_path, precision: str) -> None:
    settings = settings_of(mixed_precision=precision, category_loss=1.0)
    model_settings = ModelSettings(lstm_units=4, dense_units=8, wide_ngrams=256)
    keras.utils.set_random_seed(5)
    train_split, evaluation = splits()
    groups = category_groups(train_split, 3).tolist()
    keras.config.set_dtype_policy(precision)
    try:
        model = build_model(model_settings, MATRIX, None, 3, groups=groups)
        adapt(model, train_split.tokens, [f"word{i}" for i in range(len(MATRIX) - 2)])
        outcome = fit(model, (train_split, evaluation), tmp_path, settings)
    finally:
        keras.config.set_dtype_policy("float32")
    assert outcome.best["val_accuracy"] > 0.8
    build = partial(build_model, model_settings, sequence_length=None, classes=3, groups=groups)
    serving = rebuild_for_serving(model, build, MATRIX.shape)
    logits = predict_logits(serving, evaluation, settings)
    assert logits.dtype == np.float32
    # The same weights, computed in float32, decide alike.
    mixed = predict_logits(model, evaluation, settings)
    assert (logits.argmax(axis=1) == mixed.argmax(axis=1)).mean() > 0.95
