"""Entry point of the Tuner node: a KerasTuner search whose trials are the Trainer's own runs."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import attr
import keras
import keras_tuner
import tensorflow_transform as tft
from absl import logging
from keras_tuner.engine import base_tuner
from keras_tuner.engine.trial import TrialStatus
from keras_tuner.errors import FailedTrialError, FatalError
from keras_tuner.oracles import BayesianOptimizationOracle, RandomSearchOracle
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.components.tuner.component import TunerFnResult

from components.contracts import artifact_files, features
from components.contracts.progress import Note
from components.contracts.record import Record
from components.contracts.training_report import Epoch, EvalMetrics, TrainingReport
from components.errors import UserError
from components.model.model_settings import ModelSettings
from components.training import dataset, run_fn
from components.training.training_settings import PhaseSettings, TrainingSettings
from components.tuning.tuning_settings import (
    Range,
    TuningSettings,
    annotation,
    apply,
    check_tuning,
    current,
)


class _FromCurrent:
    """Gives the first trial values of its own; the others are the base class's business."""

    first: dict[str, Any] | None = None

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        if self.first is not None and not self.trials:  # type: ignore[attr-defined]
            return {"status": TrialStatus.RUNNING, "values": self.first}
        return super().populate_space(trial_id)  # type: ignore[misc]


class _Bayesian(_FromCurrent, BayesianOptimizationOracle):  # type: ignore[misc]
    pass


class _Random(_FromCurrent, RandomSearchOracle):  # type: ignore[misc]
    pass


_ORACLES = {"bayesian": _Bayesian, "random": _Random}
_DIRECTIONS = {"log_loss": "min", "accuracy": "max", "macro_f1": "max"}
_RESULTS = "results"
# Settings that say how far to search, not what: a search goes on when they change.
_EXTENT = {"enabled", "trials"}


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """Makes the search.

    Args:
        fn_args: TFX's. ``custom_config`` holds what the Trainer's does, and ``tuning`` (a dump of
            its settings) and ``tuning_dir``, outside the pipeline root. There each search has a
            folder of its own, so that the next call with the same settings and data goes on with
            it.

    Raises:
        UserError: the space does not fit the settings.
    """
    config = fn_args.custom_config
    model = ModelSettings.model_validate(config["model"])
    training = TrainingSettings.model_validate(config["training"])
    tuning = TuningSettings.model_validate(config["tuning"])
    check_tuning(model, training, tuning)
    folder = Path(config["tuning_dir"])
    name = _key(config, fn_args)
    try:
        search = Search(fn_args, model, training, tuning, folder, name)
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        # Killed while KerasTuner wrote its files. The results of finished trials are files of ours.
        logging.warning("tuning: the state in %s cannot be read: %s", folder / name, error)
        for path in (folder / name).iterdir():
            if path.name.startswith("trial_"):
                shutil.rmtree(path)
            elif path.suffix == ".json":
                path.unlink()
        search = Search(fn_args, model, training, tuning, folder, name)
    return TunerFnResult(tuner=search, fit_kwargs={"verbose": 0})


def _key(config: dict[str, Any], fn_args: FnArgs) -> str:
    """Hash of all that a trial's result depends on, and of how trials are picked."""
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    schema = transform.transformed_metadata.schema
    splits = [
        dataset.load_examples(files, fn_args.data_accessor, schema, len(config["classes"]), split)
        for files, split in (
            (fn_args.train_files, features.TRAIN),
            (fn_args.eval_files, features.EVAL),
        )
    ]
    words = Path(transform.vocabulary_file_by_name(features.VOCABULARY)).read_bytes()
    kept = {key: config[key] for key in config if key not in ("checkpoint_dir", "tuning_dir")}
    kept["tuning"] = {key: kept["tuning"][key] for key in kept["tuning"] if key not in _EXTENT}
    parts = [json.dumps(kept, sort_keys=True), hashlib.sha256(words).hexdigest()]
    parts += [split.digest() for split in splits]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def make_oracle(tuning: TuningSettings, first: dict[str, Any] | None) -> Any:
    """Picks the trials' values, by the search's own seed.

    Args:
        first: what the first trial takes, so that the search cannot do worse than the settings as
            they are; None where the space does not hold them.
    """
    arguments: dict[str, Any] = {}
    if tuning.algorithm == "bayesian":
        # KerasTuner's own, three times the number of keys, would make most searches random.
        arguments["num_initial_points"] = max(3, len(tuning.space))
    made = _ORACLES[tuning.algorithm](
        objective=keras_tuner.Objective(tuning.objective, _DIRECTIONS[tuning.objective]),
        max_trials=tuning.trials,
        seed=tuning.seed,
        hyperparameters=make_space(tuning),
        allow_new_entries=False,
        tune_new_entries=False,
        **arguments,
    )
    if first is not None:
        made.first = {key: _encoded(tuning.space[key], value) for key, value in first.items()}
    return made


def make_space(tuning: TuningSettings) -> keras_tuner.HyperParameters:
    """The space in KerasTuner's terms; choices are JSON texts, since it takes no lists."""
    space = keras_tuner.HyperParameters()
    for key, values in tuning.space.items():
        if values.choices:
            space.Choice(key, [_encoded(values, choice) for choice in values.choices])
        elif annotation(key) is int:
            space.Int(key, int(values.low or 0), int(values.high or 0), sampling=values.scale)
        else:
            space.Float(key, values.low, values.high, sampling=values.scale)
    return space


def _encoded(allowed: Range, value: Any) -> Any:
    return json.dumps(value) if allowed.choices else value


def decoded(tuning: TuningSettings, values: dict[str, Any]) -> dict[str, Any]:
    """Values of a trial as the settings take them, by dotted key."""
    plain = {}
    for key, value in values.items():
        allowed = tuning.space[key]
        if allowed.choices:
            plain[key] = json.loads(value)
        else:
            # KerasTuner's numbers may lie a rounding, an integer even one, beyond the bounds.
            bounded = min(max(value, allowed.low or 0), allowed.high or 0)
            plain[key] = annotation(key)(bounded)
    return plain


class TrialResult(Record):
    """What a trial came to: its metrics, or why it failed."""

    values: dict[str, Any] = {}  # noqa: RUF012
    eval: EvalMetrics | None = None
    seconds: float = 0.0
    best: Epoch = Epoch()
    error: str = ""


class Search(base_tuner.BaseTuner):  # type: ignore[misc]
    """Runs the Trainer's function for each trial, and keeps the trial's metrics at once."""

    def __init__(
        self,
        fn_args: FnArgs,
        model: ModelSettings,
        training: TrainingSettings,
        tuning: TuningSettings,
        folder: Path,
        name: str,
    ) -> None:
        """Takes up the search in ``folder / name``, or starts it.

        Raises:
            ValueError, KeyError, OSError, RuntimeError: its files cannot be read.
        """
        self._fn_args, self._model, self._training = fn_args, model, training
        self._tuning = tuning
        self._results = folder / name / _RESULTS
        self._error = ""
        super().__init__(
            make_oracle(tuning, current(model, training, tuning)),
            directory=str(folder),
            project_name=name,
        )

    def on_search_begin(self) -> None:
        """Says how many trials are left, and makes the search one that can be taken up."""
        done = len(self.oracle.end_order)
        trials = f"{min(done, self._tuning.trials)} of {self._tuning.trials} trials done"
        by = f"by {self._tuning.objective} on the eval split"
        logging.info("%s", Note(f"tuning: {trials}, {by}"))
        self.save()

    def run_trial(self, trial: Any, **_: Any) -> dict[str, float]:
        """Trains with the trial's values.

        Returns:
            The eval-split metrics of what would be exported: log_loss, accuracy, macro_f1.
        """
        values = decoded(self._tuning, trial.hyperparameters.values)
        text = json.dumps(values, sort_keys=True)
        kept = self._results / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
        if not kept.is_file():
            try:
                self._train(values, kept)
            except Exception as error:
                # KerasTuner would take it for a bad trial and go on.
                raise FatalError(str(error)) from error
        result = TrialResult.read(kept)
        which = f"tuning: trial {int(trial.trial_id) + 1} of {self._tuning.trials}"
        if result.eval is None:
            self._error = result.error
            logging.info("%s", Note(f"{which} failed: {self._error}"))
            raise FailedTrialError(self._error)
        metrics = result.eval.model_dump()
        measured = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        logging.info("%s", Note(f"{which}: {measured}; {shown(values)}"))
        return metrics

    def _train(self, values: dict[str, Any], kept: Path) -> None:
        """Runs the Trainer's function and writes the result; a killed run is taken up there."""
        place = self._results.parent / "training"
        shutil.rmtree(place / "model", ignore_errors=True)
        shutil.rmtree(place / "run", ignore_errors=True)
        try:
            model, training = apply(self._model, self._training, values)
            config = {
                **self._fn_args.custom_config,
                "model": model.model_dump(mode="json"),
                "training": short(training, self._tuning.epochs).model_dump(mode="json"),
                "checkpoint_dir": str(place / "checkpoints"),
            }
            run_fn.run_fn(
                attr.evolve(
                    self._fn_args,
                    transform_output=self._fn_args.transform_graph_path,
                    serving_model_dir=str(place / "model"),
                    model_run_dir=str(place / "run"),
                    custom_config=config,
                )
            )
            report = TrainingReport.read(place / "run" / artifact_files.TRAINING_REPORT)
            result = TrialResult(
                values=values, eval=report.eval, seconds=report.seconds, best=report.best
            )
        except UserError as error:
            # Such as a learning rate at which the loss is not a number: the others may do.
            result = TrialResult(values=values, error=str(error))
        finally:
            keras.backend.clear_session()
        result.write(kept)
        shutil.rmtree(place, ignore_errors=True)

    def on_trial_end(self, trial: Any) -> None:
        """Files the trial.

        Raises:
            UserError: as many in a row failed as KerasTuner allows.
        """
        try:
            super().on_trial_end(trial)
        except RuntimeError:
            raise UserError(
                f"tuning: trial after trial failed; the last one: {self._error}; "
                "narrow tuning.space"
            ) from None

    def on_search_end(self) -> None:
        """Refuses a search of which nothing came.

        Raises:
            UserError: no trial finished.
        """
        trials = self.oracle.trials.values()
        if not any(trial.status == TrialStatus.COMPLETED for trial in trials):
            raise UserError(
                f"tuning: every trial failed; the last one: {self._error}; narrow tuning.space"
            )


def short(training: TrainingSettings, epochs: int) -> TrainingSettings:
    """The same training with at most ``epochs`` a phase, 0 for no limit, and no histograms."""
    changes: dict[str, Any] = {"histogram_every": 0}
    if epochs:
        changes |= {
            name: value.model_copy(update={"epochs": min(value.epochs, epochs)})
            for name, value in training
            if isinstance(value, PhaseSettings)
        }
    return training.model_copy(update=changes)


def shown(values: dict[str, Any]) -> str:
    """Values for a line of the log, numbers to four digits."""
    return ", ".join(
        f"{key} = {value:.4g}" if isinstance(value, float) else f"{key} = {json.dumps(value)}"
        for key, value in values.items()
    )
