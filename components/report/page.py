"""Renders facts as one self-contained HTML file.

The template escapes all values except the charts, whose text matplotlib and ElementTree have
escaped. The page's content security policy forbids scripts and further requests.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import jinja2
import numpy as np
import tomlkit
from markupsafe import Markup

from components.contracts import features
from components.contracts.evaluation_metrics import Evaluation
from components.contracts.training_report import TrainingReport
from components.metrics.bootstrap import (
    OVERALL,
    RESAMPLES,
    Comparison,
    Interval,
    wilson,
)
from components.report import charts
from components.report.run_facts import Facts

TEMPLATE = "report.html.j2"
NOTHING = "\N{EN DASH}"

_LESS_IS_BETTER = ("cross_entropy", "expected_calibration_error")
_SLICES = {
    features.LENGTH_BUCKET: "words",
    features.YEAR: "year",
    features.LATEX_BUCKET: "LaTeX",
}
_PERCENTILES = (50, 90, 95, 99)

# Unicode's bidirectional embeddings, overrides, isolates and their ends, and carriage returns.
_STEERING = re.compile("[\r\u202a-\u202e\u2066-\u2069]")
_CONTROLS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

# Smaller slices are in the table, but too noisy to be drawn.
_DRAWN_SLICE = 30
_DRAWN_SLICES = 16


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
        number=number,
        signed=signed,
        share=share,
        count=count,
        between=between,
        change_words=_change_words,
        visible=visible,
        zip=zip,
    )
    evaluation = facts.evaluation
    commit = facts.commit.removesuffix("-dirty")
    checkout = f"git checkout {commit}\n" if commit else ""
    return environment.get_template(TEMPLATE).render(
        facts=facts,
        sources=facts.sources,
        evaluation=evaluation,
        overall=evaluation.overall,
        comparison=facts.comparison,
        compared=evaluation.baseline is not None and facts.comparison.change is not None,
        metrics=[_metric_row(name, evaluation, facts.comparison) for name in OVERALL],
        resamples=RESAMPLES,
        ingestion=facts.ingestion,
        data=_data(facts),
        training=facts.training,
        epochs=_epochs(facts.training),
        quality=_quality(facts),
        commit=commit,
        config=tomlkit.dumps(facts.sources.config),
        command=f"{checkout}make env\n.venv/bin/python -m pipeline run --config run.toml",
    )


def number(value: float | None, digits: int = 4, sign: str = "") -> str:
    """Formats a number; a dash for None or NaN, as in the functions below."""
    return NOTHING if _none(value) else f"{value:{sign}.{digits}f}".replace("-", "\N{MINUS SIGN}")


def signed(value: float | None, digits: int = 4) -> str:
    """Formats a change with its sign, a true minus."""
    return number(value, digits, "+")


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
    show = signed if sign else number
    return f"{show(interval.low, digits)} to {show(interval.high, digits)}"


def _none(value: float | None) -> bool:
    return value is None or math.isnan(value)


def visible(text: str) -> str:
    """Replaces control characters and lone surrogates by U+FFFD, and drops bidirectional controls.

    Newlines and tabs stay.
    """
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", _STEERING.sub("", text))


def _metric_row(name: str, evaluation: Evaluation, comparison: Comparison) -> dict[str, Any]:
    value = getattr(evaluation.overall, name)
    earlier = getattr(evaluation.baseline.overall, name) if evaluation.baseline else None
    change = None if value is None or earlier is None else value - earlier
    of_change = comparison.change.overall[name] if comparison.change else None
    return {
        "metric": name,
        "value": value,
        "interval": comparison.candidate.overall[name],
        "earlier": earlier,
        "change": change,
        "change_interval": of_change,
        "words": _change_words(of_change, name),
    }


def _change_words(interval: Interval | None, name: str) -> str:
    if interval is None or _none(interval.low):
        return NOTHING
    if not interval.beyond_zero:
        return "no clear difference"
    return "better" if (interval.value > 0) != (name in _LESS_IS_BETTER) else "worse"


def length_statistics(words: Mapping[int, int]) -> dict[str, float]:
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
    splits, lengths = facts.ingestion.splits, facts.ingestion.words
    classes = list(facts.evaluation.classes)
    classes += sorted({label for rows in splits.values() for label in rows} - set(classes))
    by_class = {name: [rows.get(name, 0) for rows in splits.values()] for name in classes}
    statistics = length_statistics(lengths) if lengths else None
    marks = {name: statistics[name] for name in ("p50", "p99")} if statistics else {}
    read = facts.training.sequence_length or None
    return {
        "by_class": by_class,
        "class_chart": charts.class_bars(classes, [sum(rows) for rows in by_class.values()]),
        "lengths": statistics,
        "length_chart": charts.length_histogram(lengths, marks, read) if lengths else None,
        "length_bins": _length_bins(lengths),
        "longest_read": read,
        "cut_off": sum(rows for length, rows in lengths.items() if read and length > read),
    }


def _length_bins(lengths: Mapping[int, int], width: int = 50) -> list[tuple[str, int]]:
    bins: dict[int, int] = {}
    for length, rows in lengths.items():
        bins[length // width] = bins.get(length // width, 0) + rows
    return [(f"{n * width} to {n * width + width - 1}", bins[n]) for n in sorted(bins)]


def _epochs(training: TrainingReport) -> dict[str, Any]:
    history = training.history
    best = history.index(training.best) if training.best in history else 0

    def curve(name: str, title: str, label: str, keys: dict[str, str], **more: Any) -> Markup:
        return charts.training_curve(name, title, label, history, keys, best, **more)

    def train_and_eval(metric: str) -> dict[str, str]:
        return {metric: "train", f"val_{metric}": "eval"}

    return {
        "best": history[best],
        "best_number": best + 1,
        "switch": next((i for i, one in enumerate(history) if one.phase == 2), None),
        "charts": [
            curve("loss", "Log loss by epoch", "log loss (nats)", train_and_eval("log_loss")),
            curve("accuracy", "Accuracy by epoch", "accuracy", train_and_eval("accuracy")),
            curve("macro", "Macro-F1 by epoch", "macro-F1", train_and_eval("macro_f1")),
            curve(
                "rate", "Learning rate by epoch", "learning rate",
                {"learning_rate": "learning rate"}, log=True,
            ),
            curve(
                "seconds", "Seconds per epoch", "seconds", {"seconds": "seconds"}, from_zero=True
            ),
        ],
    }  # fmt: skip


def _quality(facts: Facts) -> dict[str, Any]:
    evaluation, comparison = facts.evaluation, facts.comparison
    earlier = comparison.baseline.per_class["f1"] if comparison.baseline else None
    slices = _slice_rows(evaluation, {**_SLICES, facts.sources.columns.label: "class"})
    drawn = [row for row in slices if row["examples"] >= _DRAWN_SLICE][:_DRAWN_SLICES]
    return {
        "f1_chart": charts.f1_intervals(
            evaluation.classes, comparison.candidate.per_class["f1"], earlier
        ),
        "reliability_chart": charts.reliability(evaluation.overall.reliability),
        "slices": slices,
        "slice_chart": charts.slice_intervals(
            [row["name"] for row in drawn],
            [row["examples"] for row in drawn],
            [row["interval"] for row in drawn],
            evaluation.overall.accuracy or 0.0,
        ),
        "drawn": drawn,
        "smallest_drawn": _DRAWN_SLICE,
    }


def _slice_rows(evaluation: Evaluation, names: Mapping[str, str]) -> list[dict[str, Any]]:
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
                "name": f"{names.get(one.feature, one.feature)} {one.value}",
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
