"""Warm-up requests, as TF Serving reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

from components.training import warmup_requests

TEXTS = [b"text %d \xff" % number for number in range(10)]


def rows(request) -> list[bytes]:
    return tf.make_ndarray(request.inputs["abstract"]).tolist()


def test_requests_are_single_texts_and_batches_of_the_given_ones(tmp_path: Path) -> None:
    warmup_requests.write_warmup(tmp_path / "requests", TEXTS)
    requests = warmup_requests.read_warmup(tmp_path / "requests")
    sizes = [len(rows(request)) for request in requests]
    assert (
        sizes
        == [1] * warmup_requests.SINGLES + [warmup_requests.BATCH_ROWS] * warmup_requests.BATCHES
    )
    assert len(sizes) <= warmup_requests.MAX_RECORDS
    sent = [text for request in requests for text in rows(request)]
    assert sent == [TEXTS[i % 10] for i in range(len(sent))]
    assert {request.model_spec.signature_name for request in requests} == {"serving_default"}


def test_same_texts_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        warmup_requests.write_warmup(tmp_path / name, TEXTS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_without_texts_there_is_no_warmup(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one text"):
        warmup_requests.write_warmup(tmp_path / "requests", [])
