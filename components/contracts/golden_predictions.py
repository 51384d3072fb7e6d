"""Golden predictions: texts with the scores of the trained network.

They are stored beside each SavedModel, to verify that it predicts the same wherever it is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from components.contracts import features
from components.contracts.record import Record

# Names of texts: real ones, and the empty one.
REAL = "real"
EMPTY = "empty"


class GoldenText(Record):
    """A request's text, ``text`` repeated ``repeat`` times: a megabyte takes one line."""

    name: str = ""
    """What kind of text it is."""
    text: str = ""
    """Any bytes; those that are not UTF-8 are lone surrogates."""
    repeat: int = 1

    @classmethod
    def of(cls, name: str, piece: bytes, repeat: int = 1) -> GoldenText:
        """Makes a text from any bytes."""
        return cls(name=name, text=piece.decode("utf-8", "surrogateescape"), repeat=repeat)

    @property
    def content(self) -> bytes:
        return self.text.encode("utf-8", "surrogateescape") * self.repeat


class GoldenPrediction(GoldenText):
    """A text with its token ids and scores."""

    token_ids: tuple[int, ...] = ()
    """Without padding."""
    scores: tuple[float, ...] = ()


class GoldenPredictions(Record):
    """Predictions for n texts over k classes."""

    format_version: int = 1
    classes: tuple[str, ...] = ()
    """Names of the scores' columns."""
    sequence_length: int = 0
    text_columns: tuple[str, ...] = (features.ABSTRACT,)
    """Columns that are joined to the text."""
    predictions: tuple[GoldenPrediction, ...] = ()

    @classmethod
    def of(
        cls,
        classes: Sequence[str],
        texts: Sequence[GoldenText],
        token_ids: npt.NDArray[np.int64],
        scores: npt.NDArray[np.float32],
        text_columns: Sequence[str] = (features.ABSTRACT,),
    ) -> GoldenPredictions:
        """Combines texts with their token ids [n, sequence_length] and scores [n, k]."""
        rows = zip(texts, token_ids, scores.tolist(), strict=True)
        return cls(
            classes=tuple(classes),
            sequence_length=token_ids.shape[1],
            text_columns=tuple(text_columns),
            predictions=tuple(
                GoldenPrediction(
                    **dict(text), token_ids=np.trim_zeros(ids, "b").tolist(), scores=row
                )
                for text, ids, row in rows
            ),
        )

    @cached_property
    def token_ids(self) -> npt.NDArray[np.int64]:
        """Token ids as from Transform, padded, int64 [n, sequence_length]."""
        ids = np.zeros((len(self.predictions), self.sequence_length), np.int64)
        for line, one in zip(ids, self.predictions, strict=True):
            line[: len(one.token_ids)] = one.token_ids
        return ids

    @cached_property
    def scores(self) -> npt.NDArray[np.float32]:
        """Scores, float32 [n, k]."""
        return np.array([one.scores for one in self.predictions], np.float32)
