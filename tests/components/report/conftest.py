"""A finished run's artifacts on disk, small and made by hand, and its page."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from sklearn import metrics as sk

from components.arrow import pq
from components.contracts.artifact_files import BASELINE_PREDICTIONS, CANDIDATE_PREDICTIONS
from components.contracts.ingestion_summary import IngestionSummary
from components.contracts.predictions import record_batch, schema_of
from components.report.page import render
from components.report.run_facts import Sources, collect

CLASSES = ["bio", "cs", "math"]
ROWS = 240
SCRIPT = "<script>window.ran = true</script><img src=x onerror='window.ran = true'> \u202e&amp;\x00"
HUGE = "</p></li><b>" + "x" * 1_000_000
EPOCH = {"accuracy": 0.7, "log_loss": 0.8, "macro_f1": 0.5, "loss": 0.9, "learning_rate": 0.002}


class MadeRun(NamedTuple):
    """Where a run is, and what was put into it."""

    sources: Sources
    labels: np.ndarray
    scores: np.ndarray
    baseline: np.ndarray | None
    metrics: dict[str, Any]
    training: dict[str, Any]
    ingestion: IngestionSummary

    def page(self) -> str:
        return render(collect(self.sources))


def _scores(rng: np.random.Generator, labels: np.ndarray, skill: float) -> np.ndarray:
    scores = rng.dirichlet(np.ones(len(CLASSES)), len(labels))
    scores[np.arange(len(labels)), labels] += skill
    return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


def figures(labels: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    """The figures that EvaluationSummary writes, by scikit-learn."""
    answers = scores.argmax(axis=1)
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        labels, answers, labels=range(len(CLASSES)), zero_division=0
    )
    confidence = scores.max(axis=1)
    bins = []
    for lower, upper in pairwise(np.arange(16) / 15):
        inside = (confidence > lower) & (confidence <= upper)
        bins.append(
            {
                "lower": lower,
                "upper": upper,
                "examples": int(inside.sum()),
                "confidence": float(confidence[inside].mean()) if inside.any() else None,
                "accuracy": float((answers == labels)[inside].mean()) if inside.any() else None,
            }
        )
    return {
        "examples": len(labels),
        "accuracy": sk.accuracy_score(labels, answers),
        "cross_entropy": -np.log(scores[np.arange(len(labels)), labels].astype(float)).mean(),
        "macro_f1": sk.f1_score(labels, answers, average="macro"),
        "micro_f1": sk.f1_score(labels, answers, average="micro"),
        "weighted_f1": sk.f1_score(labels, answers, average="weighted"),
        "expected_calibration_error": sum(
            one["examples"] / len(labels) * abs(one["accuracy"] - one["confidence"])
            for one in bins
            if one["examples"]
        ),
        "per_class": {
            name: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "support": int(support[i]),
            }
            for i, name in enumerate(CLASSES)
        },
        "confusion_matrix": sk.confusion_matrix(labels, answers).tolist(),
        "reliability": bins,
    }


def _slices(labels: np.ndarray, scores: np.ndarray) -> list[dict[str, Any]]:
    years = np.array([2018 + i % 3 for i in range(len(labels))])
    found = [
        {
            "feature": "year",
            "value": str(year),
            **figures(labels[years == year], scores[years == year]),
        }
        for year in (2018, 2019, 2020)
    ]
    for i, name in enumerate(CLASSES):
        here = labels == i
        found.append(
            {"feature": "final_category", "value": name, **figures(labels[here], scores[here])}
        )
    return found


def _write_examples(folder: Path, abstracts: list[str]) -> None:
    folder.mkdir(parents=True)
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    half = len(abstracts) // 2
    for name, part in (("data-0.gz", abstracts[:half]), ("data-1.gz", abstracts[half:])):
        with tf.io.TFRecordWriter(str(folder / name), options) as writer:
            for text in part:
                value = tf.train.BytesList(value=[text.encode()])
                feature = {"abstract": tf.train.Feature(bytes_list=value)}
                example = tf.train.Example(features=tf.train.Features(feature=feature))
                writer.write(example.SerializeToString())


def write_scores(path: Path, labels: np.ndarray, scores: np.ndarray) -> None:
    schema = schema_of(CLASSES)
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, len(labels), 100):
            part = slice(start, start + 100)
            ids = [f"id-{row}".encode() for row in range(len(labels))][part]
            names = [CLASSES[label].encode() for label in labels][part]
            writer.write_batch(record_batch(start, ids, names, scores[part], schema))


def training_report() -> dict[str, Any]:
    history = [
        {
            **EPOCH,
            "phase": phase,
            "epoch": epoch,
            "val_log_loss": loss,
            "val_accuracy": 1 - loss / 2,
            "val_macro_f1": 0.6,
            "seconds": 2.5,
        }
        for phase, epoch, loss in ((1, 1, 0.8), (1, 2, 0.7), (2, 1, 0.55), (2, 2, 0.6))
    ]
    return {
        "best": history[2],
        "history": history,
        "resumed_epochs": 0,
        "device": "NVIDIA <H100>",
        "cudnn": True,
        "mixed_precision": "float32",
        "seconds": 12.3,
        "examples": {"train": 768, "eval": 192},
        "glove": {
            "words": 900, "found": 700, "token_share": 0.9412,
            "matrix_mean": 0.0011, "matrix_sd": 0.4242, "missing": [["<gans>", 77], ["qubits", 5]],
        },
        "vocabulary_size": 902,
        "sequence_length": 160,
        "parameters": 123_456,
        "temperature": 1.25,
        "classes": CLASSES,
    }  # fmt: skip


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., MadeRun]:
    """Makes a run's artifacts; the two most confident mistakes are hostile texts."""

    def make(*, blessed: bool = True, compared: bool = True, skill: float = 0.6) -> MadeRun:
        folder = tmp_path_factory.mktemp("run")
        rng = np.random.default_rng(5)
        labels = rng.choice(len(CLASSES), ROWS, p=[0.1, 0.5, 0.4])
        scores = _scores(rng, labels, skill)
        baseline = _scores(rng, labels, 0.5 * skill) if compared else None
        abstracts = [f"abstract {row} on $x_{row}$" for row in range(ROWS)]
        for row, text, score in ((7, SCRIPT, 0.9998), (200, HUGE, 0.9997)):
            scores[row] = (1 - score) / (len(CLASSES) - 1)
            scores[row, (labels[row] + 1) % len(CLASSES)] = score
            abstracts[row] = text
        for name in ("examples", "accepted", "model/assets.extra", "metrics", "predictions"):
            (folder / name).mkdir(parents=True)
        _write_examples(folder / "examples" / "Split-test", abstracts)
        ingestion = IngestionSummary(
            files=2, rows_read=1210, dropped_without_abstract=4, dropped_without_label=3,
            dropped_duplicate_ids=3, rows_kept=1200, duplicate_texts=6,
            splits={"train": {"bio": 80, "cs": 380, "math": 308},
                    "eval": {"bio": 20, "cs": 95, "math": 77},
                    "test": {name: int((labels == i).sum()) for i, name in enumerate(CLASSES)}},
            words={10: 100, 100: 1000, 300: 100},
        )  # fmt: skip
        (folder / "examples" / "ingestion.json").write_text(ingestion.to_json())
        finding = {"split": "train", "column": "abstract", "severity": "WARNING", "words": "<odd>"}
        (folder / "accepted" / "findings.json").write_text(json.dumps([finding]))
        distance = {"column": "final_category", "kind": "drift", "split": "train",
                    "measure": "L_INFTY", "value": 0.0123, "threshold": 0.1}  # fmt: skip
        (folder / "accepted" / "distances.json").write_text(
            json.dumps({"previous": "/artifacts/accepted/4", "distances": [distance]})
        )
        training = training_report()
        (folder / "model" / "assets.extra" / "training.json").write_text(json.dumps(training))
        overall = figures(labels, scores)
        reason = "accuracy 0.7 is below the threshold 0.99 (overall)"
        check = {"metric": "accuracy", "kind": "value", "slice": "overall", "baseline": None,
                 "value": overall["accuracy"], "bound": 0.5 if blessed else 0.99,
                 "passed": blessed, "reason": reason}  # fmt: skip
        metrics = {
            "format_version": 1,
            "classes": CLASSES,
            "blessed": blessed,
            "overall": overall,
            "slices": _slices(labels, scores),
            "baseline": None,
            "checks": [check],
            "reasons": [reason],
            "model": {"id": 12, "uri": "/artifacts/model/12"},
        }
        if baseline is not None:
            metrics["baseline"] = {
                "overall": figures(labels, baseline),
                "slices": _slices(labels, baseline),
                "model": {"id": 9, "uri": "/artifacts/model/9"},
            }
            write_scores(folder / "predictions" / BASELINE_PREDICTIONS, labels, baseline)
        write_scores(folder / "predictions" / CANDIDATE_PREDICTIONS, labels, scores)
        (folder / "metrics" / "metrics.json").write_text(json.dumps(metrics))
        sources = Sources(
            pipeline="arxiv-<test>",
            examples=folder / "examples",
            accepted=folder / "accepted",
            model=folder / "model",
            metrics=folder / "metrics",
            predictions=folder / "predictions",
            pushed_to="/serving/arxiv/17" if blessed else None,
            config={"run": {"name": "arxiv-<test>"}, "training": {"phase1": {"epochs": 2}}},
            database=folder / "metadata.sqlite",
            artifact_ids=(),
            made_at="2026-01-02 03:05 UTC",
        )
        return MadeRun(sources, labels, scores, baseline, metrics, training, ingestion)

    return make


@pytest.fixture(scope="session")
def run(make_run: Callable[..., MadeRun]) -> MadeRun:
    """A blessed run, compared with an earlier model."""
    return make_run()


@pytest.fixture(scope="session")
def page(run: MadeRun) -> str:
    """Its page."""
    return run.page()
