"""Gathers from artifacts and ML Metadata what a page tells; computes the intervals."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components import provenance
from components.contracts import features
from components.contracts.model_files import EXTRA_ASSETS, REPORT
from components.evaluation.node import METRICS_FILE
from components.ingestion.row_counts import FILE_NAME, IngestionSummary
from components.metadata_store import Execution, MetadataStore, State
from components.metrics import classification
from components.metrics.bootstrap import Comparison, bootstrap
from components.predictions.prediction_rows import (
    BASELINE_FILE,
    CANDIDATE_FILE,
    RowScores,
    read_scores,
    read_texts,
    split_files,
)
from components.validation.node import DISTANCES_FILE, FINDINGS_FILE

MISTAKES = 20
# The metrics and the predictions come from two loadings of one model, so near-ties may differ.
_TOLERANCE = 0.005


@dataclass(frozen=True)
class Sources:
    """Where a page's content comes from.

    Attributes:
      pipeline, run: names of the pipeline and of the run that makes the page.
      examples: folder of ParquetExampleGen's artifact.
      accepted: folder of AnomalyGate's.
      model: folder of the SavedModel.
      metrics: folder of EvaluationSummary's artifact.
      predictions: folder of Predictions's.
      pushed_to: the version's folder for TF Serving; None where nothing was pushed.
      config: the whole configuration, plain values.
      database: ML Metadata's SQLite file.
      artifact_ids: of the artifacts above, for their lineage.
      made_at: when, for people.
      held_back: why a model that reaches the thresholds was not pushed all the same, sentences.
    """

    pipeline: str
    run: str
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


@dataclass(frozen=True)
class Mistake:
    """A test row that the model got wrong.

    Attributes:
      id: the paper's, empty where it has none.
      label, answer: the true class, and the one with the highest score.
      score, label_score: the scores of the answer and of the true class.
      text: the abstract as it is in the data, whatever that holds.
    """

    id: str
    label: str
    answer: str
    score: float
    label_score: float
    text: str


@dataclass(frozen=True)
class Facts:
    """All that a page tells; ``metrics`` and ``training`` are the nodes' own JSON."""

    sources: Sources
    metrics: Mapping[str, Any]
    training: Mapping[str, Any]
    ingestion: IngestionSummary
    findings: Sequence[Mapping[str, str]]
    distances: Sequence[Mapping[str, Any]]
    previous_data: str | None
    comparison: Comparison
    mistakes: Sequence[Mistake]
    wrong_rows: int
    nodes: Sequence[Execution]
    commit: str
    versions: Mapping[str, str]


def collect(sources: Sources) -> Facts:
    """Reads everything.

    Raises:
      RuntimeError: the predictions contradict the metrics, so they are not of one model.
    """
    metrics = _json(sources.metrics / METRICS_FILE)
    candidate = read_scores(sources.predictions / CANDIDATE_FILE)
    baseline = None
    if (sources.predictions / BASELINE_FILE).is_file():
        baseline = read_scores(sources.predictions / BASELINE_FILE)
    _check_same_model(metrics, candidate, sources)
    measured = _json(sources.accepted / DISTANCES_FILE)
    wrong, mistakes = find_mistakes(
        candidate, split_files(str(sources.examples / f"Split-{features.TEST}"))
    )
    return Facts(
        sources=sources,
        metrics=metrics,
        training=_json(sources.model / EXTRA_ASSETS / REPORT),
        ingestion=IngestionSummary.from_json(
            (sources.examples / FILE_NAME).read_text(encoding="utf-8")
        ),
        findings=_json(sources.accepted / FINDINGS_FILE),
        distances=measured["distances"],
        previous_data=measured["previous"],
        comparison=bootstrap(
            candidate.labels, candidate.scores, None if baseline is None else baseline.scores
        ),
        mistakes=mistakes,
        wrong_rows=wrong,
        nodes=executions_behind(sources.database, sources.artifact_ids, sources.run),
        commit=provenance.commit() or "",
        versions=provenance.versions(),
    )


def executions_behind(
    database: Path, artifact_ids: Sequence[int], run: str = ""
) -> list[Execution]:
    """Returns the executions that artifacts come from and the finished ones of a run, by age.

    Args:
      database: ML Metadata's SQLite file; nothing is returned where it is not there, as on a remote
        worker.
      artifact_ids: where to start.
      run: whose other executions are returned too. One that was taken from the cache is not: the
        execution that did the work is.
    """
    if not database.is_file():
        return []
    lineage = MetadataStore(database).lineage()
    found = {one.id: one for one in lineage.makers(artifact_ids)}
    finished = (State.RAN, State.RESOLVED)
    found |= {one.id: one for one in lineage.runs.get(run, []) if one.state in finished}
    return [found[number] for number in sorted(found)]


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _check_same_model(metrics: Mapping[str, Any], rows: RowScores, sources: Sources) -> None:
    matrix = classification.confusion_matrix(rows.labels, rows.scores)
    accuracy = float(classification.accuracy(matrix))
    overall = metrics["overall"]
    same = overall["examples"] == len(rows.labels) and list(rows.classes) == metrics["classes"]
    if overall["accuracy"] is not None:
        same = same and abs(overall["accuracy"] - accuracy) <= _TOLERANCE
    if not same:
        raise RuntimeError(
            f"{sources.predictions} (accuracy {accuracy:.4f} of {len(rows.labels)} rows) and "
            f"{sources.metrics} (accuracy {overall['accuracy']} of {overall['examples']}) are not "
            "of one model and split"
        )


def find_mistakes(rows: RowScores, files: Sequence[str]) -> tuple[int, list[Mistake]]:
    """Returns how many rows are wrong, and the most confident of them with their text.

    Args:
      rows: a model's scores.
      files: of the split that the rows are of.
    """
    answers = rows.scores.argmax(axis=1)
    wrong = np.flatnonzero(answers != rows.labels)
    confidence = rows.scores[wrong, answers[wrong]]
    chosen = [int(row) for row in wrong[np.argsort(-confidence, kind="stable")][:MISTAKES]]
    texts = read_texts(files, chosen)
    return len(wrong), [
        Mistake(
            id=rows.ids[row],
            label=rows.classes[rows.labels[row]],
            answer=rows.classes[answers[row]],
            score=float(rows.scores[row, answers[row]]),
            label_score=float(rows.scores[row, rows.labels[row]]),
            text=texts[row],
        )
        for row in chosen
    ]
