"""The SavedModel in this process, without a server."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from components.contracts import features
from components.pushing.versions import SAVED_MODEL, servable_versions
from pipeline import environment
from pipeline.client.api import Classification, Client, Options, VersionStatus, assemble
from pipeline.client.errors import ModelNotLoadedError, ServerError, WrongSignatureError, one_line

_STATE = "ON_DISK"


class LocalClient(Client):
    """Scores with the signature that a server would use."""

    def __init__(self, folder: Path, options: Options) -> None:
        super().__init__(options)
        self._root = folder
        self.folder = _choose(folder, complete_versions(folder), options)
        if "tensorflow" not in sys.modules:
            environment.prepare(quiet=True)
        import tensorflow as tf

        self._tf = tf
        try:
            # Kept: its variables live as long as it does.
            self._model = tf.saved_model.load(str(self.folder))
        except (OSError, ValueError, KeyError, AttributeError, tf.errors.OpError) as error:
            raise ModelNotLoadedError(
                f"{self.folder}: not a SavedModel that can be loaded ({one_line(str(error))})"
            ) from error
        self._signature = self._model.signatures.get(features.SERVING_TEXT)
        if self._signature is None:
            raise WrongSignatureError(f"{self.folder}: no signature {features.SERVING_TEXT!r}")
        inputs = self._signature.structured_input_signature[1]
        if list(inputs) != [features.ABSTRACT] or inputs[features.ABSTRACT].dtype != tf.string:
            raise WrongSignatureError(
                f"{self.folder}: {features.SERVING_TEXT} takes {sorted(inputs)}, "
                f"not the strings {features.ABSTRACT!r}; is it an abstract classifier?"
            )

    def status(self) -> list[VersionStatus]:
        """See :meth:`Client.status`."""
        return folder_status(self._root)

    def close(self) -> None:
        """Does nothing: the model goes with the client."""

    def _classify(self, texts: Sequence[bytes]) -> list[Classification]:
        tf = self._tf
        try:
            outputs = self._signature(**{features.ABSTRACT: tf.constant(texts, tf.string)})
            label, scores, classes = (
                outputs[name].numpy().tolist()
                for name in (features.LABEL_OUTPUT, features.SCORES_OUTPUT, features.CLASSES_OUTPUT)
            )
        except KeyError as error:
            raise WrongSignatureError(f"{self.folder}: the model's answer lacks {error}") from None
        except tf.errors.OpError as error:
            raise ServerError(f"{self.folder}: {one_line(error.message)}") from error
        return assemble(
            [name.decode() for name in label],
            scores,
            [[name.decode() for name in row] for row in classes],
            len(texts),
            str(self.folder),
        )


def complete_versions(folder: Path) -> list[int]:
    """Returns the versions in a push folder that hold a SavedModel, ascending."""
    try:
        return servable_versions(folder)
    except OSError as error:
        raise ModelNotLoadedError(f"{folder}: cannot be read ({error.strerror})") from None


def folder_status(folder: Path) -> list[VersionStatus]:
    """Returns the versions in a push folder, the newest first, or the one that the folder is.

    Raises:
        ModelNotLoadedError: there is none.
    """
    versions = complete_versions(folder)
    if not versions:
        name = _choose(folder, versions, Options()).resolve().name
        versions = [int(name) if name.isdecimal() else 0]
    return [VersionStatus(version, _STATE) for version in reversed(versions)]


def _choose(folder: Path, versions: list[int], options: Options) -> Path:
    """The version's folder, or the folder itself where it is a SavedModel."""
    if not folder.exists():
        raise ModelNotLoadedError(f"{folder}: no such folder")
    if (folder / SAVED_MODEL).is_file():
        return folder
    if not versions:
        raise ModelNotLoadedError(
            f"{folder}: no SavedModel and no versions of one; give a push folder, "
            "such as <output_dir>/serving/<name>, or a version in it"
        )
    if options.version is None:
        return folder / str(versions[-1])
    if options.version not in versions:
        raise ModelNotLoadedError(
            f"{folder}: no version {options.version}; there are {', '.join(map(str, versions))}"
        )
    return folder / str(options.version)
