"""The reference that travels with a model."""

from __future__ import annotations

import json

import numpy as np

from components.contracts.golden_predictions import REAL, GoldenPredictions, GoldenText
from components.training.golden_predictions import (
    ONE_MEGABYTE,
    odd_texts,
    pick,
)

REAL_TEXTS = [b"We prove a theorem about rings. " * 20, "Über Gruppen".encode()]


def test_pick_depends_on_the_texts_and_not_on_their_order() -> None:
    texts = [b"text %d" % number for number in range(50)]
    picked = pick(texts, 10)
    assert pick([*reversed(texts), *texts], 10) == picked
    assert len(set(picked)) == 10
    assert set(pick(texts, 99)) == set(texts)
    # A text more changes at most one of them.
    assert len(set(pick([*texts, b"another"], 10)) - set(picked)) <= 1


def test_any_bytes_survive_the_file() -> None:
    texts = (
        GoldenText.of(REAL, REAL_TEXTS[1]),
        GoldenText.of("noise", bytes(range(256)), 3),
        GoldenText.of("none", b""),
    )
    ids = np.array([[5, 0, 7, 0], [1, 0, 0, 0], [2, 3, 4, 5]])
    scores = np.random.default_rng(0).random((3, 2)).astype(np.float32)
    written = GoldenPredictions.of(["cs", "math"], texts, ids, scores).to_json()
    again = GoldenPredictions.from_json(written)
    assert again.classes == ("cs", "math")
    assert [one.content for one in again.predictions] == [text.content for text in texts]
    assert again.predictions[1].content == bytes(range(256)) * 3
    np.testing.assert_array_equal(again.token_ids, ids)
    np.testing.assert_array_equal(again.scores, scores)
    assert again.scores.dtype == np.float32
    assert json.loads(written)["predictions"][0]["token_ids"] == [5, 0, 7]
    assert written.isascii()


def test_odd_texts_are_what_their_names_say() -> None:
    odd = {text.name: text for text in odd_texts(REAL_TEXTS)}
    assert odd["empty"].content == b""
    assert odd["blanks"].content.isspace()
    assert len(odd[ONE_MEGABYTE].content) >= 1 << 20
    assert len(odd["1 MB without a blank"].content.split()) == 1
    assert b"\0" in odd["NUL bytes"].content
    assert "\N{SNAKE}" in odd["emoji"].content.decode()
    for name in ("invalid UTF-8", "binary noise"):
        assert "\N{REPLACEMENT CHARACTER}" in odd[name].content.decode(errors="replace")
    assert [text.content for text in odd_texts(REAL_TEXTS)] == [t.content for t in odd.values()]
