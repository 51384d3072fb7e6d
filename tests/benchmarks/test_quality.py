"""What the quality benchmark keeps between calls, and what its candidates train with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import quality
import typer

from components.contracts import features
from components.model.model_settings import ModelSettings
from components.training.training_settings import TrainingSettings, check_settings

TRAINER = {
    "model": ModelSettings().model_dump(mode="json"),
    "training": TrainingSettings().model_dump(mode="json"),
    "glove_sha256": "0",
}


@pytest.fixture
def data(tmp_path: Path) -> quality.Data:
    split = quality.Split(["one", "two"], np.array([0, 1]))
    return quality.Data(
        splits=dict.fromkeys(features.SPLITS, split), classes=["a", "b"], examples=tmp_path,
        transform_graph=tmp_path, trainer=TRAINER, transform="t", folder=tmp_path / "kept",
    )  # fmt: skip


def candidate(identity: str, value: float, *, test: bool = True) -> quality.Candidate:
    def train(state: Path) -> tuple[Any, Any, dict[str, Any]]:
        assert state.is_dir()
        scores = np.full((2, 2), value)
        return scores, scores + 1 if test else None, {"seconds": 1.0, "history": [{"epoch": 1}]}

    return quality.Candidate("model", quality.PIPELINE, 3, {"code": identity}, train)


def said(_: str) -> None:
    """Takes a line for the terminal."""


def test_finished_candidates_are_kept_with_commit_and_hardware(data: quality.Data) -> None:
    first = candidate("first", 1.0)
    assert quality.kept_result(first, data, older=False) is None
    quality.finish(first, data, said)
    kept = quality.kept_result(first, data, older=False)
    assert kept is not None
    np.testing.assert_array_equal(kept.eval_scores, np.ones((2, 2)))
    np.testing.assert_array_equal(kept.test_scores, np.full((2, 2), 2.0))
    assert kept.meta["history"] == [{"epoch": 1}]
    assert {"commit", "processor", "processor_seconds", "finished"} <= kept.meta.keys()
    assert not list((data.folder / "unfinished").iterdir())


def test_ablations_keep_no_test_scores(data: quality.Data) -> None:
    assert quality.finish(candidate("a", 1.0, test=False), data, said).test_scores is None


def test_results_of_other_code_or_papers_are_not_taken_unless_asked_for(
    data: quality.Data,
) -> None:
    quality.finish(candidate("first", 1.0), data, said)
    edited = candidate("edited", 2.0)
    assert quality.kept_result(edited, data, older=False) is None
    older = quality.kept_result(edited, data, older=True)
    assert older is not None
    assert older.eval_scores[0, 0] == 1.0
    other_seed = replace(edited, seed=4)
    assert quality.kept_result(other_seed, data, older=True) is None
    other_papers = replace(
        data,
        splits={
            name: quality.Split(["x", "y"], split.labels) for name, split in data.splits.items()
        },
    )
    assert quality.kept_result(edited, other_papers, older=True) is None


def test_each_ablation_is_a_valid_configuration_of_its_own() -> None:
    changes = quality.ablations(TrainingSettings())
    made = [quality.changed(TRAINER, 7, change) for change in changes.values()]
    for config in made:
        training = TrainingSettings.model_validate(config["training"])
        check_settings(ModelSettings.model_validate(config["model"]), training)
        assert training.seed == 7
    plain = quality.changed(TRAINER, 7, {})
    assert all(config != plain for config in made)
    assert len({repr(config) for config in made}) == len(changes)
    still = quality.changed(TRAINER, 7, changes["phase 1 as long as both"])["training"]
    whole = TrainingSettings()
    assert still["phase1"]["epochs"] == whole.phase1.epochs + whole.phase2.epochs
    for name in ("without phase 2", "phase 1 as long as both"):
        last = quality.changed(TRAINER, 7, changes[name])["training"]["phase2"]
        assert last["epochs"] * last["learning_rate"] < 1e-8


def test_calibration_ablations_undo_what_the_export_did() -> None:
    random = np.random.default_rng(0)
    logits, bias, temperature = random.normal(size=(50, 2)), np.array([0.3, -0.1]), 1.7
    labels = random.integers(0, 2, 50)
    exported = quality.objective.log_softmax((logits + bias) / temperature, axis=1)
    meta = {"temperature": temperature, "logit_bias": bias.tolist()}
    result = quality.Result("pipeline", quality.PIPELINE, 1, exported, exported, meta)
    unadjusted, uncalibrated = quality.without_calibration(result, labels)
    for part, scores in ((unadjusted, logits), (uncalibrated, logits + bias)):
        assert (part.kind, part.seed, part.test_scores) == (quality.ABLATION, 1, None)
        np.testing.assert_allclose(
            quality.objective.log_softmax(part.eval_scores * part.meta["temperature"], axis=1),
            quality.objective.log_softmax(scores, axis=1),
            atol=1e-9,
        )
    assert uncalibrated.meta["temperature"] == 1.0


def test_notebooks_tables_are_what_the_notebook_did() -> None:
    tables = quality.notebook_tables(100, 5, None)
    training = tables["training"]
    phases = [
        (phase.epochs, phase.learning_rate, phase.schedule, phase.patience)
        for phase in (training.phase1, training.phase2)
    ]
    assert phases == [(8, 1e-3, "constant", 6), (50, 1e-4, "constant", 6)]
    assert (training.batch_size, training.class_weighting, training.monitor) == (64, 1, "log_loss")
    assert not training.fit_temperature
    assert training.logit_adjustment == 0
    assert tables["model"] == ModelSettings(architecture="notebook")
    transform = tables["transform"]
    assert (transform.vocabulary_size, transform.sequence_length) == (40_000, 150)
    assert quality.notebook_tables(100, 5, 2)["training"].phase2.epochs == 2


def test_notebooks_tokens_keep_the_end_of_a_text(data: quality.Data) -> None:
    split = quality.Split(["b a a", "c a b d"], np.array([0, 1]))
    data = replace(data, splits={**data.splits, features.TRAIN: split})
    settings = quality.TransformSettings(vocabulary_size=4, sequence_length=3)
    splits, words = quality.notebook_examples(data, settings)
    assert words == ["a", "b"]
    np.testing.assert_array_equal(splits[features.TRAIN].tokens, [[3, 2, 2], [2, 3, 1]])
    np.testing.assert_array_equal(splits[features.EVAL].tokens, [[1, 0, 0], [1, 0, 0]])


def test_command_lines_lists() -> None:
    assert quality.choose("svc, notebook,svc") == [
        "svc", "notebook-method", "notebook-configuration"
    ]  # fmt: skip
    assert quality.choose("linear") == list(quality.LINEAR_MODELS)
    assert quality.choose("none") == []
    with pytest.raises(typer.BadParameter, match="xgboost"):
        quality.choose("linear,xgboost")
    assert quality.numbers_of("3,1,3") == [3, 1]
    with pytest.raises(typer.BadParameter, match="expected numbers"):
        quality.numbers_of("one")
