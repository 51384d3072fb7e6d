"""Judging what a model answered: each demand, met and missed."""

from __future__ import annotations

import numpy as np
import pytest

from components.contracts.golden_predictions import GoldenPredictions, GoldenText
from components.contracts.infra_verdict import Measurements
from components.infra_validation import checks
from components.infra_validation.budgets import InfraValidationSettings
from components.infra_validation.checks import Reply
from components.scoring.signatures import Signature, TensorKind

CLASSES = ["cs", "math"]
SCORES = np.array([[0.75, 0.25], [0.4, 0.6]], np.float32)
GOLDEN = GoldenPredictions.of(
    ("cs", "math"),
    (GoldenText.of("real", b"We prove"), GoldenText.of("empty", b"")),
    np.array([[5, 6, 0], [1, 0, 0]]),
    SCORES,
)


def reply(scores=SCORES, label=("cs", "math"), classes=(CLASSES, CLASSES)) -> Reply:
    return Reply(list(label), np.asarray(scores, np.float32), list(classes))


def test_whole_reply_passes() -> None:
    check = checks.check_reply("two texts", reply(), CLASSES, 2)
    assert (check.passed, check.line) == (True, "two texts: 2 rows, each answered")
    nothing = reply(np.zeros((0, 2)), (), ())
    assert checks.check_reply("no text", nothing, CLASSES, 0).passed


@pytest.mark.parametrize(
    ("given", "rows", "problem"),
    [
        (reply(), 3, "3 rows were sent, label, scores and classes have [2, 2, 2]"),
        (reply(label=["cs"]), 2, "label, scores and classes have [1, 2, 2]"),
        (reply(classes=[CLASSES, CLASSES[::-1]]), 2, "row 1 names the classes ['math', 'cs']"),
        (reply(scores=SCORES[:, :1]), 2, "scores have the shape (2, 1), not (2, 2)"),
        (reply(scores=[[0.75, 0.25], [0.4, 0.7]]), 2, "the scores of row 1 add up to 1.1, not"),
        (reply(scores=[[np.nan, 0.25], [0.4, 0.6]]), 2, "the scores of row 0 add up to nan, not"),
        (reply(label=["cs", "cs"]), 2, "row 1 is labelled cs, its best score is that of math"),
    ],
)
def test_reply_that_is_not_whole_says_what_is_wrong(given: Reply, rows: int, problem: str) -> None:
    check = checks.check_reply("texts", given, CLASSES, rows)
    assert not check.passed
    assert problem in check.line


def test_scores_are_compared_with_the_rows_that_they_answer() -> None:
    swapped = SCORES[::-1] + np.float32(4e-6)
    assert checks.check_scores("batch", swapped, GOLDEN, [1, 0], 1e-5).passed
    wrong = checks.check_scores("batch", SCORES[::-1], GOLDEN, [0, 1], 1e-5)
    assert not wrong.passed
    assert "0.35 (text 0, real), 1e-05 allowed" in wrong.line


def test_difference_beyond_the_bound_and_nan_fail() -> None:
    for shift in (2e-5, np.nan):
        scores = SCORES.copy()
        scores[1, 0] += shift
        check = checks.check_scores("batch", scores, GOLDEN, [0, 1], 1e-5)
        assert not check.passed
        assert "(text 1, empty)" in check.line
    assert not checks.check_scores("batch", SCORES[:1], GOLDEN, [0, 1], 1.0).passed


def test_token_ids_are_transforms() -> None:
    assert checks.check_ids(GOLDEN.token_ids, GOLDEN).passed
    other = GOLDEN.token_ids.copy()
    other[1, 0] = 2
    check = checks.check_ids(other, GOLDEN)
    assert (check.passed, check.line) == (
        False,
        "token ids: 1 of 2 texts differ from Transform's, first empty",
    )
    assert not checks.check_ids(other[:, :2], GOLDEN).passed


def test_signatures_are_compared_by_name_type_and_shape() -> None:
    expected = checks.expected_signatures(GOLDEN)
    assert all(check.passed for check in checks.check_signatures(expected, expected))

    def line(**changes: Signature | None) -> str:
        found = {**expected, **changes}
        given = {name: signature for name, signature in found.items() if signature is not None}
        (failed,) = (c for c in checks.check_signatures(given, expected) if not c.passed)
        return failed.line

    text = expected["serving_default"]
    outputs = {**text.outputs, "scores": TensorKind("float32", (1, 2))}
    assert (
        line(serving_default=None) == "signature serving_default: the model has none of this name"
    )
    assert line(extra=text) == "signature extra: is not part of the contract"
    assert line(serving_default=text._replace(outputs=outputs)) == (
        "signature serving_default: output scores is float32 [1, 2], not float32 [-1, 2]"
    )
    assert line(serving_default=text._replace(inputs={})) == (
        "signature serving_default: input abstract is absent, not string [-1]"
    )


def test_budgets_are_compared_with_what_was_measured() -> None:
    figures = Measurements(2.0, [10.0] * 90 + [99.0] * 10, 1.5, 900.0)
    settings = InfraValidationSettings(
        max_load_seconds=2.0, max_latency_ms=50.0, max_batch_seconds=1.0, max_memory_mib=900.0
    )
    judged = {check.name: check for check in checks.check_budgets(figures, settings)}
    assert {name: check.passed for name, check in judged.items()} == {
        "max_load_seconds": True,
        "max_latency_ms": False,
        "max_batch_seconds": False,
        "max_memory_mib": True,
    }
    assert judged["max_latency_ms"].line == (
        "latency of one abstract, 95th percentile of 100: 99 ms, budget 50 ms (max_latency_ms)"
    )
    assert judged["max_batch_seconds"].line == (
        "time of a batch of 512 abstracts: 1.5 s, budget 1 s (max_batch_seconds)"
    )
    assert all(check.budget for check in judged.values())


def test_memory_that_is_not_known_is_not_held_against_the_model() -> None:
    settings = InfraValidationSettings(max_memory_mib=1e-9)
    *_, memory = checks.check_budgets(Measurements(1.0, [1.0], 1.0, None), settings)
    assert (memory.passed, memory.line) == (True, "peak memory: not known of this server")
