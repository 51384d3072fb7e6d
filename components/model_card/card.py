"""Builds and renders a model card from other nodes' records."""

from __future__ import annotations

import jinja2

from components.contracts.evaluation_metrics import Evaluation
from components.contracts.infra_verdict import InfraVerdict
from components.contracts.ingestion_summary import IngestionSummary
from components.contracts.model_card import Card
from components.contracts.training_report import TrainingReport
from components.model.model_settings import ModelSettings
from components.training.training_settings import TrainingSettings

# With fewer texts, the standard error of a proportion can exceed 5 points.
FEW_PAPERS = 100

TEMPLATE = "model_card.md.j2"


def make_card(
    name: str,
    description: str,
    ingestion: IngestionSummary,
    training: TrainingReport,
    evaluation: Evaluation,
    infra: InfraVerdict,
) -> Card:
    """Makes a model's card from what the texts are and the records of earlier nodes."""
    return Card.model_validate(
        {
            "name": name,
            "description": description,
            "network": _network(
                ModelSettings.model_validate(training.model),
                "a GloVe BiLSTM" if training.glove.found else "a BiLSTM",
            ),
            "classes": evaluation.classes,
            "data": ingestion,
            # The card's types select the parts of each record.
            "training": training.model_dump(),
            "evaluation": evaluation.model_dump(),
            "serving": infra,
            "limits": _limits(description, training, evaluation),
            "versions": training.versions,
            "code": training.code,
        }
    )


def _network(model: ModelSettings, deep: str) -> str:
    """Describes the network in a few words."""
    if model.architecture == "notebook":
        return f"{deep[0].upper()}{deep[1:]} with a hidden layer on its last state"
    parts = []
    if model.lstm_units:
        parts.append(deep)
    if model.wide_ngrams:
        parts.append("a linear path over n-grams of words")
        if model.wide_letters:
            parts.append(f"one over n-grams of their first {model.wide_letters} letters")
    text = " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
    return text[0].upper() + text[1:]


def _limits(description: str, training: TrainingReport, evaluation: Evaluation) -> list[str]:
    classes = evaluation.classes
    calibrated = TrainingSettings.model_validate(training.training).fit_temperature
    limits = [
        f"Every text is given one of {', '.join(classes)}, whatever it is about: the scores say "
        "which of these fits best, not whether any does.",
        f"Only the first {training.sequence_length} words of a text are read; formulas "
        "between dollar signs, and all but the letters a to z and digits, are not.",
        f"It has learned from {description}; other languages and other kinds of text are words it "
        "does not know.",
        "The scores are calibrated on texts like those of the corpus; where the mix of classes "
        "differs, they are not."
        if calibrated
        else "The scores are not calibrated: how sure they look says little of how often they are "
        "right.",
        "It sorts texts. It says nothing of their quality, and must not be used to judge those who "
        "wrote them.",
    ]
    scores = {name: evaluation.overall.per_class[name] for name in classes}
    few = [f"{name} ({one.support})" for name, one in scores.items() if one.support < FEW_PAPERS]
    if few:
        limits.append(f"Its metrics rest on few test texts for {', '.join(few)}.")
    measured = {name: one.f1 for name, one in scores.items() if one.f1 is not None}
    if measured:
        weakest = min(measured, key=lambda name: measured[name])
        limits.append(f"It is least reliable on {weakest}: F1 {_digits(measured[weakest])}.")
    return limits


def to_markdown(card: Card) -> str:
    """Renders the card as Markdown: numbers with four digits, counts with separators."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("components.model_card"),
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["digits"] = _digits
    environment.filters["count"] = _count
    environment.filters["cell"] = _cell
    return environment.get_template(TEMPLATE).render(
        card=card, data=card.data, overall=card.evaluation.overall, training=card.training
    )


def _digits(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4g}"


def _count(value: int) -> str:
    return f"{value:,}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
