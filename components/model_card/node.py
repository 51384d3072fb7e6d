"""ModelCard: gathers what the nodes before found out about a model into one file for people."""

import json
from pathlib import Path
from typing import Any

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components.contracts.model_files import EXTRA_ASSETS
from components.contracts.model_files import REPORT as TRAINING_REPORT
from components.evaluation.node import METRICS_FILE, EvaluationMetrics
from components.infra_validation.infra_executor import REPORT_FILE as INFRA_REPORT
from components.ingestion.row_counts import FILE_NAME as INGESTION
from components.model_card.artifact import CARD_JSON, CARD_MARKDOWN, ModelCard
from components.model_card.card import make_card, to_markdown


@component  # type: ignore[untyped-decorator]
def ModelCardWriter(  # noqa: N802
    examples: InputArtifact[standard_artifacts.Examples],
    model: InputArtifact[standard_artifacts.Model],
    metrics: InputArtifact[EvaluationMetrics],
    infra_blessing: InputArtifact[standard_artifacts.InfraBlessing],
    card: OutputArtifact[ModelCard],
    pipeline_name: Parameter[str],
    fingerprint: Parameter[str] = "",
) -> None:
    """Writes the card as JSON and as Markdown.

    Args:
      examples: ParquetExampleGen's, with the counts of rows.
      model: the Trainer's, with its report.
      metrics: EvaluationSummary's, of the same model.
      infra_blessing: the ServingValidator's, of the same model.
      card: where the files go.
      pipeline_name: the model's name.
      fingerprint: hash of this code, so that an edit of it runs the node again.

    Raises:
      RuntimeError: the metrics are another model's.
    """
    del fingerprint
    evaluation = _read(Path(metrics.uri) / METRICS_FILE)
    if evaluation["model"]["id"] != model.id:
        raise RuntimeError(
            f"{metrics.uri} is about model {evaluation['model']['id']}, not {model.id}"
        )
    serving = Path(path_utils.serving_model_path(model.uri))
    content = make_card(
        pipeline_name,
        ingestion=_read(Path(examples.uri) / INGESTION),
        training=_read(serving / EXTRA_ASSETS / TRAINING_REPORT),
        evaluation=evaluation,
        infra=_read(Path(infra_blessing.uri) / INFRA_REPORT),
    )
    folder = Path(card.uri)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / CARD_JSON).write_text(text + "\n", encoding="utf-8")
    (folder / CARD_MARKDOWN).write_text(to_markdown(content), encoding="utf-8")


def _read(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8")))
