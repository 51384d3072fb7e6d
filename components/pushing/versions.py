"""Versioned model folders: complete or absent, numbers that only grow.

A model server takes every numeric name in its model folder for a version and ignores the rest. So a
version is copied under another name in the same folder, written through to the disk, and renamed.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from components.errors import UserError

LOCK_FILE = ".push.lock"
STAGING_PREFIX = ".staging-"
LOCK_SECONDS = 600.0

_SAVED_MODEL = "saved_model.pb"
_NUMERIC = re.compile(r"[0-9]+")
# TF Serving reads a version as a signed 64-bit integer and skips names that do not fit.
_MAX_VERSION = 2**63 - 1


class PushedVersion(NamedTuple):
    """A version that a model server can load."""

    version: int
    path: Path


def list_versions(folder: Path) -> list[int]:
    """Returns the versions in a push folder, ascending; empty where there is no such folder."""
    if not folder.is_dir():
        return []
    numbers = (int(entry.name) for entry in folder.iterdir() if _NUMERIC.fullmatch(entry.name))
    return sorted(number for number in numbers if number <= _MAX_VERSION)


def next_version(existing: list[int], now: float) -> int:
    """Returns the Unix time in seconds, or one more than the highest version if that is higher.

    Args:
      existing: versions that are taken, ascending.
      now: Unix time in seconds.

    Raises:
      UserError: the highest version leaves no higher one that a model server could read.
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
) -> PushedVersion:
    """Copies a SavedModel into a push folder as its next version.

    One push at a time holds the folder's lock, which the system releases when its process dies;
    what a killed push left behind is removed by the next one.

    Args:
      model: folder with ``saved_model.pb``.
      folder: the push folder; made if it does not exist.
      now: clock, Unix time in seconds.
      lock_seconds: how long to wait for another push.

    Raises:
      UserError: the model is no SavedModel, the folder cannot be written, or the lock is not free.
    """
    if not (model / _SAVED_MODEL).is_file():
        raise UserError(f"{model}: no {_SAVED_MODEL}; only a SavedModel folder can be pushed")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / LOCK_FILE, timeout=lock_seconds):
            _remove_leftovers(folder)
            staging = folder / f"{STAGING_PREFIX}{os.getpid()}"
            try:
                shutil.copytree(model, staging)
                _sync_tree(staging)
                return _rename(staging, folder, now)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    except Timeout:
        raise UserError(
            f"{folder}: another push has held {LOCK_FILE} for {lock_seconds:g} s; "
            "wait for it to end and run again"
        ) from None
    except OSError as error:
        # copytree collects the failures of its files in one shutil.Error.
        cause = error.args[0][0][2] if isinstance(error, shutil.Error) else error.strerror
        raise UserError(
            f"{folder}: cannot push the model: {cause}; "
            "see that the folder is writable and the disk has room, then run again"
        ) from error


def _remove_leftovers(folder: Path) -> None:
    for entry in folder.glob(f"{STAGING_PREFIX}*"):
        shutil.rmtree(entry)


def _rename(staging: Path, folder: Path, now: Callable[[], float]) -> PushedVersion:
    while True:
        version = next_version(list_versions(folder), now())
        target = folder / str(version)
        try:
            staging.rename(target)
        except OSError:
            # Someone who does not take the lock made that version meanwhile.
            if not target.exists():
                raise
            continue
        _sync(folder)
        return PushedVersion(version, target)


def _sync_tree(root: Path) -> None:
    """Flushes every file, and every folder after its files, to the disk."""
    for folder, _, files in os.walk(root, topdown=False):
        for name in files:
            _sync(Path(folder) / name)
        _sync(Path(folder))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
