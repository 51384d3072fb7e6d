"""The model of a batch job: found, pinned by its content, and loaded once in a process."""

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
    """A SavedModel on disk: its absolute folder, that one's name, and its SHA-256."""

    folder: str
    version: str
    digest: str


def find_model(folder: Path) -> ModelVersion:
    """Finds the SavedModel of a version folder, or the newest one of a push folder.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    try:
        chosen = find_version(folder).resolve()
        return ModelVersion(str(chosen), chosen.name, _digest(chosen))
    except ModelNotLoadedError as error:
        # Batch has one exit code for whatever the user can mend.
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"{folder}: cannot read the model: {error.strerror}") from error


def _digest(folder: Path) -> str:
    """SHA-256 of what decides the scores: graph, weights and assets."""
    digest = hashlib.sha256()
    files = [folder / SAVED_MODEL]
    for name in ("variables", "assets"):
        files += sorted(path for path in (folder / name).rglob("*") if path.is_file())
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def load_scorer(model: ModelVersion) -> Scorer:
    """Loads and checks a model, once in a process however many workers of it ask.

    Raises:
        UserError: it cannot be loaded, or its signature is not the classifier's.
    """
    with _loading:
        return _load(model)


@functools.lru_cache(maxsize=1)
def _load(model: ModelVersion) -> Scorer:
    scorer = Scorer(Path(model.folder))
    # The first call of a model, which checks its answer, takes longer.
    scorer.classes()
    return scorer


# TensorFlow's functions complain on standard error where they outlive its modules.
atexit.register(_load.cache_clear)
