"""SHA-256 digests of a folder's files: how a model or another artifact is told from a changed one.

A pushed version carries its `Manifest` as ``assets.extra/manifest.json``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import NoReturn

from components.contracts.artifact_files import EXTRA_ASSETS, MANIFEST
from components.contracts.record import Record

_CHUNK = 1 << 20


class FileDigest(Record):
    """A file's size in bytes and its hex SHA-256."""

    size: int = 0
    sha256: str = ""


class Manifest(Record):
    """The files of a folder by their path in it, sorted; without hidden ones and the manifest."""

    files: dict[str, FileDigest] = {}

    @classmethod
    def of(cls, folder: Path) -> Manifest:
        """Hashes a folder's files, 1 GB in about a second.

        Raises:
            OSError: the folder or a file cannot be read.
        """
        files = {}
        for root, folders, names in os.walk(folder, onerror=_raise):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                path = Path(root, name)
                if name.startswith(".") or not path.is_file():
                    continue
                relative = os.fsencode(path.relative_to(folder)).decode("utf-8", "backslashreplace")
                if relative != MANIFEST:
                    size = path.stat().st_size
                    files[relative] = FileDigest(size=size, sha256=file_digest(path))
        return cls(files=dict(sorted(files.items())))

    @classmethod
    def of_version(cls, folder: Path) -> Manifest | None:
        """Reads a pushed version's manifest; None if it was pushed without one.

        Raises:
            OSError: it cannot be read.
            ValueError: it is damaged.
        """
        try:
            found = cls.read(folder / MANIFEST)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not found.files:
            raise ValueError("it lists no files")
        return found

    def without(self, names: Collection[str]) -> Manifest:
        """Returns the manifest of the folder before files were added."""
        kept = {name: file for name, file in self.files.items() if name not in names}
        return Manifest(files=kept)

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the files' digests and paths, as ``sha256sum`` prints them."""
        lines = "".join(f"{file.sha256}  {name}\n" for name, file in sorted(self.files.items()))
        return hashlib.sha256(lines.encode("utf-8")).hexdigest()

    @property
    def model_digest(self) -> str:
        """The same of what determines a model's scores: without ``assets.extra``."""
        extra = {name for name in self.files if name.startswith(f"{EXTRA_ASSETS}/")}
        return self.without(extra).digest

    def difference(self, folder: Path, *, contents: bool) -> str:
        """Returns how the first file differs that does; empty if the folder is as listed.

        Other files do not count; with ``contents``, digests are compared, and not only sizes.

        Raises:
            OSError: a file cannot be read.
        """
        for name, file in self.files.items():
            path = folder / name
            if not path.is_file():
                return f"{name} is missing"
            size = path.stat().st_size
            if size != file.size:
                return f"{name} has {size} bytes, not {file.size}"
            if contents and file_digest(path) != file.sha256:
                return f"{name} was changed after the push"
        return ""


def file_digest(path: Path) -> str:
    """Returns a file's hex SHA-256."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _raise(error: OSError) -> NoReturn:
    raise error
