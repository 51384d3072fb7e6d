"""Entry point of the Tuner node: a KerasTuner search whose trials call the Trainer's function."""

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

from components.contracts import artifact_files
from components.contracts.progress import Note
from components.contracts.record import Record
from components.contracts.training_report import EvalMetrics, TrainingReport
from components.errors import UserError
from components.model.model_settings import ModelSettings
from components.training import run_fn
from components.training.training_settings import PhaseSettings, TrainingSettings
from components.tuning.tuning_settings import (
    Range,
    TuningSettings,
    annotation,
    apply,
    check_tuning,
    current,
)

_ORACLES = {"bayesian": BayesianOptimizationOracle, "random": RandomSearchOracle}
_DIRECTIONS = {"log_loss": "min", "accuracy": "max", "macro_f1": "max"}
# Settings of the search's extent: a search resumes when they change.
_EXTENT = {"enabled", "trials"}


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """Creates the search, or resumes one with the same settings and data.

    Args:
        fn_args: TFX's. ``custom_config`` is the Trainer's, with ``tuning`` (a dump of its settings)
            and ``tuning_dir``, outside the pipeline root, which has a folder for each search.

    Raises:
        UserError: the space does not fit the settings.
    """
    config = fn_args.custom_config
    model = ModelSettings.model_validate(config["model"])
    training = TrainingSettings.model_validate(config["training"])
    tuning = TuningSettings.model_validate(config["tuning"])
    check_tuning(model, training, tuning)
    folder = Path(config["tuning_dir"]) / _key(config, fn_args)
    search = Search(fn_args, model, training, tuning, folder)
    return TunerFnResult(tuner=search, fit_kwargs={"verbose": 0})


def _key(config: dict[str, Any], fn_args: FnArgs) -> str:
    """Returns a hash of all that trials and their choice depend on."""
    kept = {key: config[key] for key in config if key != "tuning_dir"}
    kept["tuning"] = {key: kept["tuning"][key] for key in kept["tuning"] if key not in _EXTENT}
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    return run_fn.state_key(kept, *run_fn.load_data(fn_args, transform, len(config["classes"])))


def make_oracle(tuning: TuningSettings, first: dict[str, Any] | None) -> Any:
    """Creates the KerasTuner oracle that picks the trials' values.

    ``first`` are the first trial's: the current settings, so that the search cannot do worse; None
    if the space does not contain them.
    """
    arguments: dict[str, Any] = {}
    if tuning.algorithm == "bayesian":
        # With KerasTuner's default, three times the number of keys, most searches would be random.
        arguments["num_initial_points"] = max(3, len(tuning.space))

    base: Any = _ORACLES[tuning.algorithm]

    class StartsFromCurrent(base):  # type: ignore[misc]
        """Sets the first trial's values; the base class picks the others."""

        def populate_space(self, trial_id: str) -> Any:
            if first is None or self.trials:
                return super().populate_space(trial_id)
            values = {key: _encoded(tuning.space[key], value) for key, value in first.items()}
            return {"status": TrialStatus.RUNNING, "values": values}

    return StartsFromCurrent(
        objective=keras_tuner.Objective(tuning.objective, _DIRECTIONS[tuning.objective]),
        max_trials=tuning.trials,
        seed=tuning.seed,
        hyperparameters=make_space(tuning),
        allow_new_entries=False,
        tune_new_entries=False,
        **arguments,
    )


def make_space(tuning: TuningSettings) -> keras_tuner.HyperParameters:
    """Converts the space for KerasTuner; choices are JSON texts, since it takes no lists."""
    space = keras_tuner.HyperParameters()
    for key, values in tuning.space.items():
        if values.choices:
            space.Choice(key, [_encoded(values, choice) for choice in values.choices])
        elif annotation(key) is int:
            space.Int(key, values.low, values.high, sampling=values.scale)
        else:
            space.Float(key, values.low, values.high, sampling=values.scale)
    return space


def _encoded(allowed: Range, value: Any) -> Any:
    return json.dumps(value) if allowed.choices else value


def decoded(tuning: TuningSettings, values: dict[str, Any]) -> dict[str, Any]:
    """Converts a trial's values to those of the settings, by dotted key."""
    plain = {}
    for key, value in values.items():
        allowed = tuning.space[key]
        if allowed.choices:
            plain[key] = json.loads(value)
        else:
            # KerasTuner may exceed the bounds by a rounding error, or by 1 for an integer.
            bounded = min(max(value, allowed.low or 0), allowed.high or 0)
            plain[key] = annotation(key)(bounded)
    return plain


class TrialResult(Record):
    """A trial's metrics, or why it failed."""

    values: dict[str, Any] = {}  # noqa: RUF012
    eval: EvalMetrics | None = None
    error: str = ""


class Search(base_tuner.BaseTuner):  # type: ignore[misc]
    """Runs the Trainer's function for each trial, and saves the trial's metrics.

    A search resumes by starting over: the oracle picks the same values again, and trials whose
    metrics were saved are not trained again. So KerasTuner's own files, which a kill may leave
    unreadable, are not needed.
    """

    def __init__(
        self,
        fn_args: FnArgs,
        model: ModelSettings,
        training: TrainingSettings,
        tuning: TuningSettings,
        folder: Path,
    ) -> None:
        """Resumes the search in ``folder``, or starts it."""
        self._fn_args, self._model, self._training = fn_args, model, training
        self._tuning = tuning
        self._results = folder / "results"
        self._error = ""
        super().__init__(
            make_oracle(tuning, current(model, training, tuning)),
            directory=str(folder),
            project_name="keras_tuner",
            overwrite=True,
        )

    def on_search_begin(self) -> None:
        """Logs how many trials are done."""
        done = len(list(self._results.glob("*.json")))
        trials = f"{min(done, self._tuning.trials)} of {self._tuning.trials} trials done"
        by = f"by {self._tuning.objective} on the eval split"
        logging.info("%s", Note(f"tuning: {trials}, {by}"))

    def run_trial(self, trial: Any, **_: Any) -> dict[str, float]:
        """Trains with the values; returns the exported model's metrics on the eval split."""
        values = decoded(self._tuning, trial.hyperparameters.values)
        text = json.dumps(values, sort_keys=True)
        kept = self._results / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
        done = TrialResult.find(kept)
        if done is None or not (done.eval or done.error):
            try:
                self._train(values, kept)
            except Exception as error:
                # KerasTuner would count it as a bad trial and continue.
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
        """Runs the Trainer's function, which resumes a killed run, and writes the result."""
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
            result = TrialResult(values=values, eval=report.eval)
        except UserError as error:
            # For example, a learning rate at which the loss diverges: other trials may succeed.
            result = TrialResult(values=values, error=str(error))
        finally:
            keras.backend.clear_session()
        result.write(kept)
        shutil.rmtree(place, ignore_errors=True)

    def on_trial_end(self, trial: Any) -> None:
        """Records the trial; raises UserError after too many failed trials in a row."""
        try:
            super().on_trial_end(trial)
        except RuntimeError:
            raise UserError(
                f"tuning: trial after trial failed; the last one: {self._error}; "
                "narrow tuning.space"
            ) from None

    def on_search_end(self) -> None:
        """Raises UserError if no trial finished."""
        trials = self.oracle.trials.values()
        if not any(trial.status == TrialStatus.COMPLETED for trial in trials):
            raise UserError(
                f"tuning: every trial failed; the last one: {self._error}; narrow tuning.space"
            )


def short(training: TrainingSettings, epochs: int) -> TrainingSettings:
    """Limits the epochs per phase, 0 for no limit, and turns histograms off."""
    changes: dict[str, Any] = {"histogram_every": 0}
    if epochs:
        changes |= {
            name: value.model_copy(update={"epochs": min(value.epochs, epochs)})
            for name, value in training
            if isinstance(value, PhaseSettings)
        }
    return training.model_copy(update=changes)


def shown(values: dict[str, Any]) -> str:
    """Formats values for a log line, numbers with four digits."""
    return ", ".join(
        f"{key} = {value:.4g}" if isinstance(value, float) else f"{key} = {json.dumps(value)}"
        for key, value in values.items()
    )
