"""The content of a model card: figures of other nodes as they are, and sentences around them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2

FORMAT_VERSION = 1
# A share of fewer papers than this says little: its standard error is up to 5 points.
FEW_PAPERS = 100

_OVERALL = (
    "examples",
    "accuracy",
    "macro_f1",
    "micro_f1",
    "weighted_f1",
    "cross_entropy",
    "expected_calibration_error",
)
_SLICE = ("feature", "value", "examples", "accuracy", "macro_f1", "cross_entropy")
_TRAINING = (
    "examples",
    "best",
    "seconds",
    "device",
    "mixed_precision",
    "parameters",
    "vocabulary_size",
    "categories",
    "sequence_length",
    "temperature",
    "glove",
)

_TEMPLATE = """\
# Model card: {{ card.name }}

A classifier of arXiv papers: it reads an abstract and scores {{ card.classes | length }} subjects
({{ card.classes | join(", ") }}).
{{ card.network }}, exported for TF Serving.

## Data

{{ data.rows_read | count }} papers read, {{ data.rows_kept | count }} kept. Left out:
{{ data.dropped_without_abstract | count }} without abstract,
{{ data.dropped_without_label | count }} without subject,
{{ data.dropped_duplicate_ids | count }} whose id comes again. Of the papers kept,
{{ data.duplicate_texts | count }} repeat the text of another; they share its split.

| subject | {{ data.splits | join(" | ") }} |
|---|{{ "---|" * (data.splits | length) }}
{% for name in card.classes %}
| {{ name | cell }} |{% for rows in data.splits.values() %} {{ rows.get(name, 0) | count }} |\
{% endfor +%}
{% endfor %}
| all |{% for rows in data.splits.values() %} {{ rows.values() | sum | count }} |{% endfor +%}

## Quality

On the test split ({{ overall.examples | count }} papers), which training never saw.

| figure | value |
|---|---|
{% for key, value in overall.items() if key not in ("examples", "per_class") %}
| {{ key | replace("_", " ") }} | {{ value | figure }} |
{% endfor %}

| subject | precision | recall | F1 | papers |
|---|---|---|---|---|
{% for name, scores in overall.per_class.items() %}
| {{ name | cell }} | {{ scores.precision | figure }} | {{ scores.recall | figure }} | \
{{ scores.f1 | figure }} | {{ scores.support | count }} |
{% endfor %}

{{ "Accepted" if card.evaluation.blessed else "Not accepted" }}:

{% for reason in card.evaluation.reasons %}
- {{ reason }}
{% endfor %}

| slice | value | papers | accuracy | cross-entropy |
|---|---|---|---|---|
{% for one in card.evaluation.slices %}
| {{ one.feature }} | {{ one.value | cell }} | {{ one.examples | count }} | \
{{ one.accuracy | figure }} | {{ one.cross_entropy | figure }} |
{% endfor %}

## Limits of use

{% for limit in card.limits %}
- {{ limit }}
{% endfor %}

## Serving

Checked in {{ card.serving.runtime }}: \
{{ "every check passed." if card.serving.blessed else "not fit to be served:" }}

{% for reason in card.serving.reasons %}
- {{ reason }}
{% endfor %}
{% if card.serving.figures %}
| what | measured |
|---|---|
| time to load | {{ card.serving.figures.load_seconds | figure }} s |
| a request of 512 abstracts | {{ card.serving.figures.batch_seconds | figure }} s |
{% if card.serving.figures.memory_mib is not none %}
| peak memory | {{ card.serving.figures.memory_mib | round | int | count }} MiB |
{% endif %}
{% endif %}

## Training

| what | value |
|---|---|
| parameters | {{ training.parameters | count }} |
| words in the vocabulary | {{ training.vocabulary_size | count }} |
| words read of an abstract | {{ training.sequence_length | count }} |
| best epoch | phase {{ training.best.phase }}, epoch {{ training.best.epoch }} |
| device | {{ training.device }}, {{ training.mixed_precision }} |
| time | {{ training.seconds | figure }} s |

## Origin

Code: commit {{ card.code.commit or "not known" }}, fingerprint `{{ card.code.fingerprint }}`.

| library | version |
|---|---|
{% for name, version in card.versions.items() %}
| {{ name }} | {{ version }} |
{% endfor %}
"""


def make_card(
    name: str,
    ingestion: Mapping[str, Any],
    training: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    infra: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns the card as JSON values; every figure is one of its sources', unrounded.

    Keys: ``name``, ``network`` (what it consists of), ``classes``, ``data`` (all of
    ``ingestion.json``), ``training`` (part of ``training.json``), ``evaluation`` (blessed, reasons,
    overall with per_class, slices), ``serving`` (blessed, runtime, reasons, figures), ``limits``
    (sentences), ``versions`` (of libraries), ``code`` (commit, or None where it is not known, and
    fingerprint).

    Args:
      name: of the model.
      ingestion: content of ``ingestion.json``.
      training: content of ``training.json``.
      evaluation: content of ``metrics.json``.
      infra: content of ``infra_validation.json``.
    """
    overall = evaluation["overall"]
    return {
        "format_version": FORMAT_VERSION,
        "name": name,
        "network": _network(training["model"]),
        "classes": evaluation["classes"],
        "data": dict(ingestion),
        "training": {key: training[key] for key in _TRAINING},
        "evaluation": {
            "blessed": evaluation["blessed"],
            "reasons": evaluation["reasons"],
            "overall": {
                **{key: overall[key] for key in _OVERALL},
                "per_class": overall["per_class"],
            },
            "slices": [{key: one[key] for key in _SLICE} for one in evaluation["slices"]],
        },
        "serving": {key: infra[key] for key in ("blessed", "runtime", "reasons", "figures")},
        "limits": _limits(training, evaluation),
        "versions": training["versions"],
        "code": training["code"],
    }


def _network(model: Mapping[str, Any]) -> str:
    """Says in a few words what the settings, those of ``ModelSettings``, make."""
    if model["architecture"] == "notebook":
        return "A GloVe BiLSTM with a hidden layer on its last state"
    parts = []
    if model["lstm_units"]:
        bag = " with a bag of embeddings" if model["embedding_pooling"] else ""
        parts.append(f"a GloVe BiLSTM{bag}")
    elif model["embedding_pooling"]:
        parts.append("a bag of GloVe embeddings")
    if model["wide_ngrams"]:
        parts.append("a linear path over n-grams of words")
        if model["wide_letters"]:
            parts.append(f"one over n-grams of their first {model['wide_letters']} letters")
    text = " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
    return text[0].upper() + text[1:]


def _limits(training: Mapping[str, Any], evaluation: Mapping[str, Any]) -> list[str]:
    classes = evaluation["classes"]
    limits = [
        f"Every text is given one of {', '.join(classes)}, whatever it is about: the scores say "
        "which of these fits best, not whether any does.",
        f"Only the first {training['sequence_length']} words of an abstract are read; formulas "
        "between dollar signs, and all but the letters a to z and digits, are not.",
        "It has learned from English abstracts on arXiv; other languages and other kinds of text "
        "are words it does not know.",
        "The scores are calibrated on papers like those of the corpus; where the mix of subjects "
        "differs, they are not."
        if training["training"]["fit_temperature"]
        else "The scores are not calibrated: how sure they look says little of how often they are "
        "right.",
        "It sorts papers. It says nothing of their quality, and must not be used to judge authors.",
    ]
    per_class = evaluation["overall"]["per_class"]
    few = [name for name in classes if per_class[name]["support"] < FEW_PAPERS]
    if few:
        listed = ", ".join(f"{name} ({per_class[name]['support']})" for name in few)
        limits.append(f"Its figures rest on few test papers for {listed}.")
    measured = [name for name in classes if per_class[name]["f1"] is not None]
    if measured:
        weakest = min(measured, key=lambda name: per_class[name]["f1"])
        limits.append(f"It is least reliable on {weakest}: F1 {_figure(per_class[weakest]['f1'])}.")
    return limits


def to_markdown(card: Mapping[str, Any]) -> str:
    """Returns the card for people: figures of four digits, counts with separators."""
    environment = jinja2.Environment(
        trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["figure"] = _figure
    environment.filters["count"] = _count
    environment.filters["cell"] = _cell
    return environment.from_string(_TEMPLATE).render(
        card=card,
        data=card["data"],
        overall=card["evaluation"]["overall"],
        training=card["training"],
    )


def _figure(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4g}"


def _count(value: int) -> str:
    return f"{value:,}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
