"""Texts with the trained network's answers, which travel with the model as its reference.

A file of them lies beside each SavedModel: whoever loads the model elsewhere can tell whether it
answers there as it did where it was trained.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FORMAT_VERSION = 1
# Name of the answers to real abstracts; the other names say what is odd about a text.
REAL = "abstract"
EMPTY = "empty"
ONE_MEGABYTE = "1 MB"
BINARY = "binary noise"
EMOJI = "emoji"

_MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Text:
    """A request's text: ``piece`` as often as ``repeat`` says.

    Attributes:
      name: what kind of text it is.
      piece: raw bytes; any.
      repeat: so that a megabyte takes a line in a file.
    """

    name: str
    piece: bytes
    repeat: int = 1

    @property
    def content(self) -> bytes:
        """The whole text."""
        return self.piece * self.repeat


@dataclass(frozen=True)
class Answers:
    """What the trained network makes of some texts.

    Attributes:
      classes: names of the scores' columns.
      texts: n of them.
      token_ids: int64 [n, sequence_length], as Transform makes them.
      scores: float32 [n, classes].
    """

    classes: tuple[str, ...]
    texts: tuple[Text, ...]
    token_ids: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]

    def to_json(self) -> str:
        """Returns the content of a file; bytes that are no UTF-8 become lone surrogates."""
        rows = [
            {
                "name": text.name,
                "text": text.piece.decode("utf-8", "surrogateescape"),
                "repeat": text.repeat,
                # Without the padding on the right.
                "token_ids": np.trim_zeros(ids, "b").tolist(),
                "scores": [float(score) for score in scores],
            }
            for text, ids, scores in zip(self.texts, self.token_ids, self.scores, strict=True)
        ]
        head = {
            "format_version": FORMAT_VERSION,
            "classes": list(self.classes),
            "sequence_length": int(self.token_ids.shape[1]),
        }
        return json.dumps({**head, "answers": rows}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Answers:
        """Reads what :meth:`to_json` wrote."""
        content = json.loads(text)
        rows = content["answers"]
        ids = np.zeros((len(rows), content["sequence_length"]), np.int64)
        for row, line in zip(rows, ids, strict=True):
            line[: len(row["token_ids"])] = row["token_ids"]
        return cls(
            classes=tuple(content["classes"]),
            texts=tuple(
                Text(row["name"], row["text"].encode("utf-8", "surrogateescape"), row["repeat"])
                for row in rows
            ),
            token_ids=ids,
            scores=np.array([row["scores"] for row in rows], np.float32),
        )


def pick(texts: Iterable[bytes], count: int) -> list[bytes]:
    """Picks ``count`` different texts, or all there are: by their hash, whatever their order."""
    return sorted(set(texts), key=lambda text: hashlib.sha256(text).digest())[:count]


def odd_texts(real: Sequence[bytes]) -> list[Text]:
    """Texts at the edges of what a client may send.

    Args:
      real: at least one real abstract, for those that are made of one.
    """
    noise = np.random.default_rng(0).integers(0, 256, 4096, np.uint8).tobytes()
    abstract = real[0] + b" "
    return [
        Text(EMPTY, b""),
        Text("blanks", b" \t\r\n"),
        Text("formula alone", b"$x^2$"),
        Text("unknown words", b"zqxjv qqkkw"),
        Text("NUL bytes", b"\0" + abstract[:200] + b"\0\0" + abstract[200:400]),
        Text("invalid UTF-8", b"\xff\xfe " + abstract[:400] + b"\xc3"),
        Text(BINARY, noise),
        Text(EMOJI, "\N{SNAKE} {} \N{PILE OF POO}".encode().replace(b"{}", abstract[:400])),
        Text(ONE_MEGABYTE, abstract, -(-_MEGABYTE // len(abstract))),
        Text("1 MB without a blank", b"a", _MEGABYTE),
    ]
