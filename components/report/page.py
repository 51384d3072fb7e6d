"""Renders facts as one self-contained HTML file.

The template escapes all values except the charts, whose text matplotlib and ElementTree have
escaped. The page's content security policy forbids scripts and further requests.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import jinja2
import numpy as np
import tomlkit
from markupsafe import Markup

from components.contracts import features
from components.contracts.data_findings import Distance
from components.contracts.evaluation_metrics import Evaluation
from components.contracts.training_report import TrainingReport
from components.metrics.bootstrap import (
    OVERALL,
    PER_CLASS,
    RESAMPLES,
    Comparison,
    Interval,
    wilson,
)
from components.report import charts
from components.report.run_facts import Facts, Mistake

TEMPLATE = "report.html.j2"
NOTHING = "\N{EN DASH}"

_NAMES = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro-F1",
    "micro_f1": "Micro-F1",
    "weighted_f1": "Weighted F1",
    "cross_entropy": "Log loss (nats)",
    "expected_calibration_error": "ECE",
}
_LESS_IS_BETTER = ("cross_entropy", "expected_calibration_error")
_SLICES = {
    features.LENGTH_BUCKET: "words",
    features.YEAR: "year",
    features.LATEX_BUCKET: "LaTeX",
}
_MEASURES = {
    "L_INFTY": "largest change of a share (L∞)",
    "JENSEN_SHANNON_DIVERGENCE": "Jensen-Shannon divergence",
    "NORMALIZED_ABSOLUTE_DIFFERENCE": "normalized absolute difference",
}
_DROPPED = (
    ("dropped_without_abstract", "without abstract"),
    ("dropped_without_label", "without class"),
    ("dropped_duplicate_ids", "duplicate id (the latest is kept)"),
)
_NOTED = (
    ("rows_without_id", "without id"),
    ("unreadable_dates", "with a date that cannot be read"),
    ("cleaned_to_nothing", "with no word left after cleaning"),
    ("duplicate_texts", "with the text of another paper (in the same split)"),
    ("conflicting_texts", "texts under more than one class"),
    ("conflicting_rows", "papers with such a text"),
)
_PERCENTILES = (50, 90, 95, 99)

# Unicode's bidirectional embeddings, overrides and isolates, and their ends.
_STEERING = frozenset(("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"))

# Smaller slices are in the table, but too noisy to be drawn.
_DRAWN_SLICE = 30
_DRAWN_SLICES = 16
# Characters of an abstract that are shown before and after it is unfolded.
_SNIPPET = 280
_LONGEST_TEXT = 4000


def render(facts: Facts) -> str:
    """Returns the page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("components.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        figure=figure, signed=signed, share=share, count=count, between=between
    )
    return environment.get_template(TEMPLATE).render(
        pipeline=facts.sources.pipeline,
        run=facts.sources.run,
        made_at=facts.sources.made_at,
        verdict=_verdict(facts),
        data=_data(facts),
        training=_training(facts.training),
        quality=_quality(facts),
        lineage=_lineage(facts),
    )


def figure(value: float | None, digits: int = 4) -> str:
    """Formats a number; a dash for None or NaN, as in the functions below."""
    return NOTHING if _none(value) else f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def signed(value: float | None, digits: int = 4) -> str:
    """Formats a change with its sign, a true minus."""
    return NOTHING if _none(value) else f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def share(value: float | None, digits: int = 1) -> str:
    """Formats a proportion as a percentage."""
    return NOTHING if _none(value) else f"{100 * float(value or 0):.{digits}f} %"


def count(value: int | None) -> str:
    """Formats a count with thousands separators."""
    return NOTHING if value is None else f"{value:,}"


def between(interval: Interval | None, digits: int = 4, *, sign: bool = False) -> str:
    """Formats an interval's ends."""
    if interval is None or _none(interval.low):
        return NOTHING
    show = signed if sign else figure
    return f"{show(interval.low, digits)} to {show(interval.high, digits)}"


def _none(value: float | None) -> bool:
    return value is None or math.isnan(value)


def visible(text: str) -> str:
    """Replaces control characters and lone surrogates by U+FFFD, and drops bidirectional controls.

    Newlines and tabs stay.
    """
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if character == "\r" or unicodedata.bidirectional(character) in _STEERING:
        return ""
    if character not in "\n\t" and unicodedata.category(character) in ("Cc", "Cs"):
        return "\N{REPLACEMENT CHARACTER}"
    return character


# --- verdict -----------------------------------------------------------------------------------


def _verdict(facts: Facts) -> dict[str, Any]:
    evaluation, comparison = facts.evaluation, facts.comparison
    return {
        "blessed": evaluation.blessed,
        "reasons": evaluation.reasons,
        "checks": [{**dict(check), "name": _name(check.metric)} for check in evaluation.checks],
        "pushed_to": facts.sources.pushed_to,
        "held_back": facts.sources.held_back,
        "earlier": evaluation.baseline.model if evaluation.baseline else None,
        "compared": evaluation.baseline is not None and comparison.change is not None,
        "examples": evaluation.overall.examples,
        "resamples": RESAMPLES,
        "rows": [_metric_row(name, evaluation, comparison) for name in OVERALL],
    }


def _name(metric: str) -> str:
    return _NAMES.get(metric, metric)


def _metric_row(name: str, evaluation: Evaluation, comparison: Comparison) -> dict[str, Any]:
    value = getattr(evaluation.overall, name)
    earlier = getattr(evaluation.baseline.overall, name) if evaluation.baseline else None
    change = None if value is None or earlier is None else value - earlier
    of_change = comparison.change.overall[name] if comparison.change else None
    return {
        "name": _name(name),
        "value": value,
        "interval": comparison.candidate.overall[name],
        "earlier": earlier,
        "change": change,
        "change_interval": of_change,
        "words": _change_words(name, of_change),
    }


def _change_words(name: str, interval: Interval | None) -> str:
    if interval is None or _none(interval.low):
        return NOTHING
    if not interval.beyond_zero:
        return "no clear difference"
    return "better" if (interval.value > 0) != (name in _LESS_IS_BETTER) else "worse"


# --- data --------------------------------------------------------------------------------------


def length_figures(words: Mapping[int, int]) -> dict[str, float]:
    """Returns mean, sd, min, percentiles and max of lengths, given {length: rows}, not empty."""
    lengths = np.repeat(np.array(sorted(words)), [words[length] for length in sorted(words)])
    return {
        "mean": float(lengths.mean()),
        "sd": float(lengths.std(ddof=1)) if len(lengths) > 1 else 0.0,
        "min": float(lengths.min()),
        **{f"p{p}": float(np.percentile(lengths, p)) for p in _PERCENTILES},
        "max": float(lengths.max()),
    }


def _data(facts: Facts) -> dict[str, Any]:
    counts = facts.ingestion
    flat = counts.totals()
    splits = list(counts.splits)
    classes = list(facts.evaluation.classes)
    classes += sorted({label for rows in counts.splits.values() for label in rows} - set(classes))
    by_class: list[dict[str, Any]] = [
        {"name": name, "rows": [counts.splits[split].get(name, 0) for split in splits]}
        for name in classes
    ]
    lengths = counts.words
    figures = length_figures(lengths) if lengths else None
    marks = {name: figures[name] for name in ("p50", "p99")} if figures else {}
    read = facts.training.sequence_length or None
    totals = [sum(row["rows"]) for row in by_class]
    return {
        "files": counts.files,
        "read": counts.rows_read,
        "kept": counts.rows_kept,
        "dropped": [(words, flat[name]) for name, words in _DROPPED],
        "noted": [(words, flat[name]) for name, words in _NOTED],
        "splits": splits,
        "split_rows": [flat[f"rows_{split}"] for split in splits],
        "classes": by_class,
        "class_chart": charts.class_bars(classes, totals),
        "lengths": figures,
        "length_chart": charts.length_histogram(lengths, marks, read) if lengths else None,
        "length_bins": _length_bins(lengths),
        "longest_read": read,
        "cut_off": sum(rows for length, rows in lengths.items() if read and length > read),
        "vocabulary": facts.training.vocabulary_size,
        "glove": facts.training.glove,
        "findings": facts.findings,
        "previous": facts.distances.previous,
        "drift": _distances(facts.distances.distances, "drift"),
        "skew": _distances(facts.distances.distances, "skew"),
    }


def _length_bins(lengths: Mapping[int, int], width: int = 50) -> list[tuple[str, int]]:
    bins: dict[int, int] = {}
    for length, rows in lengths.items():
        bins[length // width] = bins.get(length // width, 0) + rows
    return [(f"{n * width} to {n * width + width - 1}", bins[n]) for n in sorted(bins)]


def _distances(distances: Iterable[Distance], kind: str) -> list[Distance]:
    return [
        replace(one, measure=_MEASURES.get(one.measure, one.measure))
        for one in distances
        if one.kind == kind
    ]


# --- training ----------------------------------------------------------------------------------


def _training(training: TrainingReport) -> dict[str, Any]:
    history = training.history
    best = history.index(training.best) if training.best in history else 0
    losses = {"log_loss": "train", "val_log_loss": "eval"}
    accuracies = {"accuracy": "train", "val_accuracy": "eval"}
    f1 = {"macro_f1": "train", "val_macro_f1": "eval"}

    def curve(name: str, title: str, label: str, keys: dict[str, str], **more: Any) -> Markup:
        return charts.training_curve(name, title, label, history, keys, best, **more)

    return {
        "history": history,
        "best": history[best],
        "best_number": best + 1,
        "switch": next((i for i, one in enumerate(history) if one.phase == 2), None),
        "charts": [
            curve("loss", "Log loss by epoch", "log loss (nats)", losses),
            curve("accuracy", "Accuracy by epoch", "accuracy", accuracies),
            curve("macro", "Macro-F1 by epoch", "macro-F1", f1),
            curve(
                "rate", "Learning rate by epoch", "learning rate",
                {"learning_rate": "learning rate"}, log=True,
            ),
            curve(
                "seconds", "Seconds per epoch", "seconds", {"seconds": "seconds"}, from_zero=True
            ),
        ],
        "facts": [
            ("Device", training.device),
            ("cuDNN's LSTM kernel", "ran" if training.cudnn else "did not run"),
            ("Precision", training.mixed_precision),
            ("Seconds, all of training", figure(training.seconds, 1)),
            (
                "Seconds per epoch, mean",
                figure(sum(one.seconds for one in history) / max(1, len(history)), 1),
            ),
            ("Epochs done by an earlier, killed run", count(training.resumed_epochs)),
            ("Trained on", f"{count(training.examples.get(features.TRAIN))} papers"),
            ("Watched on", f"{count(training.examples.get(features.EVAL))} papers (eval split)"),
            ("Parameters", count(training.parameters)),
            ("Temperature, fitted on the eval split", figure(training.temperature, 3)),
        ],
    }  # fmt: skip


# --- quality -----------------------------------------------------------------------------------


def _quality(facts: Facts) -> dict[str, Any]:
    evaluation, comparison = facts.evaluation, facts.comparison
    classes, overall = evaluation.classes, evaluation.overall
    own = comparison.candidate.per_class
    earlier = comparison.baseline.per_class["f1"] if comparison.baseline else None
    change = comparison.change.per_class["f1"] if comparison.change else None
    slices = _slice_rows(evaluation)
    drawn = [row for row in slices if row["examples"] >= _DRAWN_SLICE][:_DRAWN_SLICES]
    return {
        "classes": classes,
        "per_class": [
            {
                "name": name,
                **dict(overall.per_class[name]),
                "intervals": {score: own[score][i] for score in PER_CLASS},
                "change": change[i] if change else None,
                "change_words": _change_words("f1", change[i]) if change else "",
            }
            for i, name in enumerate(classes)
        ],
        "compared": change is not None,
        "f1_chart": charts.f1_intervals(classes, own["f1"], earlier),
        "matrix": _matrix(classes, overall.confusion_matrix),
        "ece": overall.expected_calibration_error,
        "bins": [one for one in overall.reliability if one.examples],
        "reliability_chart": charts.reliability(overall.reliability),
        "accuracy": overall.accuracy,
        "slices": slices,
        "slice_chart": charts.slice_intervals(
            [row["name"] for row in drawn],
            [row["examples"] for row in drawn],
            [row["interval"] for row in drawn],
            overall.accuracy or 0.0,
        ),
        "drawn": drawn,
        "smallest_drawn": _DRAWN_SLICE,
        "mistakes": [_mistake(mistake) for mistake in facts.mistakes],
        "wrong": facts.wrong_rows,
        "examples": overall.examples,
    }


def _matrix(classes: Sequence[str], counts: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    rows = []
    for name, row in zip(classes, counts, strict=True):
        total = sum(row)
        cells = [
            {"count": n, "share": n / total if total else None, "right": column == name}
            for column, n in zip(classes, row, strict=True)
        ]
        rows.append({"name": name, "cells": cells, "total": total})
    return rows


def _slice_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Returns a row for each slice, sorted by accuracy, the lowest first."""
    overall = evaluation.overall.accuracy
    baseline = evaluation.baseline.slices if evaluation.baseline else ()
    earlier = {(one.feature, one.value): one.accuracy for one in baseline}
    rows = []
    for one in evaluation.slices:
        if one.accuracy is None or overall is None:
            continue
        before = earlier.get((one.feature, one.value))
        interval = wilson(round(one.accuracy * one.examples), one.examples)
        rows.append(
            {
                "name": f"{_SLICES.get(one.feature, one.feature)} {one.value}",
                "examples": one.examples,
                "accuracy": one.accuracy,
                "interval": interval,
                "gap": one.accuracy - overall,
                "below": interval.high < overall,
                "macro_f1": one.macro_f1,
                "change": None if before is None else one.accuracy - before,
            }
        )
    return sorted(rows, key=lambda row: (row["gap"], -row["examples"]))


def _mistake(mistake: Mistake) -> dict[str, Any]:
    # Cut first: the text may have a million characters.
    text = visible(mistake.text[:_LONGEST_TEXT]).strip()
    return {
        **asdict(mistake),
        "id": visible(mistake.id[:200]),
        "text": text,
        "snippet": _first_words(text),
        "longer": len(" ".join(text.split())) > _SNIPPET,
        "characters": len(mistake.text),
        "cut": len(mistake.text) > _LONGEST_TEXT,
    }


def _first_words(text: str) -> str:
    """Returns the start of a text on one line, cut between words if possible."""
    line = " ".join(text.split())
    if len(line) <= _SNIPPET:
        return line
    return line[:_SNIPPET].rpartition(" ")[0] or line[:_SNIPPET]


# --- lineage -----------------------------------------------------------------------------------


def _lineage(facts: Facts) -> dict[str, Any]:
    sources, commit = facts.sources, facts.commit.removesuffix("-dirty")
    checkout = f"git checkout {commit}\n" if commit else ""
    return {
        "nodes": facts.nodes,
        "seconds": sum(node.seconds for node in facts.nodes if node.run == sources.run),
        "code": {"commit": commit, "modified": facts.commit != commit},
        "versions": facts.versions,
        "config": tomlkit.dumps(facts.sources.config),
        "command": f"{checkout}make env\n.venv/bin/python -m pipeline run --config run.toml",
        "database": str(sources.database),
    }
