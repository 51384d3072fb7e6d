"""The card's figures are its sources' figures, and people can read all of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tfx.types import standard_artifacts

from components.contracts.artifact_files import CARD_JSON, CARD_MARKDOWN
from components.contracts.evaluation_metrics import Evaluation
from components.contracts.infra_verdict import InfraVerdict
from components.contracts.ingestion_summary import IngestionSummary
from components.contracts.model_card import Card
from components.contracts.training_report import TrainingReport
from components.evaluation.node import EvaluationMetrics
from components.model.model_settings import ModelSettings
from components.model_card.artifact import ModelCard
from components.model_card.card import make_card, to_markdown
from components.model_card.node import ModelCardWriter

CLASSES = ["cs", "math|x"]
INGESTION = {
    "files": 1, "rows_read": 12_345, "dropped_without_abstract": 11, "dropped_without_label": 22,
    "dropped_duplicate_ids": 33, "rows_kept": 12_279, "rows_without_id": 0, "unreadable_dates": 0,
    "unreadable_date": "", "padded_labels": 0, "date_column": "update_date",
    "cleaned_to_nothing": 0, "duplicate_texts": 44, "conflicting_texts": 0, "conflicting_rows": 0,
    "splits": {
        "train": {"cs": 7000, "math|x": 859},
        "eval": {"cs": 1964},
        "test": {"cs": 2400, "math|x": 56},
    },
}  # fmt: skip
TRAINING = {
    "best": {"phase": 2, "epoch": 5, "val_accuracy": 0.81}, "history": [], "device": "CPU",
    "examples": {"train": 7859, "eval": 1964}, "mixed_precision": "float32", "seconds": 321.5,
    "parameters": 5_604_545, "vocabulary_size": 39_999, "categories": 3, "sequence_length": 256,
    "temperature": 0.9, "glove": {"words": 100, "found": 97},
    "code": {"commit": None, "fingerprint": "f00df00d"},
    "versions": {"python": "3.10.9", "tensorflow": "2.16.2"},
    "model": ModelSettings().model_dump(mode="json"),
    "training": {"fit_temperature": True},
}  # fmt: skip
OVERALL = {
    "examples": 2456, "accuracy": 0.86163520, "macro_f1": 0.66261511, "micro_f1": 0.8616, "ece": 0,
    "weighted_f1": 0.85707654, "cross_entropy": 0.46690178, "expected_calibration_error": 0.0394947,
    "confusion_matrix": [[1, 2], [3, 4]],
    "per_class": {
        "cs": {"precision": 0.8771, "recall": 0.9029, "f1": 0.88985, "support": 2400},
        "math|x": {"precision": None, "recall": 0.0, "f1": 0.0, "support": 56},
    },
}  # fmt: skip
EVALUATION = {
    "classes": CLASSES,
    "blessed": True,
    "reasons": ["accuracy 0.8616 reaches the threshold 0.8 (overall)"],
    "overall": OVERALL,
    "slices": [
        {**OVERALL, "feature": "year", "value": "20|19", "examples": 1234, "accuracy": 0.7654321}
    ],
    "model": {"id": 7, "uri": "/a/b"},
}
INFRA = {
    "blessed": True, "runtime": "TensorFlow 2.16.2", "note": "", "reasons": [], "checks": [],
    "measurements": {
        "load_seconds": 2.861, "latencies_ms": [9.5], "batch_seconds": 0.4349, "memory_mib": 1053.25
    },
}  # fmt: skip


def card(training=TRAINING, evaluation=EVALUATION, infra=INFRA) -> Card:
    return make_card(
        "arxiv",
        "abstracts of arXiv papers",
        IngestionSummary.model_validate(INGESTION),
        TrainingReport.model_validate(training),
        Evaluation.model_validate(evaluation),
        InfraVerdict.model_validate(infra),
    )


def holds(whole: dict, part: dict) -> bool:
    """Whether each value of a table is there, in tables within it too."""
    return all(
        holds(whole[key], value) if isinstance(value, dict) else whole[key] == value
        for key, value in part.items()
    )


def test_every_figure_is_its_sources() -> None:
    made = json.loads(card().to_json())
    assert made["data"] == {**INGESTION, "words": {}}
    assert holds(made["training"], {key: TRAINING[key] for key in made["training"]})
    assert set(made["training"]) >= {"examples", "parameters", "sequence_length", "temperature"}
    overall = made["evaluation"]["overall"]
    assert {key: OVERALL[key] for key in overall} == overall
    assert set(overall) >= {"accuracy", "macro_f1", "cross_entropy", "per_class"}
    assert "confusion_matrix" not in overall
    assert made["evaluation"]["slices"] == [
        {
            "feature": "year", "value": "20|19", "examples": 1234, "accuracy": 0.7654321,
            "macro_f1": 0.66261511, "cross_entropy": 0.46690178,
        }
    ]  # fmt: skip
    assert made["serving"]["measurements"] == INFRA["measurements"]
    assert (made["code"], made["versions"]) == (TRAINING["code"], TRAINING["versions"])


def test_markdown_shows_them() -> None:
    text = to_markdown(card())
    for line in (
        "# Model card: arxiv",
        "12,345 texts read, 12,279 kept. Left out:",
        "33 whose id comes again. Of the texts kept,",
        "| class | train | eval | test |",
        "| cs | 7,000 | 1,964 | 2,400 |",
        "| math\\|x | 859 | 0 | 56 |",
        "| all | 7,859 | 1,964 | 2,456 |",
        "On the test split (2,456 texts), which training never saw.",
        "| accuracy | 0.8616 |",
        "| expected calibration error | 0.03949 |",
        "| cs | 0.8771 | 0.9029 | 0.8899 | 2,400 |",
        "| math\\|x | not defined | 0 | 0 | 56 |",
        "Accepted:",
        "- accuracy 0.8616 reaches the threshold 0.8 (overall)",
        "| year | 20\\|19 | 1,234 | 0.7654 | 0.4669 |",
        "| a request of 512 texts | 0.4349 s |",
        "| peak memory | 1,053 MiB |",
        "| best epoch | phase 2, epoch 5 |",
        "Code: commit not known, fingerprint `f00df00d`.",
        "| tensorflow | 2.16.2 |",
    ):
        assert line in text.splitlines(), line
    assert "{{" not in text
    assert "\n\n\n" not in text


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {},
            "A GloVe BiLSTM, a linear path over n-grams of words and one over n-grams of their "
            "first 5 letters",
        ),
        ({"architecture": "notebook"}, "A GloVe BiLSTM with a hidden layer on its last state"),
        ({"wide_letters": 0}, "A GloVe BiLSTM and a linear path over n-grams of words"),
        (
            {"lstm_units": 0, "wide_letters": 3},
            "A linear path over n-grams of words and one over n-grams of their first 3 letters",
        ),
    ],
)
def test_network_is_that_of_the_settings(settings: dict, sentence: str) -> None:
    made = card(training={**TRAINING, "model": ModelSettings(**settings).model_dump(mode="json")})
    assert made.network == sentence
    assert f"{sentence}, exported for TF Serving." in to_markdown(made).splitlines()


def test_scores_that_no_temperature_was_fitted_to_are_not_called_calibrated() -> None:
    assert "The scores are calibrated" in " ".join(card().limits)
    raw = card(training={**TRAINING, "training": {"fit_temperature": False}})
    assert "The scores are not calibrated" in " ".join(raw.limits)
    assert "The scores are calibrated" not in " ".join(raw.limits)


def test_limits_name_what_the_figures_show() -> None:
    text = " ".join(card().limits)
    assert "one of cs, math|x, whatever it is about" in text
    assert "Only the first 256 words" in text
    assert "few test texts for math|x (56)." in text
    assert "least reliable on math|x: F1 0." in text


def test_model_that_failed_has_a_card_that_says_so() -> None:
    failed = {
        **INFRA,
        "blessed": False,
        "reasons": ["load: it cannot be loaded"],
        "measurements": None,
    }
    rejected = {**EVALUATION, "blessed": False, "reasons": ["accuracy 0.1 is below 0.8"]}
    text = to_markdown(card(infra=failed, evaluation=rejected))
    assert "Not accepted:\n\n- accuracy 0.1 is below 0.8\n" in text
    assert "not fit to be served:\n\n- load: it cannot be loaded\n" in text
    unknown = {**INFRA, "measurements": {**INFRA["measurements"], "memory_mib": None}}
    assert "peak memory" not in to_markdown(card(infra=unknown))


def write(root: Path, model_id: int) -> Path:
    """Runs the node over files as the other nodes leave them."""
    artifacts = {
        "examples": (standard_artifacts.Examples(), "ingestion.json", INGESTION),
        "model": (
            standard_artifacts.Model(), "Format-Serving/assets.extra/training.json", TRAINING
        ),
        "metrics": (EvaluationMetrics(), "metrics.json", EVALUATION),
        "infra_blessing": (standard_artifacts.InfraBlessing(), "infra_validation.json", INFRA),
    }  # fmt: skip
    for name, (artifact, file, content) in artifacts.items():
        artifact.uri = str(root / name)
        (root / name / file).parent.mkdir(parents=True)
        (root / name / file).write_text(json.dumps(content))
    artifacts["model"][0].id = model_id
    output = ModelCard()
    output.uri = str(root / "card")
    ModelCardWriter.EXECUTOR_SPEC.executor_class().Do(
        {name: [artifact] for name, (artifact, *_) in artifacts.items()},
        {"card": [output]},
        {
            "pipeline_name": "arxiv",
            "description": "abstracts of arXiv papers",
            "fingerprint": "f00d",
        },
    )
    return root / "card"


def test_node_writes_both_forms(tmp_path: Path) -> None:
    folder = write(tmp_path, 7)
    assert {path.name for path in folder.iterdir()} == {CARD_JSON, CARD_MARKDOWN}
    assert Card.read(folder / CARD_JSON) == card()
    assert (folder / CARD_MARKDOWN).read_text() == to_markdown(card())


def test_metrics_of_another_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="is about model 7, not 8"):
        write(tmp_path, 8)
