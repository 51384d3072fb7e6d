"""The interface of every transport, and the conversion of a model's outputs to predictions."""

from __future__ import annotations

import math
from abc import abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from components.contracts import features
from components.errors import one_line
from pipeline.client.errors import ClientError, WrongSignatureError
from pipeline.client.texts import batches, encode
from pipeline.client.types import Classification, Options, VersionStatus

OUTPUTS = (features.LABEL_OUTPUT, features.SCORES_OUTPUT, features.CLASSES_OUTPUT)


class Client(AbstractContextManager["Client"]):
    """Client of one model; thread-safe, and a context manager that closes its connections.

    ``where`` names the server or the folder in messages.
    """

    def __init__(self, where: str, options: Options) -> None:
        self._where = where
        self.options = options

    def classify(self, texts: Iterable[str | bytes]) -> list[Classification]:
        """Classifies texts.

        Args:
            texts: raw; bytes are UTF-8, valid or not.

        Returns:
            One prediction per text, in the same order.

        Raises:
            ClientError: one of its subclasses (:mod:`pipeline.client.errors`).
        """
        return list(self.stream(texts))

    def stream(self, texts: Iterable[str | bytes]) -> Iterator[Classification]:
        """Classifies texts lazily, in constant memory; otherwise like :meth:`classify`."""
        encoded = (
            encode(text, f"text {number}", self.options.max_text_bytes)
            for number, text in enumerate(texts, 1)
        )
        for batch in batches(encoded, self.options.batch_size, len):
            yield from self._classify(batch)

    @abstractmethod
    def status(self) -> list[VersionStatus]:
        """Returns the model's versions, newest first.

        Raises:
            ClientError: as for :meth:`classify`.
        """

    def text_columns(self) -> tuple[str, ...]:
        """Returns the columns of the model's text, in their order; empty if that is not known."""
        return (features.ABSTRACT,)

    def close(self) -> None:
        """Closes the connections, if there are any."""

    @abstractmethod
    def _outputs(self, texts: Sequence[bytes]) -> Mapping[str, Any]:
        """Scores one batch; returns lists by name: label [n], scores [n, k], classes [n, k].

        Raises:
            ClientError: the request failed.
            KeyError, TypeError, ValueError: the response is not a classifier's.
        """

    def _classify(self, texts: Sequence[bytes]) -> list[Classification]:
        try:
            outputs = self._outputs(texts)
            labels, scores, classes = (outputs[name] for name in OUTPUTS)
            if not len(labels) == len(scores) == len(classes) == len(texts):
                raise ValueError(
                    f"{len(texts)} texts got {len(labels)} labels, {len(scores)} rows of scores, "
                    f"{len(classes)} of classes"
                )
            return [_answer(*row) for row in zip(labels, scores, classes, strict=True)]
        except ClientError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise WrongSignatureError(
                f"{self._where}: label, scores or classes are missing or malformed "
                f"({one_line(str(error))}); is it a text classifier?"
            ) from None

    def __exit__(self, *_: object) -> None:
        self.close()


def _answer(label: str, scores: Sequence[float], classes: Sequence[str]) -> Classification:
    # The same float32 whether it came as decimal digits or binary.
    named = dict(zip(classes, array("f", scores), strict=True))
    printable = all(isinstance(name, str) and name.isprintable() for name in named)
    if not printable or len(named) != len(classes) or label not in named:
        raise ValueError(f"label {label!r} with classes {', '.join(map(repr, classes))}")
    if not all(map(math.isfinite, named.values())):
        raise ValueError(f"scores {', '.join(map(str, scores))}")
    return Classification(label, named)
