"""Finds the model of a batch job, hashes its content, and loads it once per process."""

from __future__ import annotations

import atexit
import functools
import threading
from dataclasses import dataclass
from pathlib import Path

from components.contracts.manifest import Manifest
from components.errors import UserError
from components.scoring.scorer import Scorer
from pipeline.client.errors import ModelNotLoadedError
from pipeline.client.folders import find_version

_loading = threading.Lock()


@dataclass(frozen=True)
class ModelVersion:
    """A SavedModel on disk: absolute folder, that folder's name, and `Manifest.model_digest`."""

    folder: str
    version: str
    digest: str


def find_model(folder: Path) -> ModelVersion:
    """Returns the SavedModel in a version folder, or the newest one in a push folder.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    try:
        chosen = find_version(folder).resolve()
        return ModelVersion(str(chosen), chosen.name, Manifest.of(chosen).model_digest)
    except ModelNotLoadedError as error:
        # Batch has one exit code for all that the user can fix.
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"{folder}: cannot read the model: {error.strerror}") from error


def load_scorer(model: ModelVersion) -> Scorer:
    """Loads and checks a model, once per process.

    Raises:
        UserError: it cannot be loaded, or its signature is not the classifier's.
    """
    with _loading:
        return _load(model)


@functools.lru_cache(maxsize=1)
def _load(model: ModelVersion) -> Scorer:
    scorer = Scorer(Path(model.folder))
    # The first call is slow, and checks the outputs.
    scorer.classes()
    return scorer


# TensorFlow's functions print errors if they outlive its modules.
atexit.register(_load.cache_clear)
