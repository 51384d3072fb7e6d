"""The Tuner node over a small corpus: killed, taken up, extended; and what it leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from absl import logging
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.proto import trainer_pb2
from tfx.types import standard_artifacts
from tfx.utils import json_utils, proto_utils

from components.contracts.artifact_files import BEST_VALUES
from components.errors import UserError
from components.model.model_settings import ModelSettings
from components.training import run_fn as trainer
from components.training.training_settings import TrainingSettings
from components.tuning.node import TunerExecutor
from components.tuning.tuner_fn import decoded, make_oracle, make_space
from components.tuning.tuning_settings import TuningSettings
from pipeline.config.pipeline_config import load_config

MODEL = ModelSettings(lstm_units=4, dense_units=8, wide_ngrams=256)
TRAINING = TrainingSettings.model_validate({
    "phase1": {"epochs": 2, "learning_rate": 0.01}, "phase2": {"epochs": 2, "learning_rate": 0.01},
    "batch_size": 64, "embedding_dim": 8, "length_buckets": [8, 16],
})  # fmt: skip
TUNING = {
    "enabled": True, "trials": 2, "algorithm": "random", "objective": "macro_f1", "epochs": 1,
    "space": {
        "training.phase1.learning_rate": {"low": 1e-3, "high": 0.1, "scale": "log"},
        "model.lstm_pooling": {"choices": [["max"], ["max", "mean", "attention"]]},
    },
}  # fmt: skip


class Node:
    """The node, in a folder of its own, with what it trained."""

    def __init__(self, workbench: Any, folder: Path) -> None:
        self._workbench = workbench
        self.folder = folder
        self.trained: list[dict[str, Any]] = []

    def run(self, into: str, **changes: Any) -> Path:
        """Runs it; returns the folder of its best values."""
        graph = standard_artifacts.TransformGraph()
        graph.uri = str(self._workbench.graph)
        best, results = standard_artifacts.HyperParameters(), standard_artifacts.TunerResults()
        for artifact, name in ((best, "best"), (results, "results")):
            artifact.uri = str(self.folder / into / name)
            Path(artifact.uri).mkdir(parents=True)
        config = {
            **self._workbench.fn_args(self.folder, MODEL, TRAINING).custom_config,
            "tuning": TuningSettings.model_validate({**TUNING, **changes}).model_dump(mode="json"),
            "tuning_dir": str(self.folder / "tuning"),
        }
        context = BaseExecutor.Context(tmp_dir=str(self.folder / "tmp"), unique_id=into)
        TunerExecutor(context).Do(
            {"examples": [self._workbench.examples], "transform_graph": [graph]},
            {"best_hyperparameters": [best], "tuner_results": [results]},
            {
                "tuner_fn": "components.tuning.tuner_fn.tuner_fn",
                "train_args": proto_utils.proto_to_json(trainer_pb2.TrainArgs()),
                "eval_args": proto_utils.proto_to_json(trainer_pb2.EvalArgs()),
                "custom_config": json_utils.dumps(config),
            },
        )
        return Path(best.uri)


@pytest.fixture
def node(workbench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    """A node that notes what its trials train with."""
    made = Node(workbench, tmp_path)
    original = trainer.run_fn

    def noting(fn_args: Any) -> None:
        made.trained.append(fn_args.custom_config)
        original(fn_args)

    monkeypatch.setattr(trainer, "run_fn", noting)
    return made


def answering(monkeypatch: pytest.MonkeyPatch, answer: Callable[[dict[str, Any]], float]) -> None:
    """Puts a function of the settings in the place of training; it gives the log loss."""

    def run_fn(fn_args: Any) -> None:
        figure = answer(fn_args.custom_config)
        report = {
            "eval": {"log_loss": figure, "accuracy": 0.5, "macro_f1": 0.5},
            "seconds": 1.0,
            "best": {},
        }
        place = Path(fn_args.model_run_dir)
        place.mkdir(parents=True)
        (place / "training.json").write_text(json.dumps(report))

    monkeypatch.setattr(trainer, "run_fn", run_fn)


def rate(config: dict[str, Any]) -> float:
    return config["training"]["phase1"]["learning_rate"]


def test_killed_search_goes_on_and_its_best_values_are_a_configuration(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noting = trainer.run_fn

    def killed_in_the_second(fn_args: Any) -> None:
        if node.trained:
            raise KeyboardInterrupt
        noting(fn_args)

    monkeypatch.setattr(trainer, "run_fn", killed_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        node.run("killed")
    assert len(node.trained) == 1
    # The first trial is the configuration as it is, but for the epochs.
    assert node.trained[0]["model"] == MODEL.model_dump(mode="json")
    assert rate(node.trained[0]) == 0.01
    assert node.trained[0]["training"]["phase2"]["epochs"] == 1
    assert not (tmp_path / "checkpoints").exists()

    monkeypatch.setattr(trainer, "run_fn", noting)
    lines: list[str] = []
    monkeypatch.setattr(logging, "info", lambda text, *values: lines.append(text % values))
    best = node.run("resumed")
    assert len(node.trained) == 2
    assert rate(node.trained[1]) != 0.01
    results = json.loads((tmp_path / "resumed" / "results" / "tuner_results.json").read_text())
    assert len(results) == 2
    assert results[0]["score"] == max(result["score"] for result in results)
    assert any(line.startswith("tuning: 1 of 2 trials done") for line in lines)
    assert f"tuning: to train with these values: {best / BEST_VALUES}" in lines

    for name in ("papers.parquet", "glove.txt"):
        (tmp_path / name).touch()
    (tmp_path / "own.toml").write_text(
        '[run]\nname = "a"\noutput_dir = "out"\n[data]\nparquet = "papers.parquet"\n'
        f'glove = "glove.txt"\n{(best / BEST_VALUES).read_text()}'
    )
    read = load_config(tmp_path / "own.toml")
    winner = next(c for c in node.trained if rate(c) == results[0]["training.phase1.learning_rate"])
    assert read.model == ModelSettings.model_validate(winner["model"])
    # The limit on epochs was the trials' alone.
    assert read.training == TRAINING.model_copy(
        update={"phase1": TRAINING.phase1.model_copy(update={"learning_rate": rate(winner)})}
    )


def test_torn_files_and_more_trials_cost_no_finished_trial(
    workbench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []

    def noting(config: dict[str, Any]) -> float:
        rates.append(rate(config))
        return rates[-1]

    answering(monkeypatch, noting)
    node = Node(workbench, tmp_path)
    best = (node.run("first", trials=4) / BEST_VALUES).read_text()
    assert len(set(rates)) == len(rates) == 4
    (oracle,) = (tmp_path / "tuning").glob("**/oracle.json")
    oracle.write_text('{"ongoing_tri')
    assert (node.run("torn", trials=4) / BEST_VALUES).read_text() == best
    assert len(rates) == 4
    node.run("longer", trials=6)
    assert len(set(rates)) == len(rates) == 6
    node.run("other", trials=2, seed=5)
    assert len(rates) == 8


def test_bayesian_search_finds_the_best_of_a_known_function(
    workbench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, lambda config: abs(config["model"]["dense_dropout"] - 0.4))
    space = {"model.dense_dropout": {"low": 0.0, "high": 0.8}}
    best = Node(workbench, tmp_path).run(
        "out", algorithm="bayesian", objective="log_loss", trials=12, space=space
    )
    text = (best / BEST_VALUES).read_text()
    found = float(text.split("dense_dropout = ")[1].split()[0])
    assert found == pytest.approx(0.4, abs=0.03)
    assert "Best of 12 trials: log_loss 0.0" in text


def test_failed_trials_are_passed_over(
    workbench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_above(config: dict[str, Any]) -> float:
        if rate(config) > 0.01:
            raise UserError("phase 1, epoch 1, step 3: the loss is not a number")
        return rate(config)

    answering(monkeypatch, fails_above)
    best = Node(workbench, tmp_path).run("out", objective="log_loss", trials=6, seed=2)
    results = json.loads((tmp_path / "out" / "results" / "tuner_results.json").read_text())
    assert 1 < len(results) < 6
    assert min(result["score"] for result in results) == results[0]["score"] <= 0.01
    assert f"Best of {len(results)} trials" in (best / BEST_VALUES).read_text()


@pytest.mark.parametrize("trials", [2, 5])
def test_search_of_which_nothing_came_is_an_error(
    workbench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trials: int
) -> None:
    def fails(_: dict[str, Any]) -> float:
        raise UserError("the loss is not a number")

    answering(monkeypatch, fails)
    with pytest.raises(UserError, match=r"failed; the last one: the loss is not a number; narrow"):
        Node(workbench, tmp_path).run("out", trials=trials)


def test_mistakes_in_the_code_end_the_search(
    workbench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(_: dict[str, Any]) -> float:
        raise ZeroDivisionError("by nothing")

    answering(monkeypatch, breaks)
    with pytest.raises(Exception, match="by nothing") as caught:
        Node(workbench, tmp_path).run("out")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_the_same_seed_picks_the_same_values_within_the_bounds() -> None:
    tuning = TuningSettings.model_validate({
        "space": {"model.lstm_units": {"low": 3, "high": 5},
                  "model.dense_dropout": {"low": 0.1, "high": 0.2}},
    })  # fmt: skip
    picked = []
    for _ in range(2):
        oracle = make_oracle(tuning, None)
        oracle._set_project_dir("unused", "unused")
        picked.append([oracle._random_values() for _ in range(9)])
    assert picked[0] == picked[1]
    units = {decoded(tuning, values)["model.lstm_units"] for values in picked[0]}
    assert units <= {3, 4, 5}
    (integer, real) = make_space(tuning).space
    beyond = {"model.lstm_units": integer.prob_to_value(1.0), "model.dense_dropout": 0.2000001}
    assert decoded(tuning, beyond) == {"model.lstm_units": 5, "model.dense_dropout": 0.2}
    assert real.name == "model.dense_dropout"
