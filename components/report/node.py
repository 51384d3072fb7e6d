"""RunReport: an HTML page about a run, blessed or not."""

import json
from datetime import datetime, timezone
from pathlib import Path

from absl import logging
from tfx import types
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
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


@component  # type: ignore[untyped-decorator]
def RunReport(  # noqa: N802
    examples: InputArtifact[standard_artifacts.Examples],
    accepted: InputArtifact[AcceptedData],
    model: InputArtifact[standard_artifacts.Model],
    metrics: InputArtifact[EvaluationMetrics],
    predictions: InputArtifact[RowPredictions],
    infra_blessing: InputArtifact[standard_artifacts.InfraBlessing],
    pushed: InputArtifact[standard_artifacts.PushedModel],
    report: OutputArtifact[Report],
    pipeline: Parameter[str],
    config: Parameter[str],
    metadata_file: Parameter[str],
    fingerprint: Parameter[str],
) -> None:
    """Writes one page about what a run did and what came of it.

    The predictions are those of the test split. ``config`` is the configuration, a JSON object, and
    ``metadata_file`` ML Metadata's database, for the lineage. The fingerprint, of the sources and
    the template, is part of the cache key.
    """
    del fingerprint
    inputs = (examples, accepted, model, metrics, predictions, infra_blessing, pushed)
    pushed_to = pushed.get_string_custom_property(properties.PUSHED_DESTINATION)
    was_pushed = pushed.get_int_custom_property(properties.PUSHED) == 1
    sources = Sources(
        pipeline=pipeline,
        examples=Path(examples.uri),
        accepted=Path(accepted.uri),
        model=Path(path_utils.serving_model_path(model.uri)),
        metrics=Path(metrics.uri),
        predictions=Path(predictions.uri),
        pushed_to=pushed_to if was_pushed else None,
        held_back=_held_back(infra_blessing, pushed),
        config=json.loads(config),
        database=Path(metadata_file),
        artifact_ids=tuple(artifact.id for artifact in inputs),
        made_at=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    )
    page = render(collect(sources)).encode("utf-8", "replace")
    file = Path(report.uri) / artifact_files.RUN_REPORT
    atomic.write_bytes(file, page)
    logging.info("run report: %s (%.0f kB)", file, len(page) / 1000)


def _held_back(infra_blessing: types.Artifact, pushed: types.Artifact) -> list[str]:
    """Returns the reasons other than metrics why a model was not pushed, one sentence each."""
    found = []
    if infra_blessing.get_int_custom_property(properties.BLESSED) != 1:
        reasons = infra_blessing.get_string_custom_property(properties.REASONS).splitlines()
        found = [f"Not fit to be served: {reason}" for reason in reasons or ["see the log"]]
    reason = pushed.get_string_custom_property(properties.REASON)
    return [*found, f"Not pushed: {reason}"] if reason else found
