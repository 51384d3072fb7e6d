"""The pushed SavedModel as batch scoring uses it: found, pinned by content, loaded once."""

from __future__ import annotations

import atexit
import functools
import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from components.contracts import features
from components.errors import UserError
from components.pushing.versions import SAVED_MODEL, servable_versions

_OUTPUTS = (features.LABEL_OUTPUT, features.SCORES_OUTPUT, features.CLASSES_OUTPUT)
_BLOCK = 1 << 20
_loading = threading.Lock()


class ModelVersion(NamedTuple):
    """A SavedModel on disk.

    Attributes:
      folder: absolute, with ``saved_model.pb``.
      version: the folder's name.
      digest: SHA-256 of what decides the scores: graph, weights and assets.
    """

    folder: str
    version: str
    digest: str


class Scores(NamedTuple):
    """What the model says of n texts: labels [n] and scores float32 [n, k]."""

    labels: list[str]
    scores: npt.NDArray[np.float32]


def find_model(folder: Path) -> ModelVersion:
    """Finds the SavedModel of a version folder, or the newest one of a push folder.

    Raises:
      UserError: there is none, or it cannot be read.
    """
    chosen = folder
    if not (folder / SAVED_MODEL).is_file():
        present = servable_versions(folder)
        if not present:
            raise UserError(
                f"{folder}: neither {SAVED_MODEL} nor a version folder with one; "
                "name a pushed model or the folder that it was pushed to"
            )
        chosen = folder / str(present[-1])
    chosen = chosen.resolve()
    try:
        return ModelVersion(str(chosen), chosen.name, _digest(chosen))
    except OSError as error:
        raise UserError(f"{chosen}: cannot read the model: {error.strerror}") from error


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    parts = [folder / SAVED_MODEL]
    for name in ("variables", "assets"):
        parts += sorted(path for path in (folder / name).rglob("*") if path.is_file())
    for path in parts:
        digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


class Scorer:
    """A loaded model; safe to call from several threads.

    Attributes:
      classes: names of the scores' columns.
    """

    def __init__(self, folder: str) -> None:
        """Loads the model and runs it once.

        Raises:
          UserError: it cannot be loaded, or its signature is not the classifier's.
        """
        import tensorflow as tf

        try:
            # Kept: a signature does not keep the variables of its model alive.
            self._model: Any = tf.saved_model.load(folder)
        except (OSError, ValueError, RuntimeError, tf.errors.OpError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"{folder}: TensorFlow cannot load the model: {reason}") from error
        signature = self._model.signatures.get(features.SERVING_TEXT)
        inputs = signature.structured_input_signature[1] if signature else {}
        outputs = signature.structured_outputs if signature else {}
        if set(inputs) != {features.ABSTRACT} or not set(_OUTPUTS) <= set(outputs):
            raise UserError(
                f"{folder}: signature {features.SERVING_TEXT} must take {features.ABSTRACT} and "
                f"give {', '.join(_OUTPUTS)}; it takes {sorted(inputs)} and gives {sorted(outputs)}"
            )
        self._signature = signature
        self._tensorflow = tf
        first = signature(abstract=tf.constant([""]))
        self.classes = [name.decode() for name in first[features.CLASSES_OUTPUT].numpy()[0]]

    def score(self, texts: Sequence[bytes]) -> Scores:
        """Scores raw UTF-8 texts, one row each, in one call of the model."""
        answer = self._signature(abstract=self._tensorflow.constant(list(texts)))
        labels = [label.decode() for label in answer[features.LABEL_OUTPUT].numpy()]
        return Scores(labels, answer[features.SCORES_OUTPUT].numpy())


def load_scorer(model: ModelVersion) -> Scorer:
    """Loads a model, once in a process however many workers of it ask."""
    with _loading:
        return _load(model.folder, model.digest)


@functools.lru_cache(maxsize=1)
def _load(folder: str, digest: str) -> Scorer:  # noqa: ARG001  (a key of the cache)
    return Scorer(folder)


# TensorFlow's functions complain on standard error where they outlive its modules.
atexit.register(_load.cache_clear)
