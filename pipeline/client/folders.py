"""Finds models on disk: a SavedModel, or a push folder with versions."""

from __future__ import annotations

from pathlib import Path

from components.contracts import artifact_files
from components.contracts.golden_predictions import GoldenPredictions
from components.errors import UserError
from components.pushing.versions import servable_versions
from components.scoring.saved_model import SAVED_MODEL
from pipeline.client.errors import ModelNotLoadedError
from pipeline.client.types import ON_DISK, VersionStatus


def find_version(folder: Path, version: int | None = None) -> Path:
    """Returns a push folder's version, by default the newest, or the folder of a SavedModel itself.

    Raises:
        ModelNotLoadedError: the folder, model or version does not exist.
    """
    try:
        if not folder.exists():
            raise ModelNotLoadedError(f"{folder}: no such folder")
        if (folder / SAVED_MODEL).is_file():
            return folder
    except OSError as error:
        raise ModelNotLoadedError(f"{folder}: cannot be read ({error.strerror})") from None
    versions = _versions(folder)
    if not versions:
        raise ModelNotLoadedError(
            f"{folder}: no SavedModel and no versions of one; give a push folder, "
            "such as <output_dir>/serving/<name>, or a version in it"
        )
    if version is not None and version not in versions:
        raise ModelNotLoadedError(
            f"{folder}: no version {version}; there are {', '.join(map(str, versions))}"
        )
    return folder / str(versions[-1] if version is None else version)


def folder_status(folder: Path) -> list[VersionStatus]:
    """Returns the versions in a push folder, newest first, or the one that a SavedModel is.

    Raises:
        ModelNotLoadedError: there is none.
    """
    versions = _versions(folder)
    if not versions:
        name = find_version(folder).resolve().name
        versions = [int(name) if name.isdecimal() else 0]
    return [VersionStatus(version, ON_DISK) for version in reversed(versions)]


def _versions(folder: Path) -> list[int]:
    try:
        return servable_versions(folder)
    except UserError as error:
        raise ModelNotLoadedError(str(error)) from None


def text_columns(version: Path) -> tuple[str, ...]:
    """Returns the columns that are joined to a model's text; arXiv's if the model does not say."""
    path = version / artifact_files.EXTRA_ASSETS / artifact_files.GOLDEN_PREDICTIONS
    return (GoldenPredictions.find(path) or GoldenPredictions()).text_columns
