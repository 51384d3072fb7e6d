"""Finds the data files that a path, a folder or a glob names: the same ones for every reader."""

from __future__ import annotations

import errno
import fnmatch
import glob
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import unquote

from components.errors import UserError, listed

PARQUET = re.compile(
    r"\.(parquet|parq|pq)(\.(gzip|gz|snappy|zstd|lz4|brotli))?$|^(part-[^.]*|\d+_\d+)$",
    re.IGNORECASE,
)
"""Names of the parquet files in a folder; Hadoop's and Hive's may have no suffix."""

_SHOWN = 40
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def find_files(pattern: str, in_folders: re.Pattern[str] = PARQUET) -> list[str]:
    """Returns the files that a pattern names, sorted; opens none of them.

    Names that begin with "." or "_" are not data to Spark, pandas and pyarrow: files and folders of
    such names are passed over, unless the pattern spells out that character.

    Args:
        pattern: a file; a folder, whose files are taken at any depth; or a glob, in which ``**``
            crosses folders. A folder that a glob matches is taken if its name is that of a data
            file or a partition, such as ``year=2024``.
        in_folders: names of the files to take from a folder.

    Raises:
        UserError: nothing is found, or something that is not a readable regular file.
    """
    if pattern and _exists(pattern):
        found = [pattern]
    elif glob.has_magic(pattern):
        found = [
            path
            for path in _matches(pattern)
            if not _is_dir(path) or "=" in Path(path).name or in_folders.search(Path(path).name)
        ]
    else:
        raise UserError(f"{pattern!r}: no such file; name a file, a folder, or a glob in quotes")
    files = set()
    for path in found:
        inside = (one for folder in _folders(path) for one in _visible(folder) if not _is_dir(one))
        files |= (
            {one for one in inside if in_folders.search(Path(one).name)}
            if _is_dir(path)
            else {path}
        )
    if not files:
        raise UserError(f"{pattern}: no file matches; name a file, a folder, or a glob in quotes")
    for path in files:
        check_file(path)
    return sorted(files)


def check_file(path: str) -> None:
    """Checks, without opening it, that a path is a regular file that can be read.

    Raises:
        UserError: it is not.
    """
    try:
        kind = _KINDS.get(stat.S_IFMT(Path(path).stat().st_mode))
    except OSError as error:
        raise _unreadable(path, error) from None
    if kind:
        raise UserError(f"{path}: is {kind}; name a regular file")
    if not os.access(path, os.R_OK):
        raise _unreadable(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def is_hidden(name: str) -> bool:
    """Returns whether a file or folder of this name is not data."""
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def partition_values(path: str) -> dict[str, str | None]:
    """Returns the columns in the names of a file's folders, such as ``year=2024`` (Hive's form)."""
    pairs = [name.split("=", 1) for name in Path(path).parts[:-1] if "=" in name]
    return {key: None if value == _NO_VALUE else unquote(value) for key, value in pairs}


def check_columns(
    wanted: Iterable[str], present: Sequence[str], path: str, has: str = "it has", remedy: str = ""
) -> None:
    """Checks that a file has each wanted column once.

    Args:
        wanted: names of columns.
        present: all columns of the file.
        path: the file, for the message.
        has: introduces the names of the present columns in the message.
        remedy: what to do, with a separator before it.

    Raises:
        UserError: a column is missing or occurs twice; names all missing ones with the nearest.
    """
    folded, absent = {name.casefold(): name for name in present}, []
    for name in wanted:
        if (count := present.count(name)) > 1:
            raise UserError(f"{path}: column {name!r} occurs {count} times; keep one")
        near = get_close_matches(name.casefold(), folded, 1)
        hint = f" (is it {folded[near[0]][:_SHOWN]!r}?)" if near else ""
        if name in partition_values(path):
            hint = " (a partition key, in the names of folders)"
        if not count:
            absent.append(f"{name!r}{hint}")
    if absent:
        shown = listed(name[:_SHOWN] for name in present)
        raise UserError(f"{path}: no column {', '.join(absent)}; {has} {shown}{remedy}")


def _matches(pattern: str) -> list[str]:
    """Returns the files and folders that a glob matches."""
    found = [""]
    # "a/**" stands for all that is below a.
    for part in Path(f"{pattern}/*" if pattern.endswith("**") else pattern).parts:
        if part == "**":
            found = [folder for path in found for folder in _folders(path)]
        elif glob.has_magic(part):
            found = [
                path
                for folder in found
                for path in (_entries(folder) if is_hidden(part) else _visible(folder))
                if fnmatch.fnmatchcase(Path(path).name, part)
            ]
        else:
            found = [path for folder in found if _exists(path := str(Path(folder, part)))]
    return found


def _folders(path: str) -> Iterator[str]:
    """Yields a folder and those below it, each once, though links may lead to it again."""
    waiting, seen = [path], set()
    while waiting:
        folder = waiting.pop()
        if _is_dir(folder) and (real := Path(folder).resolve()) not in seen:
            seen.add(real)
            yield folder
            waiting += _visible(folder)


def _visible(folder: str) -> list[str]:
    return [path for path in _entries(folder) if not is_hidden(Path(path).name)]


def _entries(folder: str) -> list[str]:
    """Returns the paths in a folder; none of another file."""
    try:
        return [str(path) for path in Path(folder).iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _unreadable(folder, error) from None


def _is_dir(path: str) -> bool:
    try:
        return stat.S_ISDIR(Path(path).stat().st_mode)
    except OSError:
        return False


def _exists(path: str) -> bool:
    try:
        Path(path).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unreadable(path, error) from None
    return True


def _unreadable(path: str, error: OSError) -> UserError:
    if error.errno in (errno.ENOENT, errno.ELOOP) and Path(path).is_symlink():
        end = "itself" if error.errno == errno.ELOOP else "nothing"
        target = Path(path).readlink()
        return UserError(f"{path}: is a link to {target}, which leads to {end}; mend or remove it")
    shown = path if len(path) <= 300 else f"{path[:100]}...{path[-100:]}"
    return UserError(f"{shown}: cannot be read ({error.strerror})")
