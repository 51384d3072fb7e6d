"""The texts of the golden predictions: real abstracts and odd requests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from components.contracts.golden_predictions import EMPTY, GoldenText

ONE_MEGABYTE = "1 MB"
BINARY = "binary noise"
EMOJI = "emoji"

_MEGABYTE = 1 << 20


def pick(texts: Iterable[bytes], count: int) -> list[bytes]:
    """Picks up to ``count`` distinct texts by their hash, independently of their order."""
    return sorted(set(texts), key=lambda text: hashlib.sha256(text).digest())[:count]


def odd_texts(real: Sequence[bytes]) -> list[GoldenText]:
    """Returns edge cases of texts that a client may send.

    Args:
        real: at least one real abstract, from which some are made.
    """
    noise = np.random.default_rng(0).integers(0, 256, 4096, np.uint8).tobytes()
    abstract = real[0] + b" "
    return [
        GoldenText.of(EMPTY, b""),
        GoldenText.of("blanks", b" \t\r\n"),
        GoldenText.of("formula alone", b"$x^2$"),
        GoldenText.of("unknown words", b"zqxjv qqkkw"),
        GoldenText.of("NUL bytes", b"\0" + abstract[:200] + b"\0\0" + abstract[200:400]),
        GoldenText.of("invalid UTF-8", b"\xff\xfe " + abstract[:400] + b"\xc3"),
        GoldenText.of(BINARY, noise),
        GoldenText.of(
            EMOJI, "\N{SNAKE} {} \N{PILE OF POO}".encode().replace(b"{}", abstract[:400])
        ),
        GoldenText.of(ONE_MEGABYTE, abstract, -(-_MEGABYTE // len(abstract))),
        GoldenText.of("1 MB without a blank", b"a", _MEGABYTE),
    ]
