"""Figures, bootstrap, tables and plot of the candidates that ``quality.py`` has scored."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from components.evaluation import metrics
from components.training.objective import fit_temperature

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]

LINEAR, PIPELINE, NOTEBOOK, ABLATION = "linear", "pipeline", "notebook", "ablation"
RESAMPLES = 2000
# Best validation accuracy that the notebook records.
WATCHED_ACCURACY = 0.749
_LOG_LOSS = "log_loss"
_FIGURES = {
    metrics.ACCURACY: "accuracy",
    metrics.MACRO_F1: "macro-F1",
    metrics.WEIGHTED_F1: "weighted F1",
    _LOG_LOSS: "log loss",
    metrics.ECE: "ECE",
}
_NONE = "n/a"
_BOOTSTRAPPED = (metrics.ACCURACY, metrics.MACRO_F1)
_COLORS = {LINEAR: "#888888", PIPELINE: "#1f6fb4", NOTEBOOK: "#c0504d", ABLATION: "#7fb2dc"}


@dataclass(frozen=True)
class Result:
    """A finished candidate.

    Attributes:
      name: of its row; runs that differ in the seed alone share it.
      kind: LINEAR, PIPELINE, NOTEBOOK or ABLATION.
      seed: None where nothing is random.
      eval_scores, test_scores: float [n, k], log-probabilities, or margins of a model without
        probabilities.
      meta: ``seconds`` of training, ``probabilistic``, ``commit``, ``processor``, ``device`` and,
        of networks, the ``history`` of epochs.
    """

    name: str
    kind: str
    seed: int | None
    eval_scores: FloatArray
    test_scores: FloatArray
    meta: dict[str, Any]


def confusion(labels: IntArray, scores: FloatArray) -> npt.NDArray[np.float64]:
    """Counts, float64 [k, k]: row = true class, column = the class of the highest score."""
    classes = scores.shape[1]
    cells = labels * classes + scores.argmax(axis=1)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes).astype(np.float64)


def calibration(labels: IntArray, scores: FloatArray, temperature: float = 1.0) -> dict[str, float]:
    """Log loss and ECE of ``softmax(scores / temperature)``."""
    logs = log_softmax(scores.astype(np.float64) / temperature, axis=1)
    confidence = np.exp(logs.max(axis=1))
    correct = scores.argmax(axis=1) == labels
    table = np.zeros((metrics.CALIBRATION_BINS, 3))
    bins = [metrics.calibration_bin(float(value)) for value in confidence]
    np.add.at(table, bins, np.column_stack([np.ones(len(bins)), confidence, correct]))
    return {
        _LOG_LOSS: float(-logs[np.arange(len(labels)), labels].mean()),
        metrics.ECE: metrics.expected_calibration_error(table),
    }


def figures(labels: IntArray, scores: FloatArray, *, probabilistic: bool) -> dict[str, Any]:
    """Every figure of one candidate on one split; log loss and ECE only of probabilities."""
    matrix = confusion(labels, scores)
    return {
        metrics.ACCURACY: metrics.micro_f1(matrix),
        metrics.MACRO_F1: metrics.macro_f1(matrix),
        metrics.WEIGHTED_F1: metrics.weighted_f1(matrix),
        **(calibration(labels, scores) if probabilistic else {}),
        "per_class_f1": np.nan_to_num(metrics.per_class_scores(matrix)[metrics.F1]).tolist(),
    }


def resampled(
    labels: IntArray, scores: FloatArray, draws: npt.NDArray[np.float32]
) -> dict[str, npt.NDArray[np.float64]]:
    """Accuracy and macro-F1 in each resample, float64 [resamples].

    Args:
      draws: how often each row was drawn, float32 [resamples, n]; the same for all candidates,
        which is what makes their comparison a paired one.
    """
    classes = scores.shape[1]
    cells = np.eye(classes**2, dtype=np.float32)[labels * classes + scores.argmax(axis=1)]
    matrices = (draws @ cells).astype(np.float64).reshape(-1, classes, classes)
    return {
        metrics.ACCURACY: np.array([metrics.micro_f1(matrix) for matrix in matrices]),
        metrics.MACRO_F1: np.array([metrics.macro_f1(matrix) for matrix in matrices]),
    }


def bootstrap(labels: IntArray, results: Sequence[Result]) -> list[dict[str, Any]]:
    """Paired bootstrap of each pipeline run, and of the mean over seeds, against each linear model.

    The p-value is one-sided: the share of resamples in which the pipeline's model is not better,
    with one added to both counts.
    """
    generator = np.random.default_rng(0)
    rows = len(labels)
    draws = np.stack(
        [
            np.bincount(generator.integers(rows, size=rows), minlength=rows).astype(np.float32)
            for _ in range(RESAMPLES)
        ]
    )
    runs = {
        f"{result.name}, seed {result.seed}": resampled(labels, result.test_scores, draws)
        for result in results
        if result.kind == PIPELINE
    }
    if len(runs) > 1:
        runs["mean of the seeds"] = {
            figure: np.mean([run[figure] for run in runs.values()], axis=0)
            for figure in _BOOTSTRAPPED
        }
    compared = []
    for linear in results:
        if linear.kind != LINEAR or not runs:
            continue
        other = resampled(labels, linear.test_scores, draws)
        for name, run in runs.items():
            row: dict[str, Any] = {"candidate": name, "against": linear.name}
            for figure in _BOOTSTRAPPED:
                gain = run[figure] - other[figure]
                low, high = np.quantile(gain, [0.025, 0.975])
                row[figure] = {
                    "gain": float(gain.mean()),
                    "low": float(low),
                    "high": float(high),
                    "p": float((1 + (gain <= 0).sum()) / (1 + len(gain))),
                }
            compared.append(row)
    return compared


def time_to_accuracy(history: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Seconds and epochs until the validation accuracy is reached; None where it never is."""
    seconds = 0.0
    for epoch, record in enumerate(history, 1):
        seconds += record["seconds"]
        if record["val_accuracy"] >= WATCHED_ACCURACY:
            return {"seconds": seconds, "epochs": epoch}
    return {"seconds": None, "epochs": None}


def make_report(
    results: Sequence[Result],
    labels: Mapping[str, IntArray],
    classes: Sequence[str],
    header: dict[str, Any],
) -> dict[str, Any]:
    """Everything that the tables and the plot show, as JSON values.

    Args:
      labels: class ids of the splits ``eval`` and ``test``.
      header: what the figures were measured on and with.
    """
    runs = []
    for result in results:
        probabilistic = bool(result.meta["probabilistic"])
        temperature = fit_temperature(result.eval_scores, labels["eval"])
        history = result.meta.get("history", [])
        runs.append(
            {
                "name": result.name,
                "kind": result.kind,
                "seed": result.seed,
                "eval": figures(labels["eval"], result.eval_scores, probabilistic=probabilistic),
                "test": figures(labels["test"], result.test_scores, probabilistic=probabilistic),
                "refitted": {
                    "temperature": temperature,
                    **calibration(labels["test"], result.test_scores, temperature),
                },
                **({"time_to_accuracy": time_to_accuracy(history)} if history else {}),
                **result.meta,
            }
        )
    return {
        **header,
        "classes": list(classes),
        "summary": _summary(runs),
        "bootstrap": {"resamples": RESAMPLES, "rows": bootstrap(labels["test"], results)},
        "runs": runs,
    }


def _summary(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and sample standard deviation over the seeds of each name."""
    summary = []
    for name in dict.fromkeys(run["name"] for run in runs):
        same = [run for run in runs if run["name"] == name]
        row: dict[str, Any] = {
            "name": name,
            "kind": same[0]["kind"],
            "seeds": [run["seed"] for run in same if run["seed"] is not None],
            "seconds": _spread([run["seconds"] for run in same]),
        }
        for split in ("eval", "test"):
            row[split] = {
                figure: _spread([run[split][figure] for run in same])
                for figure in _FIGURES
                if figure in same[0][split]
            }
            row[split]["per_class_f1"] = np.mean(
                [run[split]["per_class_f1"] for run in same], axis=0
            ).tolist()
        row["refitted"] = {
            figure: _spread([run["refitted"][figure] for run in same])
            for figure in same[0]["refitted"]
        }
        summary.append(row)
    return summary


def _spread(values: Sequence[float]) -> dict[str, Any]:
    return {
        "mean": float(np.mean(values)),
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "values": [float(value) for value in values],
    }


def _cell(spread: dict[str, Any] | None, digits: int = 4) -> str:
    if spread is None:
        return _NONE
    sd = "" if spread["sd"] is None else f" ± {spread['sd']:.{digits}f}"
    return f"{spread['mean']:.{digits}f}{sd}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def markdown(report: dict[str, Any]) -> str:
    """The tables for people."""
    main = [row for row in report["summary"] if row["kind"] != ABLATION]
    ablations = [row for row in report["summary"] if row["kind"] in (ABLATION, PIPELINE)]
    parts = [
        "# Model quality\n",
        _header(report),
        "\n## Test split\n",
        _figures_table(main, "test"),
    ]
    parts += [
        "\nMean ± standard deviation over the seeds. Seconds are of training, vectors and export "
        "included.\n\n## Eval split, on which models are chosen\n",
        _figures_table(main, "eval"),
        "\n## F1 of each class, test split\n",
        _table(
            ["candidate", *report["classes"]],
            [[row["name"], *(f"{f1:.3f}" for f1 in row["test"]["per_class_f1"])] for row in main],
        ),
        "\n## Calibration with a temperature fitted on the eval split\n",
        _table(
            ["candidate", "temperature", "log loss", "ECE"],
            [
                [
                    row["name"],
                    *(_cell(row["refitted"][f]) for f in ("temperature", _LOG_LOSS, metrics.ECE)),
                ]
                for row in main
            ],
        ),
    ]
    if report["bootstrap"]["rows"]:
        parts += [f"\n## Paired bootstrap, {RESAMPLES} resamples of the test split\n"]
        parts += [_bootstrap_table(report["bootstrap"]["rows"])]
        parts += ["\nGain with its 95 % interval; p is one-sided.\n"]
    timed = [run for run in report["runs"] if "time_to_accuracy" in run and run["kind"] != ABLATION]
    if timed:
        parts += [f"\n## Time to a validation accuracy of {WATCHED_ACCURACY}\n", _time_table(timed)]
    if any(row["kind"] == ABLATION for row in ablations):
        for split in ("eval", "test"):
            parts += [f"\n## Ablations, {split} split\n", _figures_table(ablations, split)]
        parts += ["\nOne seed each, the first of the pipeline's.\n"]
    return "\n".join(part.rstrip("\n") for part in parts) + "\n"


def _header(report: dict[str, Any]) -> str:
    rows = ", ".join(f"{count} {split}" for split, count in report["rows"].items())
    commits = sorted({run["commit"] for run in report["runs"]})
    machines = sorted({run["processor"] for run in report["runs"]})
    devices = sorted({run["device"] for run in report["runs"] if run["device"]})
    lines = [
        f"- commit {report['commit']}; candidates trained at {', '.join(commits)}",
        f"- processor {'; '.join(machines)}",
        f"- networks trained on {'; '.join(devices)}" if devices else "",
        f"- papers: {rows}; SHA-256 of the splits {report['data'][:16]}",
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _figures_table(summary: Sequence[dict[str, Any]], split: str) -> str:
    return _table(
        ["candidate", "seeds", *_FIGURES.values(), "seconds"],
        [
            [
                row["name"],
                ", ".join(map(str, row["seeds"])) or _NONE,
                *(_cell(row[split].get(figure)) for figure in _FIGURES),
                _cell(row["seconds"], 0),
            ]
            for row in summary
        ],
    )


def _bootstrap_table(rows: Sequence[dict[str, Any]]) -> str:
    def gain(row: dict[str, Any], figure: str) -> list[str]:
        cell = row[figure]
        interval = f"[{cell['low']:+.4f}, {cell['high']:+.4f}]"
        return [f"{cell['gain']:+.4f} {interval}", f"{cell['p']:.4f}"]

    return _table(
        ["candidate", "against", "accuracy", "p", "macro-F1", "p"],
        [
            [row["candidate"], row["against"], *(c for f in _BOOTSTRAPPED for c in gain(row, f))]
            for row in rows
        ],
    )


def _time_table(runs: Sequence[dict[str, Any]]) -> str:
    rows = []
    for run in runs:
        took = run["time_to_accuracy"]
        reached = took["seconds"] is not None
        rows.append(
            [
                run["name"] if run["seed"] is None else f"{run['name']}, seed {run['seed']}",
                f"{took['seconds']:.0f}" if reached else "not reached",
                str(took["epochs"]) if reached else _NONE,
                str(len(run["history"])),
                f"{max(record['val_accuracy'] for record in run['history']):.4f}",
            ]
        )
    return _table(
        ["candidate", "seconds", "epochs", "epochs trained", "best validation accuracy"], rows
    )


def plot(report: dict[str, Any]) -> str:
    """An SVG: a panel a figure, a line a candidate, a dot a seed, a bar at the mean."""
    shown = [metrics.ACCURACY, metrics.MACRO_F1, _LOG_LOSS, metrics.ECE]
    left, width, gap, line, top = 210, 190, 60, 24, 40
    summary = report["summary"]
    height = top + line * len(summary) + 40
    whole = left + len(shown) * (width + gap)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {height}" '
        f'width="{whole}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{whole}" height="{height}" fill="white"/>',
    ]
    for index, row in enumerate(summary):
        y = top + line * (index + 0.5)
        parts.append(
            f'<text x="{left - 12}" y="{y + 4:.0f}" text-anchor="end">'
            f"{html.escape(row['name'])}</text>"
        )
    for panel, figure in enumerate(shown):
        start = left + panel * (width + gap)
        values = [v for row in summary for v in row["test"].get(figure, {}).get("values", [])]
        if not values:
            continue
        low, high = min(values), max(values)
        margin = 0.08 * (high - low) or 0.01
        low, high = low - margin, high + margin
        parts.append(
            f'<text x="{start}" y="20" font-weight="bold">{_FIGURES[figure]}</text>'
            f'<line x1="{start}" x2="{start + width}" y1="{top - 6}" y2="{top - 6}" '
            'stroke="#cccccc"/>'
        )
        for index, row in enumerate(summary):
            spread = row["test"].get(figure)
            if spread is None:
                continue
            y, color = top + line * (index + 0.5), _COLORS[row["kind"]]
            for value in spread["values"]:
                x = start + (value - low) / (high - low) * width
                parts.append(f'<circle cx="{x:.1f}" cy="{y}" r="3.5" fill="{color}"/>')
            x = start + (spread["mean"] - low) / (high - low) * width
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 8}" y2="{y + 8}" stroke="{color}"/>'
                f'<text x="{start + width + 6}" y="{y + 4:.0f}" fill="{color}">'
                f"{spread['mean']:.3f}</text>"
            )
    parts.append(
        f'<text x="{left}" y="{height - 12}" fill="#666666">test split, commit '
        f"{html.escape(report['commit'])}; each panel has a scale of its own</text></svg>"
    )
    return "\n".join(parts) + "\n"


def write_report(report: dict[str, Any], folder: Path) -> list[Path]:
    """Writes ``quality.md``, ``quality.json`` and ``quality.svg``; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "quality.md": markdown(report),
        "quality.json": json.dumps(report, indent=1) + "\n",
        "quality.svg": plot(report),
    }
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8")
    return [folder / name for name in contents]
