"""RunReport: an HTML page about a run, blessed or not."""

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from absl import logging
from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.utils import path_utils

from components import atomic
from components.contracts import artifact_files, properties
from components.evaluation.node import EvaluationMetrics
from components.predictions.node import RowPredictions
from components.report.page import TEMPLATE, render
from components.report.run_facts import Sources, collect
from components.validation.node import AcceptedData

TEMPLATE_FILE = Path(__file__).parent / "templates" / TEMPLATE


class Report(types.Artifact):
    """Folder with the page."""

    TYPE_NAME = "RunReport"


class RunReportSpec(ComponentSpec):
    """Inputs, outputs and parameters of RunReport."""

    PARAMETERS = {  # noqa: RUF012
        "pipeline": ExecutionParameter(type=str),
        "config": ExecutionParameter(type=str),
        "metadata_file": ExecutionParameter(type=str),
        "fingerprint": ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "accepted": ChannelParameter(type=AcceptedData),
        "model": ChannelParameter(type=standard_artifacts.Model),
        "metrics": ChannelParameter(type=EvaluationMetrics),
        "predictions": ChannelParameter(type=RowPredictions),
        "infra_blessing": ChannelParameter(type=standard_artifacts.InfraBlessing, optional=True),
        "pushed": ChannelParameter(type=standard_artifacts.PushedModel, optional=True),
    }
    OUTPUTS = {"report": ChannelParameter(type=Report)}  # noqa: RUF012


class RunReportExecutor(base_executor.BaseExecutor):
    """Writes the page."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        folders = {
            name: Path(artifact_utils.get_single_uri(input_dict[name]))
            for name in ("examples", "accepted", "metrics", "predictions")
        }
        model = artifact_utils.get_single_instance(input_dict["model"])
        sources = Sources(
            pipeline=exec_properties["pipeline"],
            run=(self._context.pipeline_run_id if self._context else None) or "",
            model=Path(path_utils.serving_model_path(model.uri)),
            pushed_to=_destination(input_dict.get("pushed") or []),
            held_back=_held_back(input_dict),
            config=json.loads(exec_properties["config"]),
            database=Path(exec_properties["metadata_file"]),
            artifact_ids=tuple(one.id for artifacts in input_dict.values() for one in artifacts),
            made_at=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            **folders,
        )
        page = render(collect(sources)).encode("utf-8", "replace")
        folder = Path(artifact_utils.get_single_uri(output_dict["report"]))
        atomic.write_bytes(folder / artifact_files.RUN_REPORT, page)
        logging.info(
            "run report: %s (%.0f kB)", folder / artifact_files.RUN_REPORT, len(page) / 1000
        )


def _destination(pushed: list[types.Artifact]) -> str | None:
    for artifact in pushed:
        if artifact.get_int_custom_property(properties.PUSHED) == 1:
            return artifact.get_string_custom_property(properties.PUSHED_DESTINATION) or None
    return None


def _held_back(input_dict: dict[str, list[types.Artifact]]) -> list[str]:
    """Returns the reasons other than metrics why a model was not pushed, one sentence each."""
    found = []
    for blessing in input_dict.get("infra_blessing") or []:
        if blessing.get_int_custom_property(properties.BLESSED) != 1:
            reasons = blessing.get_string_custom_property(properties.REASONS).splitlines()
            found += [f"Not fit to be served: {reason}" for reason in reasons or ["see the log"]]
    for artifact in input_dict.get("pushed") or []:
        reason = artifact.get_string_custom_property(properties.REASON)
        if reason:
            found.append(f"Not pushed: {reason}")
    return found


class RunReport(base_component.BaseComponent):
    """Writes one page about what a run did and what came of it.

    Args:
        examples: ParquetExampleGen's.
        accepted: AnomalyGate's.
        model: the Trainer's.
        metrics: EvaluationSummary's.
        predictions: Predictions's, of the test split.
        infra_blessing: the ServingValidator's.
        pushed: the Pusher's.
        pipeline: the pipeline's name.
        config: the configuration, a JSON object.
        metadata_file: ML Metadata's SQLite file, for the lineage.
        fingerprint: hash of the sources and the template; part of the cache key.
    """

    SPEC_CLASS = RunReportSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(RunReportExecutor)

    def __init__(
        self,
        examples: types.BaseChannel,
        accepted: types.BaseChannel,
        model: types.BaseChannel,
        metrics: types.BaseChannel,
        predictions: types.BaseChannel,
        infra_blessing: types.BaseChannel,
        pushed: types.BaseChannel,
        pipeline: str,
        config: str,
        metadata_file: str,
        fingerprint: str,
    ) -> None:
        spec = RunReportSpec(
            examples=examples,
            accepted=accepted,
            model=model,
            metrics=metrics,
            predictions=predictions,
            infra_blessing=infra_blessing,
            pushed=pushed,
            pipeline=pipeline,
            config=config,
            metadata_file=metadata_file,
            fingerprint=fingerprint,
            report=types.Channel(type=Report),
        )
        super().__init__(spec=spec)
