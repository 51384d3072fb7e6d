"""Draws the page's charts as SVG with matplotlib.

Charts are drawn in placeholder colours, which become CSS variables: one drawing serves the light,
the dark and the printed page. No scripts are needed.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    LogLocator,
    MaxNLocator,
    NullLocator,
    PercentFormatter,
    StrMethodFormatter,
)

from components.contracts.evaluation_metrics import ReliabilityBin
from components.contracts.training_report import Epoch
from components.metrics.bootstrap import Interval

# Placeholder colours, each replaced by the CSS variable of its name.
_COLOURS = ("ink", "muted", "grid", "first", "second", "mark", "paper")
INK, MUTED, GRID, FIRST, SECOND, MARK, PAPER = (f"#01010{n}" for n in range(1, 8))

_SVG = "http://www.w3.org/2000/svg"
_LINK = "{http://www.w3.org/1999/xlink}href"

_DASHED = (0, (4, 3))
# Points: half the page's width, so that the text is legible on a phone.
_WIDTH = 400
_POINTS_PER_INCH = 72
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "run report",
    # Names of classes and slices may contain dollar signs.
    "text.parse_math": False,
    "font.size": 12,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "figure.facecolor": "none",
}


class _Chart:
    """A figure, and the tooltips of its marks."""

    def __init__(self, figure: Figure, axes: Axes) -> None:
        self.figure, self.axes = figure, axes
        self._tips: dict[str, Sequence[str]] = {}
        self.markup = Markup("")

    def tips(self, marks: Any, words: Sequence[str]) -> None:
        """Sets the tooltips of an artist's marks, in order."""
        name = f"tips{len(self._tips)}"
        marks.set_gid(name)
        self._tips[name] = words

    def intervals(
        self,
        places: npt.NDArray[Any],
        intervals: Sequence[Interval],
        tips: Sequence[str],
        colour: str,
        marker: str,
        **style: Any,
    ) -> None:
        """Draws horizontal intervals with marks at their values, and sets the tooltips."""
        values, lows, highs = np.array(intervals, float).reshape(-1, 3).T
        self.axes.hlines(places, lows, highs, color=colour, linewidth=2)
        marks = self.axes.scatter(values, places, color=colour, marker=marker, zorder=3, **style)
        self.tips(marks, tips)


@contextmanager
def _chart(name: str, title: str, height: float) -> Iterator[_Chart]:
    """Yields axes to draw on, and sets ``markup`` afterwards."""
    with matplotlib.rc_context(_STYLE):
        size = (_WIDTH / _POINTS_PER_INCH, height / _POINTS_PER_INCH)
        figure = Figure(figsize=size, layout="constrained")
        chart = _Chart(figure, figure.add_subplot())
        yield chart
        stream = io.BytesIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(stream, format="svg", metadata=nothing)
    chart.markup = Markup(_embed(stream.getvalue(), name, title, chart._tips))


def _embed(svg: bytes, name: str, title: str, tips: Mapping[str, Sequence[str]]) -> str:
    """Turns a drawing into an element of the page, with unique ids and an accessible name."""
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ET.fromstring(svg)
    for metadata in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(metadata)
    for group, words in tips.items():
        _tip(root, group, words)
    for element in root.iter():
        for attribute, value in element.items():
            if attribute == "id":
                element.set(attribute, f"{name}-{value}")
            elif attribute == _LINK:
                element.set(attribute, value.replace("#", f"#{name}-", 1))
            else:
                element.set(attribute, value.replace("url(#", f"url(#{name}-"))
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.set("role", "img")
    root.set("aria-label", title)
    text = ET.tostring(root, encoding="unicode")
    return re.sub("#01010([1-7])", lambda found: f"var(--{_COLOURS[int(found[1]) - 1]})", text)


def _tip(root: ET.Element, group: str, words: Sequence[str]) -> None:
    drawn = root.find(f".//*[@id='{group}']")
    if drawn is None:
        return
    marks = [one for one in drawn.iter() if one.tag == f"{{{_SVG}}}use"]
    marks = marks or [one for one in drawn if one.tag == f"{{{_SVG}}}path"]
    for mark, text in zip(marks, words, strict=False):
        # Browsers show an element's title as its tooltip, though not all do for use elements.
        ET.SubElement(mark, f"{{{_SVG}}}title").text = text


def length_histogram(
    lengths: Mapping[int, int], marks: Mapping[str, float], longest_read: int | None
) -> Markup:
    """Draws the histogram of text lengths, given as {number of words: rows}.

    Marks named lengths, such as percentiles, and what lies beyond the words that the model reads.
    """
    values = np.array(sorted(lengths))
    rows = np.array([lengths[int(value)] for value in values])
    # The few longest texts would squeeze the others to the left.
    end = max(1.0, float(np.percentile(np.repeat(values, rows), 99.9)))
    width = max(1, round(end / 60))
    edges = np.arange(0, int(end) + width + 1, width)
    with _chart("lengths", "Histogram of words per text", 250) as chart:
        axes = chart.axes
        counts, _ = np.histogram(np.minimum(values, edges[-1] - 1e-9), edges, weights=rows)
        bars = axes.bar(edges[:-1], counts, width * 0.92, align="edge", color=FIRST)
        for bar, start, texts in zip(bars, edges, counts, strict=False):
            last = f"to {start + width - 1}"
            if start == edges[-2] and values[-1] >= edges[-1]:
                last = "or more"
            chart.tips(bar, [f"{start} {last} words: {texts:,.0f} texts"])
        top = float(counts.max())
        for name, value in marks.items():
            axes.axvline(value, color=MARK, linewidth=1, linestyle=_DASHED)
            axes.annotate(
                name, (value, top * 1.03), (4, 0), textcoords="offset points", fontsize=10
            )
        if longest_read is not None and longest_read < edges[-1]:
            axes.axvspan(longest_read, edges[-1], color=MUTED, alpha=0.15, linewidth=0, zorder=0)
            axes.text(edges[-1], top * 0.85, "cut off ", color=INK, fontsize=10, ha="right")
        axes.set_xlim(0, edges[-1])
        axes.set_ylim(0, top * 1.13)
        axes.set_xlabel("words after cleaning")
        axes.set_ylabel("texts")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.grid(axis="x", visible=False)
    return chart.markup


def class_bars(classes: Sequence[str], rows: Sequence[int]) -> Markup:
    """Draws the texts of each class, the largest first."""
    order = sorted(range(len(classes)), key=lambda index: rows[index])
    total = max(1, sum(rows))
    with _chart("classes", "Texts of each class", 60 + 24 * len(classes)) as chart:
        axes = chart.axes
        bars = axes.barh(
            range(len(order)), [rows[index] for index in order], color=FIRST, height=0.7
        )
        shares = [f"{rows[index] / total:.1%}" for index in order]
        for bar, index, share in zip(bars, order, shares, strict=True):
            chart.tips(bar, [f"{classes[index]}: {rows[index]:,} texts, {share}"])
        axes.bar_label(bars, shares, padding=4, fontsize=10)
        axes.set_yticks(range(len(order)), [classes[index] for index in order])
        axes.set_xlim(0, max(rows, default=1) * 1.14 + 1)
        axes.set_xlabel("texts, all splits")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.grid(axis="y", visible=False)
    return chart.markup


def training_curve(
    name: str,
    title: str,
    label: str,
    history: Sequence[Epoch],
    keys: Mapping[str, str],
    best: int,
    *,
    log: bool = False,
    from_zero: bool = False,
) -> Markup:
    """Draws metrics by epoch over both phases, and marks the phases' boundary and the best epoch.

    ``keys`` is {metric: label of its line}, ``best`` an index, and ``label`` that of the vertical
    axis, which may be logarithmic or start at zero.
    """
    epochs = np.arange(1, len(history) + 1)
    switch = next((i for i, epoch in enumerate(history) if epoch.phase == 2), None)
    with _chart(name, title, 230) as chart:
        axes = chart.axes
        if switch is not None:
            axes.axvline(switch + 0.5, color=MUTED, linewidth=1, linestyle=_DASHED)
            axes.annotate(
                "phase 2", (switch + 0.5, 1), (4, -2), xycoords=("data", "axes fraction"),
                textcoords="offset points", va="top", fontsize=10, color=INK,
            )  # fmt: skip
        for (key, called), colour, line in zip(
            keys.items(), (FIRST, SECOND), ("-", (0, (5, 2))), strict=False
        ):
            values = np.array([getattr(epoch, key) for epoch in history], float)
            axes.plot(epochs, values, color=colour, linestyle=line, label=called)
            points = axes.scatter(epochs, values, s=16, color=colour, zorder=3)
            chart.tips(
                points,
                [
                    f"epoch {i} (phase {epoch.phase}): {called} {value:.4g}"
                    for i, epoch, value in zip(epochs, history, values, strict=True)
                ],
            )
            if key == list(keys)[-1]:
                axes.scatter(
                    [best + 1], [values[best]], s=90, facecolors="none", edgecolors=MARK,
                    linewidths=2, zorder=4, label="best epoch",
                )  # fmt: skip
        # Room for "phase 2" above the lines.
        axes.margins(y=0.2)
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        if from_zero:
            axes.set_ylim(0, axes.dataLim.ymax * 1.2)
        axes.set_xlim(0.5, len(history) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
        axes.set_xlabel("epoch, both phases")
        axes.set_ylabel(label)
        axes.legend(
            loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, handlelength=1.8,
            columnspacing=1.2, borderaxespad=0.3,
        )  # fmt: skip
    return chart.markup


def f1_intervals(
    classes: Sequence[str],
    candidate: Sequence[Interval],
    baseline: Sequence[Interval] | None,
) -> Markup:
    """Draws the F1 of each class with its interval, of one or two models."""
    places = np.arange(len(classes))[::-1]
    models = [("this model", candidate, FIRST, "o", 0.0 if baseline is None else 0.14)]
    if baseline is not None:
        models.append(("earlier model", baseline, SECOND, "s", -0.14))
    with _chart("f1", "F1 of each class with 95 % interval", 70 + 30 * len(classes)) as chart:
        axes = chart.axes
        for called, intervals, colour, marker, shift in models:
            tips = [
                f"{name}, {called}: F1 {one.value:.3f} ({one.low:.3f} to {one.high:.3f})"
                for name, one in zip(classes, intervals, strict=True)
            ]
            chart.intervals(places + shift, intervals, tips, colour, marker, s=34, label=called)
        axes.set_yticks(places, list(classes))
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.6, len(classes) - 0.4)
        axes.set_xlabel("F1, with 95 % interval")
        axes.grid(axis="y", visible=False)
        if baseline is not None:
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, borderaxespad=0.3)
    return chart.markup


def reliability(bins: Sequence[ReliabilityBin]) -> Markup:
    """Draws accuracy by confidence."""
    filled = [one for one in bins if one.examples]
    confidence = np.array([one.confidence for one in filled], float)
    accuracy = np.array([one.accuracy for one in filled], float)
    examples = np.array([one.examples for one in filled], float)
    with _chart("reliability", "Reliability diagram: accuracy by confidence", 330) as chart:
        axes = chart.axes
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=_DASHED)
        axes.annotate(
            "as sure as right", (0.06, 0.06), (0, 4), textcoords="offset points",
            fontsize=10, color=INK, rotation=45, rotation_mode="anchor",
            transform_rotates_text=True,
        )  # fmt: skip
        axes.vlines(confidence, confidence, accuracy, color=SECOND, linewidth=3, label="gap")
        axes.plot(confidence, accuracy, color=FIRST, linewidth=1.2)
        sizes = 20 + 260 * examples / max(1.0, float(examples.max(initial=1.0)))
        points = axes.scatter(
            confidence, accuracy, s=sizes, color=FIRST, zorder=3, edgecolors=PAPER,
            label="accuracy (area: texts)",
        )  # fmt: skip
        chart.tips(
            points,
            [
                f"scores {one.lower:.2f} to {one.upper:.2f}: {one.examples:,} texts, "
                f"mean {one.confidence:.3f}, right {one.accuracy:.3f}"
                for one in filled
            ],
        )
        axes.set_xlim(0, 1.03)
        axes.set_ylim(0, 1.04)
        axes.set_aspect("equal")
        axes.set_xlabel("confidence (highest score)")
        axes.set_ylabel("share that is right")
        axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
        axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    return chart.markup


def slice_intervals(
    names: Sequence[str], rows: Sequence[int], shares: Sequence[Interval], overall: float
) -> Markup:
    """Draws the accuracy of slices with intervals, from top to bottom, against the whole split's.

    ``rows`` is the number of texts in each slice.
    """
    places = np.arange(len(names))[::-1]
    with _chart("slices", "Accuracy of slices against the whole", 70 + 22 * len(names)) as chart:
        axes = chart.axes
        axes.axvline(overall, color=MARK, linewidth=1.4, linestyle=_DASHED)
        tips = [
            f"{name}: {one.value:.1%} of {texts:,} texts ({one.low:.1%} to {one.high:.1%})"
            for name, texts, one in zip(names, rows, shares, strict=True)
        ]
        below = np.array([share.high < overall for share in shares], bool)
        for chosen, colour, marker in ((below, SECOND, "s"), (~below, FIRST, "o")):
            kept = np.flatnonzero(chosen)
            chart.intervals(
                places[kept], [shares[i] for i in kept], [tips[i] for i in kept], colour, marker,
                s=30,
            )  # fmt: skip
        axes.set_yticks(places, list(names))
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.set_xlim(max(0.0, min([overall, *(share.low for share in shares)]) - 0.03), 1.01)
        axes.set_xlabel(f"accuracy, with 95 % interval (line: overall, {overall:.3f})")
        axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
        axes.grid(axis="y", visible=False)
    return chart.markup
