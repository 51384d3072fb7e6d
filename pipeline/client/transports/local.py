"""Scores with a SavedModel in this process, without a server."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.contracts import features
from components.scoring.errors import LoadError, RefusedError, SignatureError
from components.scoring.scorer import Scorer
from pipeline import environment
from pipeline.client.errors import ModelNotLoadedError, ServerError, WrongSignatureError
from pipeline.client.folders import find_version, folder_status, text_columns
from pipeline.client.transports.base import Client
from pipeline.client.types import Options, VersionStatus


class LocalClient(Client):
    """Scores with the same signature as a server; ``folder`` is the SavedModel's."""

    def __init__(self, folder: Path, options: Options) -> None:
        self.folder = find_version(folder, options.version)
        super().__init__(str(self.folder), options)
        self._root = folder
        if "tensorflow" not in sys.modules:
            environment.prepare(quiet=True)
        try:
            self._scorer = Scorer(self.folder)
            self._scorer.check()
        except LoadError as error:
            raise ModelNotLoadedError(str(error)) from error
        except SignatureError as error:
            raise WrongSignatureError(str(error)) from None

    def text_columns(self) -> tuple[str, ...]:
        return text_columns(self.folder)

    def status(self) -> list[VersionStatus]:
        return folder_status(self._root)

    def _outputs(self, texts: Sequence[bytes]) -> Mapping[str, Any]:
        try:
            found = self._scorer.score(texts)
        except SignatureError as error:
            raise WrongSignatureError(str(error)) from None
        except RefusedError as error:
            raise ServerError(str(error)) from error
        return {
            features.LABEL_OUTPUT: found.labels,
            features.SCORES_OUTPUT: found.scores.tolist(),
            features.CLASSES_OUTPUT: [found.classes] * len(texts),
        }
