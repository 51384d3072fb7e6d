"""Checks a served model's replies and costs. Pure: no TensorFlow, no clock, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from components.contracts import features
from components.contracts.golden_predictions import GoldenPredictions
from components.contracts.infra_verdict import Check, Measurements
from components.infra_validation.budgets import InfraValidationSettings
from components.scoring.signatures import Signature, TensorKind
from components.scoring.text_inputs import input_names

# Scores of a row add up to 1 except for float32 rounding.
_SUM_TOLERANCE = 1e-5
_PERCENTILE = 95
_STRING, _FLOAT, _INT = "string", "float32", "int64"


class Reply(NamedTuple):
    """Outputs of the text signatures: n labels, scores [n, k] and n lists of k class names."""

    label: list[str]
    scores: npt.NDArray[np.float32]
    classes: list[list[str]]


def expected_signatures(golden: GoldenPredictions) -> dict[str, Signature]:
    """Returns the signatures of the model's contract; see docs/serving.md, "Signatures"."""
    classes, sequence_length = golden.scores.shape[1], golden.sequence_length
    reply = {
        features.LABEL_OUTPUT: TensorKind(_STRING, (-1,)),
        features.SCORES_OUTPUT: TensorKind(_FLOAT, (-1, classes)),
        features.CLASSES_OUTPUT: TensorKind(_STRING, (-1, classes)),
    }
    transformed = {
        features.TOKENS: TensorKind(_INT, (-1, sequence_length)),
        features.LABEL_ID: TensorKind(_INT, (-1,)),
        features.CATEGORY_ID: TensorKind(_INT, (-1,)),
        **{name: TensorKind(_STRING, (-1,)) for name in features.SLICE_FEATURES},
    }
    texts = dict.fromkeys(input_names(golden.text_columns), TensorKind(_STRING, (-1,)))
    examples = {features.EXAMPLES_INPUT: TensorKind(_STRING, (-1,))}
    return {
        features.SERVING_TEXT: Signature(texts, reply),
        features.SERVING_EXAMPLES: Signature(examples, reply),
        features.TRANSFORM_FEATURES: Signature(examples, transformed),
    }


def check_signatures(
    found: Mapping[str, Signature], expected: Mapping[str, Signature]
) -> list[Check]:
    """Compares names, types and shapes; one check per signature, with its first difference."""
    checks = []
    for name in sorted({*found, *expected}):
        if name not in found:
            difference = "the model has none of this name"
        elif name not in expected:
            difference = "is not part of the contract"
        else:
            difference = _first_difference(found[name], expected[name])
        checks.append(Check.of(f"signature {name}", difference, "agrees"))
    return checks


def _first_difference(found: Signature, expected: Signature) -> str:
    for side in ("inputs", "outputs"):
        theirs: dict[str, TensorKind] = getattr(found, side)
        ours: dict[str, TensorKind] = getattr(expected, side)
        for name in sorted({*theirs, *ours}):
            if theirs.get(name) != ours.get(name):
                return (
                    f"{side[:-1]} {name} is {_kind(theirs.get(name))}, not {_kind(ours.get(name))}"
                )
    return ""


def _kind(kind: TensorKind | None) -> str:
    return "absent" if kind is None else f"{kind.dtype} {list(kind.shape)}"


def check_reply(what: str, reply: Reply, classes: Sequence[str], rows: int) -> Check:
    """Checks that a reply has consistent label, scores and classes for each row."""
    return Check.of(what, _problem(reply, classes, rows), f"{rows} rows, each answered")


def _problem(reply: Reply, classes: Sequence[str], rows: int) -> str:
    counts = [len(reply.label), len(reply.scores), len(reply.classes)]
    if counts != [rows] * 3:
        return f"{rows} rows were sent, label, scores and classes have {counts}"
    for index, names in enumerate(reply.classes):
        if list(names) != list(classes):
            return f"row {index} names the classes {list(names)}, not {list(classes)}"
    if reply.scores.shape != (rows, len(classes)):
        return f"scores have the shape {reply.scores.shape}, not {(rows, len(classes))}"
    sums = reply.scores.sum(axis=1, dtype=np.float64)
    wrong = np.flatnonzero(~(np.abs(sums - 1.0) <= _SUM_TOLERANCE))
    if wrong.size:
        return f"the scores of row {wrong[0]} add up to {sums[wrong[0]]:.6g}, not to 1"
    for index, (label, best) in enumerate(
        zip(reply.label, reply.scores.argmax(axis=1), strict=True)
    ):
        if label != classes[best]:
            return f"row {index} is labelled {label}, its best score is that of {classes[best]}"
    return ""


def check_scores(
    what: str,
    scores: npt.NDArray[np.float32],
    golden: GoldenPredictions,
    rows: Sequence[int],
    bound: float,
) -> Check:
    """Compares scores with the trained network's.

    Args:
        scores: float [n, classes].
        rows: index of each row's golden prediction, [n].
        bound: largest allowed difference.
    """
    expected = golden.scores[list(rows)]
    if scores.shape != expected.shape:
        return Check.of(what, f"scores have the shape {scores.shape}, not {expected.shape}")
    differences = np.abs(scores.astype(np.float64) - expected).max(axis=1)
    # NaN counts as the largest difference.
    worst = int(np.argmax(np.where(np.isnan(differences), np.inf, differences)))
    return Check(
        what,
        bool(differences[worst] <= bound),
        f"{what}: largest difference to the trained network's scores {differences[worst]:.2g} "
        f"(text {rows[worst]}, {golden.predictions[rows[worst]].name}), {bound:g} allowed "
        "(max_score_difference)",
    )


def check_ids(token_ids: npt.NDArray[np.int64], golden: GoldenPredictions) -> Check:
    """Compares token ids, int [n, length], with those of the golden predictions."""
    what = "token ids"
    if token_ids.shape != golden.token_ids.shape:
        return Check.of(what, f"the shape is {token_ids.shape}, not {golden.token_ids.shape}")
    differing = np.flatnonzero((token_ids != golden.token_ids).any(axis=1))
    rows, problem = len(golden.predictions), ""
    if differing.size:
        first = golden.predictions[differing[0]].name
        problem = f"{differing.size} of {rows} texts differ from Transform's, first {first}"
    return Check.of(what, problem, f"those of {rows} texts are Transform's")


def check_budgets(measured: Measurements, settings: InfraValidationSettings) -> list[Check]:
    """Compares time and memory with their budgets."""
    latency = float(np.percentile(measured.latencies_ms, _PERCENTILE))
    tried = len(measured.latencies_ms)
    values: dict[str, tuple[str, float | None, str]] = {
        "max_load_seconds": ("load time", measured.load_seconds, "s"),
        "max_latency_ms": (
            f"latency of one abstract, {_PERCENTILE}th percentile of {tried}", latency, "ms"
        ),
        "max_batch_seconds": ("time of a batch of 512 abstracts", measured.batch_seconds, "s"),
        "max_memory_mib": ("peak memory", measured.memory_mib, "MiB"),
    }  # fmt: skip
    checks = []
    for key, (what, value, unit) in values.items():
        bound = getattr(settings, key)
        said = "not known of this server"
        if value is not None:
            said = f"{value:.4g} {unit}, budget {bound:g} {unit} ({key})"
        checks.append(Check(key, value is None or value <= bound, f"{what}: {said}", budget=True))
    return checks
