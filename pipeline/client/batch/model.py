"""Finds the model of a batch job, hashes its content, and loads it once per process."""

from __future__ import annotations

import atexit
import functools
import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path

from components.errors import UserError
from components.pushing.versions import SAVED_MODEL
from components.scoring.scorer import Scorer
from pipeline.client.errors import ModelNotLoadedError
from pipeline.client.folders import find_version

_loading = threading.Lock()


@dataclass(frozen=True)
class ModelVersion:
    """A SavedModel on disk: its absolute folder, that folder's name, and its hex SHA-256."""

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
        return ModelVersion(str(chosen), chosen.name, _digest(chosen))
    except ModelNotLoadedError as error:
        # Batch has one exit code for all that the user can fix.
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"{folder}: cannot read the model: {error.strerror}") from error


def _digest(folder: Path) -> str:
    """Returns the hex SHA-256 of what determines the scores: graph, weights and assets."""
    digest = hashlib.sha256()
    files = [folder / SAVED_MODEL]
    for name in ("variables", "assets"):
        files += sorted(path for path in (folder / name).rglob("*") if path.is_file())
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


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
