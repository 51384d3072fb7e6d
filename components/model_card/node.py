"""ModelCardWriter: gathers what earlier nodes found out about a model into one card."""

from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components import atomic
from components.contracts import artifact_files
from components.contracts.evaluation_metrics import Evaluation
from components.contracts.infra_verdict import InfraVerdict
from components.contracts.ingestion_summary import IngestionSummary
from components.contracts.training_report import TrainingReport
from components.evaluation.node import EvaluationMetrics
from components.model_card.artifact import ModelCard
from components.model_card.card import TEMPLATE, make_card, to_markdown

TEMPLATE_FILE = Path(__file__).parent / "templates" / TEMPLATE


@component  # type: ignore[untyped-decorator]
def ModelCardWriter(  # noqa: N802
    examples: InputArtifact[standard_artifacts.Examples],
    model: InputArtifact[standard_artifacts.Model],
    metrics: InputArtifact[EvaluationMetrics],
    infra_blessing: InputArtifact[standard_artifacts.InfraBlessing],
    card: OutputArtifact[ModelCard],
    pipeline_name: Parameter[str],
    description: Parameter[str],
    fingerprint: Parameter[str] = "",
) -> None:
    """Writes the card as JSON and as Markdown.

    Args:
        examples, model, metrics, infra_blessing: with the records of their nodes, of one model.
        card: receives the files.
        pipeline_name: the model's name.
        description: what the texts are.
        fingerprint: hash of this code; part of the cache key.

    Raises:
        RuntimeError: the metrics are those of another model.
    """
    del fingerprint
    evaluation = Evaluation.read(Path(metrics.uri) / artifact_files.METRICS)
    if evaluation.model.id != model.id:
        raise RuntimeError(f"{metrics.uri} is about model {evaluation.model.id}, not {model.id}")
    extra = Path(path_utils.serving_model_path(model.uri)) / artifact_files.EXTRA_ASSETS
    content = make_card(
        pipeline_name,
        description,
        ingestion=IngestionSummary.read(Path(examples.uri) / artifact_files.INGESTION_SUMMARY),
        training=TrainingReport.read(extra / artifact_files.TRAINING_REPORT),
        evaluation=evaluation,
        infra=InfraVerdict.read(Path(infra_blessing.uri) / artifact_files.INFRA_VERDICT),
    )
    folder = Path(card.uri)
    content.write(folder / artifact_files.CARD_JSON)
    atomic.write_text(folder / artifact_files.CARD_MARKDOWN, to_markdown(content))
