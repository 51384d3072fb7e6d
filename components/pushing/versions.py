"""Versioned model folders, complete or absent, with increasing numbers.

A model server takes every numeric name in its model folder as a version and ignores the rest. So a
version is copied under another name in the same folder, synced to disk, and renamed.

The server serves the highest version. A rollback renames that one to ``.rolled-back-<version>``,
which the server ignores. The name records that this version was rejected: neither its number nor
its model is pushed again, unless the folder is removed by hand.

A version carries a manifest of its files' digests. Rollback and prune count only whole versions:
those that can be loaded and are as they were pushed. One pipeline owns a push folder
(`components.pushing.owner`).
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
from components.contracts.artifact_files import MANIFEST
from components.contracts.manifest import Manifest
from components.errors import UserError
from components.pushing.owner import Owner, check_owner, take
from components.scoring.saved_model import SAVED_MODEL, defect

LOCK_FILE = ".push.lock"
STAGING_PREFIX = ".staging-"
ROLLED_BACK_PREFIX = ".rolled-back-"
LOCK_SECONDS = 600.0

_NUMERIC = re.compile(r"[0-9]+")
# TF Serving reads a version as a signed 64-bit integer and skips names that do not fit.
_MAX_VERSION = 2**63 - 1
_WRITABLE = "see that the folder is writable and the disk has room, then run again"


class PushedVersion(NamedTuple):
    """A version that a model server can load."""

    version: int
    path: Path


def make_folder(folder: Path) -> None:
    """Creates a push folder, readable for the server's user whatever the umask; it may exist."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(folder.stat().st_mode | 0o555)


def numbered(folder: Path, prefix: str = "") -> dict[int, Path]:
    """Returns {version: its folder}, ascending; empty if the push folder does not exist.

    With `ROLLED_BACK_PREFIX`, those that were rolled back, whose files may be pruned.

    Raises:
        UserError: the folder cannot be read.
    """
    found = {}
    with _failing_as(folder, "cannot be read", "see that it is a folder you may read"):
        try:
            entries = list(folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return {}
    for entry in entries:
        name = entry.name[len(prefix) :]
        # A name may have leading zeros.
        if entry.name.startswith(prefix) and _NUMERIC.fullmatch(name) and int(name) <= _MAX_VERSION:
            found[int(name)] = entry
    return dict(sorted(found.items()))


def list_versions(folder: Path) -> list[int]:
    """Returns the versions in a push folder, ascending; see `numbered`."""
    return list(numbered(folder))


def servable_versions(folder: Path) -> list[int]:
    """Returns those of `list_versions` with a SavedModel, which a server may take."""
    with _failing_as(folder, "cannot be read", "see that you may read the versions in it"):
        versions = numbered(folder).items()
        return [version for version, path in versions if (path / SAVED_MODEL).is_file()]


def was_rolled_back(version_folder: Path) -> bool:
    """Returns whether the version pushed to a folder was rolled back."""
    rejected = version_folder.with_name(ROLLED_BACK_PREFIX + version_folder.name)
    return not version_folder.exists() and rejected.is_dir()


def next_version(existing: list[int], now: float) -> int:
    """Returns the Unix time, or one more than the last of the ascending versions if that is higher.

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
    additions: Mapping[str, Path] | None = None,
    owner: Owner | None = None,
    digest: str = "",
) -> PushedVersion:
    """Copies a SavedModel into a push folder as its next version, with a manifest of its files.

    One push at a time holds the folder's lock, which the system releases when its process dies. The
    next push removes what a killed one left behind. If the served version is the same to the byte,
    it is returned, and nothing is copied: a push was killed after its version became visible.

    Args:
        model: folder with ``saved_model.pb``, directly in its artifact's folder.
        folder: created if missing.
        now: clock, Unix time in seconds.
        additions: further files of the version, by their path in it.
        owner: the pipeline that pushes; the first to push owns the folder.
        digest: ``Manifest.digest`` of the model that was blessed; empty if it is not known.

    Raises:
        UserError: the model cannot be loaded or is not the blessed one, the folder is another
            pipeline's or not writable, or the lock is held.
    """
    if problem := defect(model, contents=False):
        raise UserError(f"{model}: {problem}; only a whole SavedModel can be pushed")
    with _failing_as(folder, "cannot push the model"):
        make_folder(folder)
    with _alone(folder, "cannot push the model"):
        if owner is not None:
            take(folder, owner)
        staging = folder / f"{STAGING_PREFIX}{os.getpid()}"
        try:
            shutil.copytree(model, staging)
            for name, file in (additions or {}).items():
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, staging / name)
            manifest = Manifest.of(staging)
            if digest and manifest.without(additions or ()).digest != digest:
                raise UserError(
                    f"{model} was changed after it was blessed; remove the folder "
                    f"{model.parent} and run again: the model is made anew"
                )
            for version, path in list(numbered(folder).items())[-1:]:
                same = Manifest.find(path / MANIFEST) == manifest
                if same and not defect(path, contents=True):
                    return PushedVersion(version, path)
            manifest.write(staging / MANIFEST)
            _finish_tree(staging)
            return _rename(staging, folder, now)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def rollback(
    folder: Path, owner: Owner | None = None, say: Callable[[str], None] = lambda _: None
) -> PushedVersion:
    """Takes the served version, the highest, out of service, so that the one below is served.

    Copies of the same model directly below it go with it, and so do versions there that cannot be
    loaded. Each goes by one rename, the served one last; a server notices when it next polls. The
    files stay, as ``.rolled-back-<version>``, until `prune`. ``say`` gets a line for each further
    version that goes.

    Returns:
        The version that is served now.

    Raises:
        UserError: there is no version to go back to, the folder is not ``owner``'s or not
            writable, or the lock is held.
    """
    with _failing_as(folder, "cannot roll back"):
        if not folder.is_dir():
            raise UserError(f"{folder}: there is no such folder, so nothing to roll back")
    with _alone(folder, "cannot roll back", owner):
        present = list(reversed(numbered(folder).items()))
        going, lines, model = present[:1], [], ""
        for version, path in going:
            if problem := defect(path, contents=True):
                say(f"version {version} is damaged ({problem})")
            else:
                model = Manifest.of(path).model_digest
        for version, path in present[1:]:
            if problem := defect(path, contents=True):
                lines.append(f"version {version} is damaged ({problem})")
            elif Manifest.of(path).model_digest == model:
                lines.append(f"version {version} is the same model as version {going[0][0]}")
            else:
                for line in lines:
                    say(f"{line}; it is rolled back, too")
                for number, old in reversed(going):
                    target = folder / f"{ROLLED_BACK_PREFIX}{number}"
                    if target.exists():
                        # It was rolled back before, and someone copied its files back.
                        shutil.rmtree(target)
                    old.rename(target)
                    sync(folder)
                return PushedVersion(version, path)
            going.append((version, path))
        held = f"version {going[0][0]} is the only one" if going else "it holds no version"
        held = "; ".join([f"only version {going[0][0]} counts", *lines]) if lines else held
        raise UserError(f"{folder}: {held}; there is none to go back to")


def prune(
    folder: Path,
    keep: int,
    dry_run: bool = False,
    in_use: Collection[int] = (),
    owner: Owner | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Removes old versions, and the files of those that were rolled back.

    Versions that cannot be loaded stay and do not count. A version that was rolled back keeps an
    empty folder as its record. A version is hidden from the server by one rename before its files
    are removed.

    Args:
        keep: how many of the highest versions that can be loaded stay, at least 1.
        dry_run: only list the folders.
        in_use: further versions that stay, such as those in a server's configuration.
        say: gets a line for each version that cannot be loaded.

    Returns:
        The folders that were, or with ``dry_run`` would be, removed or emptied, oldest first.

    Raises:
        UserError: ``keep`` is below 1, the folder is not ``owner``'s or not writable, or the lock
            is held.
    """
    if keep < 1:
        raise UserError(f"keep = {keep}: at least 1 version stays, the one that is served")
    with _failing_as(folder, "cannot prune"):
        if not folder.is_dir():
            return []
    with _alone(folder, "cannot prune", owner, lock=not dry_run):
        whole = []
        for version, path in numbered(folder).items():
            problem = defect(path, contents=True)
            if not problem:
                whole.append((version, path))
            elif path.exists():  # a dry run has no lock: another may have removed it
                say(f"version {version} is damaged ({problem}); it does not count, and stays")
        old = [path for version, path in whole[:-keep] if version not in in_use]
        rejected = list(filter(_has_files, numbered(folder, ROLLED_BACK_PREFIX).values()))
        if dry_run:
            return [*old, *rejected]
        for path in old:
            hidden = folder / f"{STAGING_PREFIX}pruned-{path.name}"
            path.rename(hidden)
            sync(folder)
            shutil.rmtree(hidden)
        for path in rejected:
            for entry in path.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        return [*old, *rejected]


def _has_files(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return False


@contextlib.contextmanager
def _alone(
    folder: Path, what: str, owner: Owner | None = None, *, lock: bool = True
) -> Iterator[None]:
    """Holds the folder's lock and removes what a killed push or prune left; a reader does neither.

    Raises:
        UserError: the lock is held, the folder is not ``owner``'s, or the body raises an OSError.
    """
    with _failing_as(folder, what):
        try:
            with FileLock(folder / LOCK_FILE, LOCK_SECONDS) if lock else contextlib.nullcontext():
                if owner is not None:
                    check_owner(folder, owner)
                for entry in folder.glob(f"{STAGING_PREFIX}*") if lock else ():
                    shutil.rmtree(entry)
                yield
        except Timeout:
            raise UserError(
                f"{folder}: another push has held {LOCK_FILE} for {LOCK_SECONDS:g} s; "
                "wait for it to end and run again"
            ) from None


@contextlib.contextmanager
def _failing_as(folder: Path, what: str, advice: str = _WRITABLE) -> Iterator[None]:
    """Turns an OSError into a one-line UserError."""
    try:
        yield
    except OSError as error:
        # copytree collects the failures of its files in one shutil.Error.
        cause = error.args[0][0][2] if isinstance(error, shutil.Error) else error.strerror
        raise UserError(f"{folder}: {what}: {cause}; {advice}") from error


def _rename(staging: Path, folder: Path, now: Callable[[], float]) -> PushedVersion:
    while True:
        taken = sorted([*list_versions(folder), *numbered(folder, ROLLED_BACK_PREFIX)])
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


def _finish_tree(root: Path) -> None:
    """Flushes every file, then its folder, to the disk; lets the server's user read them."""
    for folder, _, files in os.walk(root, topdown=False):
        for path in (*(Path(folder, name) for name in files), Path(folder)):
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
            sync(path)
