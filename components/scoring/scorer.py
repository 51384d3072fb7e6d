"""Scores rows with an exported SavedModel.

    scorer = Scorer(folder)                    # LoadError
    scorer.check()                             # SignatureError: not a text classifier
    labels, classes, scores = scorer.score([b"We prove that ..."])

A scorer uses the GPU that the process sees; hide or limit it before the first load
(``CUDA_VISIBLE_DEVICES``, ``pipeline.environment``). It may be called from several threads. The
last bits of a row's scores depend on the other rows of its batch; the same batches give the same
bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from components.contracts import features
from components.scoring.errors import (
    LoadError,
    RefusedError,
    SignatureError,
    reason_of_load,
    reason_of_run,
)
from components.scoring.saved_model import SAVED_MODEL, defect
from components.scoring.signatures import OUTPUTS, described
from components.scoring.text_inputs import filled


class Scores(NamedTuple):
    """Predictions for n rows.

    Attributes:
        labels: n names of predicted classes.
        classes: k names of the scores' columns.
        scores: float32 [n, k].
    """

    labels: list[str]
    classes: list[str]
    scores: npt.NDArray[np.float32]


class Scorer:
    """A loaded SavedModel, with its ``folder`` and its ``signatures`` by name."""

    def __init__(self, folder: Path) -> None:
        """Loads the model, after a check of its files and of its manifest, if it has one.

        Raises:
            LoadError: it cannot be loaded.
        """
        self.folder = folder
        try:
            # Before the slow import.
            if problem := defect(folder, contents=True):
                raise OSError(problem)
            import tensorflow as tf
            from tensorflow.core.protobuf import saved_model_pb2

            content = saved_model_pb2.SavedModel.FromString((folder / SAVED_MODEL).read_bytes())
            # Kept, since its functions do not keep its variables alive.
            self._model = tf.saved_model.load(str(folder))
        except Exception as error:  # TensorFlow may raise anything for a broken SavedModel
            reason = reason_of_load(error)
            raise LoadError(
                f"{folder}: the model is not loaded: {reason}; copy or export it again",
                reason,
            ) from error
        self.signatures = described(content.meta_graphs[0].signature_def)

    def check(self, signature: str = features.SERVING_TEXT) -> None:
        """Checks that a signature takes strings and returns labels, scores and classes.

        Raises:
            SignatureError: it does not, or it does not exist.
        """
        found = self.signatures.get(signature)
        if found is None:
            raise SignatureError(f"{self.folder}: no signature {signature!r}")
        if not found.inputs or not set(OUTPUTS) <= set(found.outputs):
            problem = f"it takes {sorted(found.inputs)} and gives {sorted(found.outputs)}"
        elif numbers := [name for name, kind in found.inputs.items() if kind.dtype != "string"]:
            problem = f"its {numbers[0]} is {found.inputs[numbers[0]].dtype}"
        else:
            return
        raise SignatureError(
            f"{self.folder}: signature {signature} must take strings and give "
            f"{', '.join(OUTPUTS)}; {problem}; is it a text classifier?"
        )

    def ask(self, signature: str, rows: Sequence[bytes]) -> dict[str, npt.NDArray[Any]]:
        """Calls one of the exporter's signatures.

        Returns:
            The outputs for n texts or serialized tf.Examples, by name; strings are arrays of bytes.

        Raises:
            SignatureError: the model has no such signature.
            RefusedError: the model failed on these rows.
        """
        import tensorflow as tf

        if signature not in self.signatures:
            raise SignatureError(f"{self.folder}: no signature {signature!r}")
        inputs = {
            name: tf.constant(values, tf.string, shape=[len(rows)])
            for name, values in filled(self.signatures[signature].inputs, rows).items()
        }
        try:
            outputs = self._model.signatures[signature](**inputs)
        except tf.errors.OpError as error:
            reason = reason_of_run(error)
            raise RefusedError(f"{self.folder}: {signature} failed: {reason}", reason) from error
        return {name: value.numpy() for name, value in outputs.items()}

    def score(self, rows: Sequence[bytes], signature: str = features.SERVING_TEXT) -> Scores:
        """Scores rows in one call of the model.

        Args:
            rows: n texts (`features.SERVING_TEXT`) or tf.Examples (`features.SERVING_EXAMPLES`).

        Returns:
            The rows' scores, in order; without rows, ``classes`` is empty.

        Raises:
            SignatureError: the outputs are not a classifier's for n rows.
            RefusedError: the model failed on these rows.
        """
        self.check(signature)
        outputs = self.ask(signature, rows)
        labels, scores, names = (outputs[name] for name in OUTPUTS)
        shapes = labels.shape, scores.shape, names.shape
        if shapes != ((len(rows),), names.shape, (len(rows), *names.shape[1:2])):
            raise SignatureError(
                f"{self.folder}: {signature} answers {len(rows)} rows with labels, scores and "
                f"classes of shapes {', '.join(map(str, shapes))}; is it a text classifier?"
            )
        if (names != names[:1]).any():
            raise SignatureError(f"{self.folder}: {signature} names other classes from row to row")
        return Scores(
            decoded(labels),
            decoded(names[0]) if len(names) else [],
            scores.astype(np.float32, copy=False),
        )

    def classes(self, signature: str = features.SERVING_TEXT) -> list[str]:
        """Returns the names of the scores' columns, by scoring an empty row."""
        return self.score([b""], signature).classes


def score_by_length(
    scorer: Scorer,
    rows: Sequence[bytes],
    batch_size: int,
    signature: str = features.SERVING_TEXT,
    run: Callable[..., Iterable[Scores]] = map,
) -> Scores:
    """Scores rows in batches of similar length; returns the scores in the rows' order.

    The time of a call grows with its longest text.

    Args:
        rows: n texts or tf.Examples.
        batch_size: rows per call of the model.
        run: ``map``, or a thread pool's for parallel calls.
    """
    if not rows:
        classes = scorer.classes(signature)
        return Scores([], classes, np.zeros((0, len(classes)), np.float32))
    order = sorted(range(len(rows)), key=lambda position: len(rows[position]))
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    # The longest first, so that no thread ends with the slowest batch.
    batches.reverse()
    answers = list(run(lambda batch: scorer.score([rows[i] for i in batch], signature), batches))
    labels = [""] * len(rows)
    scores = np.zeros((len(rows), len(answers[0].classes)), np.float32)
    for batch, answer in zip(batches, answers, strict=True):
        scores[batch] = answer.scores
        for position, label in zip(batch, answer.labels, strict=True):
            labels[position] = label
    return Scores(labels, answers[0].classes, scores)


def decoded(names: npt.NDArray[Any]) -> list[str]:
    """Decodes an array of bytes [n]; invalid UTF-8 becomes U+FFFD."""
    return [name.decode("utf-8", "replace") for name in names.tolist()]
