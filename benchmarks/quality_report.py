"""Metrics, bootstrap, tables and plot of the candidates that ``quality.py`` scores."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from scipy.special import log_softmax

from components.metrics import classification
from components.training.objective import fit_temperature

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]

LINEAR, PIPELINE, NOTEBOOK, ABLATION = "linear", "pipeline", "notebook", "ablation"
RESAMPLES = 2000
# Best validation accuracy that the notebook records.
WATCHED_ACCURACY = 0.749
# Accuracies that the notebook's method has passed, for its curve.
_CURVE = (0.70, 0.72, 0.74, 0.75, 0.76, 0.77, 0.78)
_LOG_LOSS = "log_loss"
_METRICS = {
    classification.ACCURACY: "accuracy",
    classification.F1_MACRO: "macro-F1",
    classification.F1_WEIGHTED: "weighted F1",
    _LOG_LOSS: "log loss",
    classification.ECE: "ECE",
}
_NONE = "n/a"
_BOOTSTRAPPED = (classification.ACCURACY, classification.F1_MACRO)
_COLORS = {LINEAR: "#888888", PIPELINE: "#1f6fb4", NOTEBOOK: "#c0504d", ABLATION: "#7fb2dc"}
_LINES = {"notebook.toml": "--"}


@dataclass(frozen=True)
class Result:
    """A finished candidate.

    Attributes:
        name: name of its row; runs that differ only in the seed share it.
        kind: LINEAR, PIPELINE, NOTEBOOK or ABLATION.
        seed: None if nothing is random.
        eval_scores, test_scores: float [n, k], log-probabilities, or margins of a model without
            probabilities; no test scores if only the eval split is used.
        meta: ``seconds`` of training, ``processor_seconds``, ``probabilistic``, ``commit``,
            ``processor``, ``device`` and, of networks, the ``history`` of epochs.
    """

    name: str
    kind: str
    seed: int | None
    eval_scores: FloatArray
    test_scores: FloatArray | None
    meta: dict[str, Any]


def calibration(labels: IntArray, scores: FloatArray, temperature: float = 1.0) -> dict[str, float]:
    """Returns log loss (nats) and ECE of ``softmax(scores / temperature)``."""
    logs = log_softmax(scores.astype(np.float64) / temperature, axis=1)
    confidence = np.exp(logs.max(axis=1))
    gaps = np.bincount(
        classification.calibration_bins(confidence),
        weights=confidence - (scores.argmax(axis=1) == labels),
    ).astype(np.float64)
    return {
        _LOG_LOSS: classification.log_loss(labels, logs),
        classification.ECE: float(classification.expected_calibration_error(gaps, len(labels))),
    }


def metrics_of(labels: IntArray, scores: FloatArray, *, probabilistic: bool) -> dict[str, Any]:
    """Returns a candidate's metrics on a split; log loss and ECE only of probabilities."""
    matrix = classification.confusion_matrix(labels, scores)
    return {
        classification.ACCURACY: float(classification.accuracy(matrix)),
        classification.F1_MACRO: float(classification.f1_macro(matrix)),
        classification.F1_WEIGHTED: float(classification.f1_weighted(matrix)),
        **(calibration(labels, scores) if probabilistic else {}),
        "per_class_f1": np.nan_to_num(
            classification.per_class_scores(matrix)[classification.F1]
        ).tolist(),
    }


def resampled(
    labels: IntArray, scores: FloatArray, draws: npt.NDArray[np.float32]
) -> dict[str, npt.NDArray[np.float64]]:
    """Returns accuracy and macro-F1 in each resample, float64 [resamples].

    Args:
        labels: class ids, integer [n].
        scores: float [n, k].
        draws: how often each row was drawn, float32 [resamples, n]; the same for all candidates, so
            that their comparison is paired.
    """
    classes = scores.shape[1]
    cells = np.eye(classes**2, dtype=np.float32)[labels * classes + scores.argmax(axis=1)]
    matrices = (draws @ cells).astype(np.float64).reshape(-1, classes, classes)
    return {
        classification.ACCURACY: classification.accuracy(matrices),
        classification.F1_MACRO: classification.f1_macro(matrices),
    }


def bootstrap(labels: IntArray, results: Sequence[Result]) -> list[dict[str, Any]]:
    """Compares pipeline runs, and their mean over seeds, with each linear model by bootstrap.

    The p-value is one-sided: the share of paired resamples in which the pipeline's model is not
    better, with one added to both counts.
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
        if result.kind == PIPELINE and result.test_scores is not None
    }
    if len(runs) > 1:
        runs["mean of the seeds"] = {
            metric: np.mean([run[metric] for run in runs.values()], axis=0)
            for metric in _BOOTSTRAPPED
        }
    compared = []
    for linear in results:
        if linear.kind != LINEAR or linear.test_scores is None or not runs:
            continue
        other = resampled(labels, linear.test_scores, draws)
        for name, run in runs.items():
            row: dict[str, Any] = {"candidate": name, "against": linear.name}
            for metric in _BOOTSTRAPPED:
                gain = run[metric] - other[metric]
                low, high = np.quantile(gain, [0.025, 0.975])
                row[metric] = {
                    "gain": float(gain.mean()),
                    "low": float(low),
                    "high": float(high),
                    "p": float((1 + (gain <= 0).sum()) / (1 + len(gain))),
                }
            compared.append(row)
    return compared


def time_to_accuracy(
    history: Sequence[dict[str, Any]], accuracy: float = WATCHED_ACCURACY
) -> dict[str, Any]:
    """Returns seconds and epochs until the validation accuracy is reached; None if it never is.

    Seconds are those of the epochs, including validation.
    """
    seconds = 0.0
    for epoch, record in enumerate(history, 1):
        seconds += record["seconds"]
        if record["val_accuracy"] >= accuracy:
            return {"seconds": seconds, "epochs": epoch}
    return {"seconds": None, "epochs": None}


def speed(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the time to accuracy of the pipeline's model as a share of each notebook run's.

    Only runs on the same processor and device are compared.
    """
    rows = []
    for notebook in runs:
        theirs = notebook.get("time_to_accuracy", {}).get("seconds")
        if notebook["kind"] != NOTEBOOK or theirs is None:
            continue
        same = [
            run
            for run in runs
            if run["kind"] == PIPELINE
            and all(run[key] == notebook[key] for key in ("processor", "device"))
        ]
        ours = [run["time_to_accuracy"]["seconds"] for run in same]
        if not ours or None in ours:
            continue
        rows.append(
            {
                "against": notebook["name"],
                "notebook_seconds": theirs,
                "pipeline_seconds": _spread(ours),
                "share": _spread([seconds / theirs for seconds in ours]),
                "finished": [run.get("finished") for run in (notebook, *same)],
            }
        )
    return rows


def ablation_gains(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the full model's eval metrics less those of each ablation, paired by seed."""
    whole = {run["seed"]: run["eval"] for run in runs if run["kind"] == PIPELINE}
    rows = []
    for name in dict.fromkeys(run["name"] for run in runs if run["kind"] == ABLATION):
        pairs = [
            (whole[run["seed"]], run["eval"])
            for run in runs
            if run["name"] == name and run["kind"] == ABLATION and run["seed"] in whole
        ]
        if pairs:
            rows.append(
                {
                    "name": name,
                    **{
                        metric: _spread([full[metric] - part[metric] for full, part in pairs])
                        for metric in _METRICS
                    },
                }
            )
    return rows


def make_report(
    results: Sequence[Result],
    labels: Mapping[str, IntArray],
    classes: Sequence[str],
    header: dict[str, Any],
) -> dict[str, Any]:
    """Returns the content of the tables and the plot as JSON values.

    Args:
        results: finished candidates.
        labels: class ids of the splits ``eval`` and ``test``.
        classes: class names.
        header: commit, machine and data of the measurements.
    """
    runs = []
    for result in results:
        probabilistic = bool(result.meta["probabilistic"])
        history = result.meta.get("history", [])
        tested: dict[str, Any] = {}
        if result.test_scores is not None:
            temperature = fit_temperature(result.eval_scores, labels["eval"])
            tested = {
                "test": metrics_of(labels["test"], result.test_scores, probabilistic=probabilistic),
                "refitted": {
                    "temperature": temperature,
                    **calibration(labels["test"], result.test_scores, temperature),
                },
            }
        runs.append(
            {
                "name": result.name,
                "kind": result.kind,
                "seed": result.seed,
                "eval": metrics_of(labels["eval"], result.eval_scores, probabilistic=probabilistic),
                **tested,
                **({"time_to_accuracy": time_to_accuracy(history)} if history else {}),
                **result.meta,
            }
        )
    return {
        **header,
        "classes": list(classes),
        "summary": _summary(runs),
        "bootstrap": {"resamples": RESAMPLES, "rows": bootstrap(labels["test"], results)},
        "speed": speed(runs),
        "ablations": ablation_gains(runs),
        "runs": runs,
    }


def _summary(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns mean and sample standard deviation over the seeds of each name."""
    summary = []
    for name in dict.fromkeys(run["name"] for run in runs):
        same = [run for run in runs if run["name"] == name]
        row: dict[str, Any] = {
            "name": name,
            "kind": same[0]["kind"],
            "seeds": [run["seed"] for run in same if run["seed"] is not None],
            "seconds": _spread([run["seconds"] for run in same]),
            "commits": sorted({run["commit"] for run in same}),
        }
        for split in ("eval", "test"):
            if split not in same[0]:
                continue
            row[split] = {
                metric: _spread([run[split][metric] for run in same])
                for metric in _METRICS
                if metric in same[0][split]
            }
            row[split]["per_class_f1"] = np.mean(
                [run[split]["per_class_f1"] for run in same], axis=0
            ).tolist()
        if "refitted" in same[0]:
            row["refitted"] = {
                metric: _spread([run["refitted"][metric] for run in same])
                for metric in same[0]["refitted"]
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
    """Returns the tables as Markdown."""
    main = [row for row in report["summary"] if row["kind"] != ABLATION]
    parts = [
        "# Model quality\n",
        _header(report),
        "\n## Test split\n",
        _metrics_table(main, "test"),
    ]
    parts += [
        "\nMean ± standard deviation over the seeds. Seconds are of training, vectors and export "
        "included.\n\n## Eval split, on which models are chosen\n",
        _metrics_table(main, "eval"),
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
                    *(
                        _cell(row["refitted"][f])
                        for f in ("temperature", _LOG_LOSS, classification.ECE)
                    ),
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
        parts += ["\nSeconds of the epochs, their validation included.\n"]
    for row in report["speed"]:
        ours, share = row["pipeline_seconds"], row["share"]
        parts += [
            f"\nThe pipeline's model needs {ours['mean']:.0f} s where {row['against']} needs "
            f"{row['notebook_seconds']:.0f} s: {share['mean']:.3f} of its time "
            f"(1/{1 / share['mean']:.1f}), on the same machine.\n"
        ]
    notebooks = [run for run in timed if run["kind"] == NOTEBOOK]
    if notebooks:
        parts += ["\n## First epoch of a validation accuracy\n", _curve_table(notebooks)]
    if report["ablations"]:
        parts += ["\n## Ablations, eval split\n", _ablation_table(report)]
        parts += ["\nIn brackets: the whole model's metric, of the same seed, less this one's.\n"]
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


def _metrics_table(summary: Sequence[dict[str, Any]], split: str) -> str:
    return _table(
        ["candidate", "seeds", *_METRICS.values(), "seconds", "commit"],
        [
            [
                row["name"],
                ", ".join(map(str, row["seeds"])) or _NONE,
                *(_cell(row[split].get(metric)) for metric in _METRICS),
                _cell(row["seconds"], 0),
                ", ".join(row["commits"]),
            ]
            for row in summary
        ],
    )


def _ablation_table(report: dict[str, Any]) -> str:
    gains = {row["name"]: row for row in report["ablations"]}
    shown = [row for row in report["summary"] if row["kind"] == PIPELINE or row["name"] in gains]
    rows = []
    for row in shown:
        cells = [_cell(row["eval"][metric]) for metric in _METRICS]
        if row["name"] in gains:
            means = [gains[row["name"]][metric]["mean"] for metric in _METRICS]
            cells = [f"{cell} ({mean:+.4f})" for cell, mean in zip(cells, means, strict=True)]
        rows.append([row["name"], ", ".join(map(str, row["seeds"])), *cells])
    return _table(["model", "seeds", *_METRICS.values()], rows)


def _curve_table(runs: Sequence[dict[str, Any]]) -> str:
    reached = [
        [time_to_accuracy(run["history"], accuracy)["epochs"] for accuracy in _CURVE]
        for run in runs
    ]
    return _table(
        ["candidate", *(f"{accuracy:.2f}" for accuracy in _CURVE), "epochs trained"],
        [
            [run["name"], *(str(epoch or "never") for epoch in epochs), str(len(run["history"]))]
            for run, epochs in zip(runs, reached, strict=True)
        ],
    )


def _bootstrap_table(rows: Sequence[dict[str, Any]]) -> str:
    def gain(row: dict[str, Any], metric: str) -> list[str]:
        cell = row[metric]
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


def plot(report: dict[str, Any]) -> Figure:
    """Draws the test metrics, a dot per seed and a bar at the mean, and the validation curves."""
    shown = [classification.ACCURACY, classification.F1_MACRO, _LOG_LOSS, classification.ECE]
    summary = [row for row in report["summary"] if "test" in row][::-1]
    curves = [run for run in report["runs"] if run.get("history") and run["kind"] != ABLATION]
    height = 1.2 + 0.32 * len(summary)
    figure = Figure(figsize=(13, height + (4 if curves else 0)), layout="constrained")
    ratios = [height, 4] if curves else [height]
    grid = figure.add_gridspec(len(ratios), 4, height_ratios=ratios)
    for column, name in enumerate(shown):
        axes = figure.add_subplot(grid[0, column])
        for position, row in enumerate(summary):
            spread, color = row["test"].get(name), _COLORS[row["kind"]]
            if spread is None:
                continue
            axes.plot(spread["values"], [position] * len(spread["values"]), "o", color=color, ms=4)
            axes.plot([spread["mean"]], [position], "|", color=color, ms=14)
            axes.annotate(
                f"{spread['mean']:.3f}", (1.01, position), xycoords=("axes fraction", "data"),
                color=color, va="center", fontsize=8,
            )  # fmt: skip
        axes.set_title(_METRICS[name], loc="left")
        labels = [row["name"] for row in summary] if column == 0 else []
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(-0.6, len(summary) - 0.4)
        axes.spines[["top", "right"]].set_visible(False)
    for half, (name, along) in enumerate({"epoch": _epochs, "seconds of epochs": _seconds}.items()):
        if not curves:
            break
        axes = figure.add_subplot(grid[1, 2 * half : 2 * half + 2])
        for index, run in enumerate(curves):
            first = run["name"] not in [other["name"] for other in curves[:index]]
            axes.plot(
                along(run["history"]),
                [record["val_accuracy"] for record in run["history"]],
                marker=".",
                color=_COLORS[run["kind"]],
                linestyle=_LINES.get(run["name"], "-"),
                label=run["name"] if first else None,
            )
        axes.axhline(WATCHED_ACCURACY, color="#999999", linewidth=0.8, linestyle=":")
        axes.set_xlabel(name)
        axes.set_ylabel("validation accuracy")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="lower right")
    figure.supxlabel(f"test split above; commit {report['commit']}", fontsize=8, color="#666666")
    return figure


def _epochs(history: Sequence[dict[str, Any]]) -> list[float]:
    return [float(epoch) for epoch in range(1, len(history) + 1)]


def _seconds(history: Sequence[dict[str, Any]]) -> list[float]:
    return np.cumsum([record["seconds"] for record in history]).tolist()


def write_report(report: dict[str, Any], folder: Path) -> None:
    """Writes ``quality.md``, ``quality.json`` and ``quality.svg`` atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    # Deterministic for the same report.
    with matplotlib.rc_context({"svg.hashsalt": "quality", "svg.fonttype": "none"}):
        drawing = io.StringIO()
        plot(report).savefig(drawing, format="svg", metadata={"Date": None})
    contents = {
        "quality.md": markdown(report),
        "quality.json": json.dumps(report, indent=1) + "\n",
        "quality.svg": drawing.getvalue(),
    }
    for name, content in contents.items():
        new = folder / f".{name}.new"
        new.write_text(content, encoding="utf-8")
        new.replace(folder / name)
