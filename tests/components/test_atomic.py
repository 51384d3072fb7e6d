"""A file is complete or absent: old content stays until the new one is whole and on the disk."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from components import atomic


def test_text_and_bytes_are_written_as_given_in_a_new_folder(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "a" / "b" / "text.json", "naïve\r\n")
    atomic.write_bytes(tmp_path / "a" / "bytes", b"\xff\0")

    assert (tmp_path / "a" / "b" / "text.json").read_bytes() == b"na\xc3\xafve\r\n"
    assert (tmp_path / "a" / "bytes").read_bytes() == b"\xff\0"
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b", "bytes"]


def test_the_target_is_readable_and_unchanged_while_the_new_content_is_written(
    tmp_path: Path,
) -> None:
    target = tmp_path / "file"
    target.write_text("old")

    with atomic.replacing(target) as scratch:
        assert scratch.parent == target.parent
        scratch.write_text("new")
        assert target.read_text() == "old"

    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_an_error_keeps_the_old_content_and_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")

    with pytest.raises(ZeroDivisionError), atomic.replacing(target) as scratch:
        scratch.write_text("half of the new") / 0

    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_text_that_cannot_be_encoded_keeps_the_old_content(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")

    with pytest.raises(UnicodeEncodeError):
        atomic.write_text(target, "\udcff")

    assert target.read_text() == "old"


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with atomic.replacing(target) as first, atomic.replacing(target) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")

    assert target.read_text() == "first"
    assert list(tmp_path.iterdir()) == [target]


def test_a_killed_writer_leaves_a_file_that_a_glob_finds(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    script = (
        "import os, pathlib, sys; from components import atomic\n"
        "with atomic.replacing(pathlib.Path(sys.argv[1])) as scratch:\n"
        "    scratch.write_text('half')\n"
        "    os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(target)], check=False).returncode == 9

    assert target.read_text() == "old"
    (left,) = set(tmp_path.iterdir()) - {target}
    assert list(tmp_path.glob(".*.tmp")) == [left]
    atomic.sweep(tmp_path / "fil")
    assert left.exists()
    atomic.sweep(target)
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EBADF])
def test_file_system_that_cannot_flush_folders_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fsync = os.fsync

    def refuse_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    atomic.write_text(tmp_path / "file", "text")
    assert (tmp_path / "file").read_text() == "text"


def test_the_data_are_on_the_disk_before_the_rename_and_the_rename_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "file"
    synced: list[tuple[str, bool]] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        synced.append((kind, target.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    atomic.write_text(target, "text")

    assert synced == [("file", False), ("folder", True)]


def test_the_file_gets_the_permissions_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        atomic.write_text(tmp_path / "file", "")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
