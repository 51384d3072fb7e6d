"""Gathers a page's content from artifacts and ML Metadata, and computes the intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components import provenance
from components.contracts import artifact_files, features
from components.contracts.columns import Columns
from components.contracts.data_findings import Distances, Finding, Findings
from components.contracts.evaluation_metrics import Evaluation
from components.contracts.ingestion_summary import IngestionSummary
from components.contracts.predictions import RowScores, read_scores
from components.contracts.training_report import TrainingReport
from components.metadata_store import Execution, MetadataStore, State
from components.metrics import classification
from components.metrics.bootstrap import Comparison, bootstrap
from components.predictions.prediction_rows import read_texts, split_files

MISTAKES = 20
# Evaluator and Predictions load the model separately, so near-ties may differ.
_TOLERANCE = 0.005


@dataclass(frozen=True)
class Sources:
    """Where a page's content comes from.

    The paths are folders of the artifacts of that name (``metrics`` is EvaluationSummary's), and
    ``database`` is ML Metadata's SQLite file.

    Attributes:
        pushed_to: the version's folder for TF Serving; None if nothing was pushed.
        config: the configuration, plain values.
        artifact_ids: ids of the artifacts, for their lineage.
        made_at: date and time, for people.
        held_back: sentences on why a model that reaches the thresholds was not pushed.
    """

    pipeline: str
    examples: Path
    accepted: Path
    model: Path
    metrics: Path
    predictions: Path
    pushed_to: str | None
    config: Mapping[str, Any]
    database: Path
    artifact_ids: tuple[int, ...]
    made_at: str
    held_back: Sequence[str] = ()

    @property
    def columns(self) -> Columns:
        """The names of the corpus's columns."""
        return Columns.model_validate(self.config.get("data", {}).get("columns", {}))


@dataclass(frozen=True)
class Mistake:
    """A misclassified test row with its raw text; the id is empty if it has none.

    ``score`` is that of the predicted class, ``label_score`` that of the true one.
    """

    id: str
    label: str
    predicted: str
    score: float
    label_score: float
    text: str


@dataclass(frozen=True)
class Facts:
    """The content of a page; ``run`` is the id of the run that makes it, "" if unknown."""

    sources: Sources
    run: str
    evaluation: Evaluation
    training: TrainingReport
    ingestion: IngestionSummary
    findings: Sequence[Finding]
    distances: Distances
    comparison: Comparison
    mistakes: Sequence[Mistake]
    wrong_rows: int
    nodes: Sequence[Execution]
    commit: str
    versions: Mapping[str, str]


def collect(sources: Sources) -> Facts:
    """Reads all sources.

    Raises:
        RuntimeError: the predictions contradict the metrics: they are of different models.
    """
    evaluation = Evaluation.read(sources.metrics / artifact_files.METRICS)
    candidate = read_scores(sources.predictions / artifact_files.CANDIDATE_PREDICTIONS)
    path = sources.predictions / artifact_files.BASELINE_PREDICTIONS
    baseline = read_scores(path).scores if path.is_file() else None
    _check_same_model(evaluation, candidate, sources)
    wrong, mistakes = find_mistakes(
        candidate,
        split_files(str(sources.examples / f"Split-{features.TEST}")),
        sources.columns.feature,
    )
    extra = sources.model / artifact_files.EXTRA_ASSETS
    run, nodes = executions_behind(sources.database, sources.artifact_ids)
    return Facts(
        sources=sources,
        run=run,
        evaluation=evaluation,
        training=TrainingReport.read(extra / artifact_files.TRAINING_REPORT),
        ingestion=IngestionSummary.read(sources.examples / artifact_files.INGESTION_SUMMARY),
        findings=Findings.read(sources.accepted / artifact_files.FINDINGS).root,
        distances=Distances.read(sources.accepted / artifact_files.DISTANCES),
        comparison=bootstrap(candidate.labels, candidate.scores, baseline),
        mistakes=mistakes,
        wrong_rows=wrong,
        nodes=nodes,
        commit=provenance.commit() or "",
        versions=provenance.versions(),
    )


def executions_behind(database: Path, artifact_ids: Sequence[int]) -> tuple[str, list[Execution]]:
    """Returns the newest run, and the executions that a page about it lists, oldest first.

    These are the upstream executions of its artifacts, and the run's other finished ones, except
    cached ones. The run that makes a page is the newest, since only one writes at a time. Without a
    database, as on a remote worker, the run is "" and there are no executions.
    """
    if not database.is_file():
        return "", []
    lineage = MetadataStore(database).lineage()
    run = max(lineage.executions, key=lambda one: one.id).run if lineage.executions else ""
    found = {one.id: one for one in lineage.makers(artifact_ids)}
    finished = (State.RAN, State.RESOLVED)
    found |= {one.id: one for one in lineage.runs.get(run, []) if one.state in finished}
    return run, [found[number] for number in sorted(found)]


def _check_same_model(evaluation: Evaluation, rows: RowScores, sources: Sources) -> None:
    matrix = classification.confusion_matrix(rows.labels, rows.scores)
    accuracy = float(classification.accuracy(matrix))
    overall = evaluation.overall
    same = overall.examples == len(rows.labels) and rows.classes == evaluation.classes
    if overall.accuracy is not None:
        same = same and abs(overall.accuracy - accuracy) <= _TOLERANCE
    if not same:
        raise RuntimeError(
            f"{sources.predictions} (accuracy {accuracy:.4f} of {len(rows.labels)} rows) and "
            f"{sources.metrics} (accuracy {overall.accuracy} of {overall.examples}) are not "
            "of one model and split"
        )


def find_mistakes(
    rows: RowScores, files: Sequence[str], feature: str = features.ABSTRACT
) -> tuple[int, list[Mistake]]:
    """Returns the number of misclassified rows, and the most confident ones with their texts.

    ``files`` are those of the rows' split, and ``feature`` is the text's name in them.
    """
    predicted = rows.scores.argmax(axis=1)
    wrong = np.flatnonzero(predicted != rows.labels)
    confidence = rows.scores[wrong, predicted[wrong]]
    chosen = [int(row) for row in wrong[np.argsort(-confidence, kind="stable")][:MISTAKES]]
    texts = read_texts(files, chosen, feature)
    return len(wrong), [
        Mistake(
            id=rows.ids[row],
            label=rows.classes[rows.labels[row]],
            predicted=rows.classes[predicted[row]],
            score=float(rows.scores[row, predicted[row]]),
            label_score=float(rows.scores[row, rows.labels[row]]),
            text=texts[row],
        )
        for row in chosen
    ]
