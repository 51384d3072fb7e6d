"""Versioned model folders, complete or absent, with increasing numbers.

A model server takes every numeric name in its model folder as a version and ignores the rest. So a
version is copied under another name in the same folder, synced to disk, and renamed.

The server serves the highest version. A rollback renames that one to ``.rolled-back-<version>``,
which the server ignores. The name records that this version was rejected: neither its number nor
its model is pushed again, unless the folder is removed by hand.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from components.atomic import sync
from components.errors import UserError

LOCK_FILE = ".push.lock"
STAGING_PREFIX = ".staging-"
ROLLED_BACK_PREFIX = ".rolled-back-"
LOCK_SECONDS = 600.0
SAVED_MODEL = "saved_model.pb"

_NUMERIC = re.compile(r"[0-9]+")
# TF Serving reads a version as a signed 64-bit integer and skips names that do not fit.
_MAX_VERSION = 2**63 - 1


class PushedVersion(NamedTuple):
    """A version that a model server can load."""

    version: int
    path: Path


def list_versions(folder: Path) -> list[int]:
    """Returns the versions in a push folder, ascending; empty if the folder does not exist."""
    return _numbers(folder, "")


def servable_versions(folder: Path) -> list[int]:
    """Returns those of `list_versions` with a SavedModel, which a server can load."""
    return [
        version
        for version in list_versions(folder)
        if (folder / str(version) / SAVED_MODEL).is_file()
    ]


def rolled_back_versions(folder: Path) -> list[int]:
    """Returns the versions that were rolled back, ascending; their files may be pruned."""
    return _numbers(folder, ROLLED_BACK_PREFIX)


def was_rolled_back(version_folder: Path) -> bool:
    """Returns whether the version pushed to a folder was rolled back."""
    return not version_folder.exists() and _rejected(version_folder).is_dir()


def _rejected(version_folder: Path) -> Path:
    return version_folder.with_name(ROLLED_BACK_PREFIX + version_folder.name)


def _numbers(folder: Path, prefix: str) -> list[int]:
    if not folder.is_dir():
        return []
    names = (
        entry.name[len(prefix) :] for entry in folder.iterdir() if entry.name.startswith(prefix)
    )
    numbers = (int(name) for name in names if _NUMERIC.fullmatch(name))
    return sorted(number for number in numbers if number <= _MAX_VERSION)


def next_version(existing: list[int], now: float) -> int:
    """Returns the Unix time in seconds, or one more than the highest version if that is higher.

    Args:
        existing: used versions, ascending.
        now: Unix time in seconds.

    Raises:
        UserError: a model server could not read a version above the highest one.
    """
    version = max(int(now), existing[-1] + 1 if existing else 0)
    if version > _MAX_VERSION:
        raise UserError(
            f"version {existing[-1]}: no higher version fits 64 bits; rename or remove that folder"
        )
    return version


def publish(
    model: Path,
    folder: Path,
    now: Callable[[], float] = time.time,
    lock_seconds: float = LOCK_SECONDS,
    additions: Mapping[str, Path] | None = None,
) -> PushedVersion:
    """Copies a SavedModel into a push folder as its next version.

    One push at a time holds the folder's lock, which the system releases when its process dies. The
    next push removes what a killed one left behind.

    Args:
        model: folder with ``saved_model.pb``.
        folder: the push folder; created if missing.
        now: clock, Unix time in seconds.
        lock_seconds: how long to wait for another push.
        additions: further files of the version, by their path in it.

    Raises:
        UserError: the model is not a SavedModel, the folder is not writable, or the lock is held.
    """
    if not (model / SAVED_MODEL).is_file():
        raise UserError(f"{model}: no {SAVED_MODEL}; only a SavedModel folder can be pushed")
    with _failing_as(folder, "cannot push the model"):
        folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder, "cannot push the model", lock_seconds):
        staging = folder / f"{STAGING_PREFIX}{os.getpid()}"
        try:
            shutil.copytree(model, staging)
            for name, file in (additions or {}).items():
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, staging / name)
            _sync_tree(staging)
            return _rename(staging, folder, now)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def rollback(folder: Path, lock_seconds: float = LOCK_SECONDS) -> PushedVersion:
    """Takes the served version, the highest, out of service, so that the one below is served.

    This is one rename, which a server notices when it next polls. The files stay, as
    ``.rolled-back-<version>``, until `prune`.

    Args:
        folder: the push folder.
        lock_seconds: how long to wait for a push.

    Returns:
        The version that is served now.

    Raises:
        UserError: there is no version to go back to, the folder is not writable, or the lock is
            held.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder, so nothing to roll back")
    with _alone(folder, "cannot roll back", lock_seconds):
        present = list_versions(folder)
        if len(present) < 2:
            held = f"version {present[0]} is the only one" if present else "it holds no version"
            raise UserError(f"{folder}: {held}; there is none to go back to")
        before, served = present[-2:]
        target = _rejected(folder / str(served))
        if target.exists():
            # This version was rolled back before, and someone copied its files back.
            shutil.rmtree(target)
        _visible(folder, served).rename(target)
        sync(folder)
        return PushedVersion(before, _visible(folder, before))


def prune(
    folder: Path,
    keep: int,
    dry_run: bool = False,
    in_use: Collection[int] = (),
    lock_seconds: float = LOCK_SECONDS,
) -> list[Path]:
    """Removes old versions, and the files of those that were rolled back.

    The served version, the highest, always stays. A version that was rolled back keeps an empty
    folder as its record. A version is hidden from the server by one rename before its files are
    removed.

    Args:
        folder: the push folder.
        keep: how many of the highest versions stay, at least 1.
        dry_run: only list the folders.
        in_use: further versions that stay, such as those in a server's configuration.
        lock_seconds: how long to wait for a push.

    Returns:
        The folders that were, or with ``dry_run`` would be, removed or emptied, oldest first.

    Raises:
        UserError: ``keep`` is below 1, the folder is not writable, or the lock is held.
    """
    if keep < 1:
        raise UserError(f"keep = {keep}: at least 1 version stays, the one that is served")
    if not folder.is_dir():
        return []
    if dry_run:
        old, rejected = _prunable(folder, keep, in_use)
        return [*old, *rejected]
    with _alone(folder, "cannot prune", lock_seconds):
        old, rejected = _prunable(folder, keep, in_use)
        for path in old:
            hidden = folder / f"{STAGING_PREFIX}pruned-{path.name}"
            path.rename(hidden)
            sync(folder)
            shutil.rmtree(hidden)
        for path in rejected:
            for entry in path.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        return [*old, *rejected]


def _prunable(folder: Path, keep: int, in_use: Collection[int]) -> tuple[list[Path], list[Path]]:
    old = [version for version in list_versions(folder)[:-keep] if version not in in_use]
    rejected = [folder / f"{ROLLED_BACK_PREFIX}{number}" for number in rolled_back_versions(folder)]
    return (
        [_visible(folder, version) for version in old],
        [path for path in rejected if any(path.iterdir())],
    )


def _visible(folder: Path, version: int) -> Path:
    """Returns the folder of a version, whose name may have leading zeros."""
    names = (entry for entry in folder.iterdir() if _NUMERIC.fullmatch(entry.name))
    return next(entry for entry in names if int(entry.name) == version)


@contextlib.contextmanager
def _alone(folder: Path, what: str, lock_seconds: float) -> Iterator[None]:
    """Holds the folder's lock, and removes what a killed push or prune left.

    Raises:
        UserError: the lock is held, or the body raises an OSError.
    """
    with _failing_as(folder, what):
        try:
            with FileLock(folder / LOCK_FILE, timeout=lock_seconds):
                _remove_leftovers(folder)
                yield
        except Timeout:
            raise UserError(
                f"{folder}: another push has held {LOCK_FILE} for {lock_seconds:g} s; "
                "wait for it to end and run again"
            ) from None


@contextlib.contextmanager
def _failing_as(folder: Path, what: str) -> Iterator[None]:
    """Turns an OSError into a one-line UserError."""
    try:
        yield
    except OSError as error:
        # copytree collects the failures of its files in one shutil.Error.
        cause = error.args[0][0][2] if isinstance(error, shutil.Error) else error.strerror
        raise UserError(
            f"{folder}: {what}: {cause}; "
            "see that the folder is writable and the disk has room, then run again"
        ) from error


def _remove_leftovers(folder: Path) -> None:
    for entry in folder.glob(f"{STAGING_PREFIX}*"):
        shutil.rmtree(entry)


def _rename(staging: Path, folder: Path, now: Callable[[], float]) -> PushedVersion:
    while True:
        taken = sorted([*list_versions(folder), *rolled_back_versions(folder)])
        version = next_version(taken, now())
        target = folder / str(version)
        try:
            staging.rename(target)
        except OSError:
            # Another program made that version without taking the lock.
            if not target.exists():
                raise
            continue
        sync(folder)
        return PushedVersion(version, target)


def _sync_tree(root: Path) -> None:
    """Flushes every file, then its folder, to the disk."""
    for folder, _, files in os.walk(root, topdown=False):
        for name in files:
            sync(Path(folder) / name)
        sync(Path(folder))
