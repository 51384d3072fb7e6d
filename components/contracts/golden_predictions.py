"""Golden predictions: texts with the scores that the trained network gives them.

They lie beside each SavedModel: whoever loads the model elsewhere can tell whether it answers there
as it did where it was trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from components.contracts.record import Record

# Names of texts: real abstracts, and the one without any content.
REAL = "abstract"
EMPTY = "empty"


class GoldenText(Record):
    """A request's text: ``text`` as often as ``repeat`` says, so that a megabyte takes a line."""

    name: str = ""
    """What kind of text it is."""
    text: str = ""
    """Any bytes; those that are no UTF-8 are lone surrogates."""
    repeat: int = 1

    @classmethod
    def of(cls, name: str, piece: bytes, repeat: int = 1) -> GoldenText:
        """Makes a text of any bytes."""
        return cls(name=name, text=piece.decode("utf-8", "surrogateescape"), repeat=repeat)

    @property
    def content(self) -> bytes:
        """The whole text."""
        return self.text.encode("utf-8", "surrogateescape") * self.repeat


class GoldenPrediction(GoldenText):
    """A text and what Transform and the network make of it."""

    token_ids: tuple[int, ...] = ()
    """Without the padding on the right."""
    scores: tuple[float, ...] = ()


class GoldenPredictions(Record):
    """Predictions for n texts over k classes."""

    format_version: int = 1
    classes: tuple[str, ...] = ()
    """Names of the scores' columns."""
    sequence_length: int = 0
    predictions: tuple[GoldenPrediction, ...] = ()

    @classmethod
    def of(
        cls,
        classes: Sequence[str],
        texts: Sequence[GoldenText],
        token_ids: npt.NDArray[np.int64],
        scores: npt.NDArray[np.float32],
    ) -> GoldenPredictions:
        """Puts texts and arrays together: token ids [n, sequence_length], scores [n, k]."""
        rows = zip(texts, token_ids, scores.tolist(), strict=True)
        return cls(
            classes=tuple(classes),
            sequence_length=token_ids.shape[1],
            predictions=tuple(
                GoldenPrediction(
                    **dict(text), token_ids=np.trim_zeros(ids, "b").tolist(), scores=row
                )
                for text, ids, row in rows
            ),
        )

    @cached_property
    def token_ids(self) -> npt.NDArray[np.int64]:
        """Token ids as Transform makes them, int64 [n, sequence_length]."""
        ids = np.zeros((len(self.predictions), self.sequence_length), np.int64)
        for line, one in zip(ids, self.predictions, strict=True):
            line[: len(one.token_ids)] = one.token_ids
        return ids

    @cached_property
    def scores(self) -> npt.NDArray[np.float32]:
        """Scores, float32 [n, k]."""
        return np.array([one.scores for one in self.predictions], np.float32)
