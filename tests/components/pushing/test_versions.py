"""A version is complete or absent, and its number grows whatever happens to clock or process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from components.errors import UserError
from components.pushing import versions

FILES = {
    "saved_model.pb": b"graph" * 100,
    "fingerprint.pb": b"f",
    "variables/variables.index": b"i" * 10,
    "variables/variables.data-00000-of-00001": b"w" * 300_000,
    "assets/vocabulary": b"the\nof\n",
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def contents(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def test_first_version_is_the_time_in_seconds(model, tmp_path):
    pushed = versions.publish(model, tmp_path / "serving" / "arxiv", now=lambda: 1_700_000_000.9)

    assert pushed == (1_700_000_000, tmp_path / "serving" / "arxiv" / "1700000000")
    assert contents(pushed.path) == FILES


def test_two_pushes_in_one_second_get_two_versions(model, tmp_path):
    pushed = [versions.publish(model, tmp_path / "s", now=lambda: 100.0) for _ in range(3)]

    assert [one.version for one in pushed] == [100, 101, 102]


def test_clock_set_back_does_not_set_the_version_back(model, tmp_path):
    versions.publish(model, tmp_path / "s", now=lambda: 5_000.0)

    assert versions.publish(model, tmp_path / "s", now=lambda: 10.0).version == 5_001


@given(
    st.lists(st.integers(0, 2**40), max_size=5),
    st.floats(0, 2**40),
)
def test_next_version_exceeds_all_and_is_not_behind_the_clock(existing, now):
    version = versions.next_version(sorted(existing), now)

    assert all(version > one for one in existing)
    assert version >= int(now)


def test_only_numeric_names_that_fit_64_bits_are_versions(tmp_path):
    for name in ("7", "0012", ".staging-9", "v13", "1e3", "٣", str(2**63), "-4"):
        (tmp_path / name).mkdir()

    assert versions.list_versions(tmp_path) == [7, 12]
    assert versions.list_versions(tmp_path / "absent") == []


def test_no_version_is_left_beyond_64_bits():
    with pytest.raises(UserError, match="no higher version fits"):
        versions.next_version([2**63 - 1], 1.0)


def test_push_leaves_nothing_but_versions_and_the_lock(model, tmp_path):
    versions.publish(model, tmp_path / "s", now=lambda: 100.0)

    assert {entry.name for entry in (tmp_path / "s").iterdir()} <= {"100", versions.LOCK_FILE}


def test_other_users_can_read_a_version(model, tmp_path):
    pushed = versions.publish(model, tmp_path / "s")

    umask = os.umask(0)
    os.umask(umask)
    assert pushed.path.stat().st_mode & 0o777 == 0o777 & ~umask


def test_folder_without_saved_model_is_refused(tmp_path):
    (tmp_path / "model").mkdir()

    with pytest.raises(UserError, match=r"no saved_model\.pb"):
        versions.publish(tmp_path / "model", tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_failed_copy_shows_no_version_and_says_why(model, tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(versions.shutil, "copyfile", full)
    with pytest.raises(UserError, match=r"cannot push the model: .*No space left on device"):
        versions.publish(model, tmp_path / "s")

    assert {entry.name for entry in (tmp_path / "s").iterdir()} <= {versions.LOCK_FILE}


def test_push_folder_that_is_a_file_is_one_line(model, tmp_path):
    (tmp_path / "s").write_text("not a folder")

    with pytest.raises(UserError, match="cannot push the model") as refused:
        versions.publish(model, tmp_path / "s")
    assert "\n" not in str(refused.value)


def test_lock_held_by_another_push_is_one_line(model, tmp_path):
    (tmp_path / "s").mkdir()
    with (
        FileLock(tmp_path / "s" / versions.LOCK_FILE),
        pytest.raises(UserError, match=r"another push has held \.push\.lock"),
    ):
        versions.publish(model, tmp_path / "s", lock_seconds=0.1)


KILLED_MID_COPY = """
import os, shutil, signal, sys
from pathlib import Path
from components.pushing import versions

copied = []
real = shutil.copyfile

def copy_then_die(source, destination, **options):
    result = real(source, destination, **options)
    copied.append(destination)
    if len(copied) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return result

shutil.copyfile = copy_then_die
versions.publish(Path(sys.argv[1]), Path(sys.argv[2]), now=lambda: 100.0)
"""


@pytest.mark.parametrize("files_copied", [1, 3, 5])
def test_push_killed_in_mid_copy_shows_no_version_and_the_next_cleans_up(
    model, tmp_path, repository, files_copied
):
    serving = tmp_path / "s"
    versions.publish(model, serving, now=lambda: 50.0)
    command = [sys.executable, "-c", KILLED_MID_COPY, str(model), str(serving), str(files_copied)]
    killed = subprocess.run(command, cwd=repository, check=False)

    assert killed.returncode == -signal.SIGKILL
    assert versions.list_versions(serving) == [50]
    assert len(list(serving.glob(f"{versions.STAGING_PREFIX}*"))) == 1

    pushed = versions.publish(model, serving, now=lambda: 100.0)

    assert pushed.version == 100
    assert contents(pushed.path) == FILES
    assert not list(serving.glob(f"{versions.STAGING_PREFIX}*"))


def _push_at_100(model: Path, serving: Path) -> int:
    return versions.publish(model, serving, now=lambda: 100.0).version


def _incomplete(serving: Path) -> list[str]:
    found = []
    for version in versions.list_versions(serving):
        for name, content in FILES.items():
            file = serving / str(version) / name
            if not file.is_file() or file.stat().st_size != len(content):
                found.append(str(file))
    return found


def test_parallel_pushes_get_distinct_versions_and_no_reader_sees_half_of_one(model, tmp_path):
    serving = tmp_path / "s"
    done = threading.Event()
    seen: list[str] = []

    def watch() -> None:
        while not done.is_set():
            seen.extend(_incomplete(serving))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with ProcessPoolExecutor(max_workers=4) as pool:
            jobs = [pool.submit(_push_at_100, model, serving) for _ in range(12)]
            pushed = sorted(job.result() for job in jobs)
    finally:
        done.set()
        watcher.join()

    assert pushed == list(range(100, 112))
    assert seen == []
    assert all(contents(serving / str(version)) == FILES for version in pushed)


def test_version_made_by_someone_without_the_lock_is_stepped_over(model, tmp_path, monkeypatch):
    serving = tmp_path / "s"
    (serving / "100").mkdir(parents=True)
    (serving / "100" / "saved_model.pb").write_bytes(b"theirs")
    listed = iter([[], [100]])
    monkeypatch.setattr(versions, "list_versions", lambda _: next(listed))

    pushed = versions.publish(model, serving, now=lambda: 100.0)

    assert pushed.version == 101
    assert (serving / "100" / "saved_model.pb").read_bytes() == b"theirs"


def versions_at(serving: Path, model: Path, *times: int) -> list[int]:
    return [versions.publish(model, serving, now=lambda at=at: float(at)).version for at in times]


def test_files_beside_the_model_are_in_the_version_from_the_start(model, tmp_path):
    card = tmp_path / "card.md"
    card.write_text("a card")

    pushed = versions.publish(model, tmp_path / "s", additions={"assets.extra/card.md": card})

    assert contents(pushed.path) == {**FILES, "assets.extra/card.md": b"a card"}


def test_addition_that_is_not_there_shows_no_version(model, tmp_path):
    with pytest.raises(UserError, match="cannot push the model: No such file"):
        versions.publish(model, tmp_path / "s", additions={"card.md": tmp_path / "none"})

    assert versions.list_versions(tmp_path / "s") == []


def test_rollback_serves_the_version_before_and_keeps_the_files(model, tmp_path):
    serving = tmp_path / "s"
    versions_at(serving, model, 100, 200, 300)

    assert versions.rollback(serving) == (200, serving / "200")
    assert versions.rollback(serving) == (100, serving / "100")

    assert versions.list_versions(serving) == [100]
    assert versions.rolled_back_versions(serving) == [200, 300]
    assert contents(serving / ".rolled-back-300") == FILES


@pytest.mark.parametrize(
    ("pushed", "message"),
    [([], "it holds no version; there is none"), ([100], "version 100 is the only one; there is")],
)
def test_without_a_version_to_go_back_to_nothing_is_rolled_back(model, tmp_path, pushed, message):
    (tmp_path / "s").mkdir()
    versions_at(tmp_path / "s", model, *pushed)

    with pytest.raises(UserError, match=message):
        versions.rollback(tmp_path / "s")
    assert versions.list_versions(tmp_path / "s") == pushed


def test_folder_that_is_not_there_cannot_be_rolled_back_and_has_nothing_to_prune(tmp_path):
    with pytest.raises(UserError, match="there is no such folder"):
        versions.rollback(tmp_path / "none")
    assert versions.prune(tmp_path / "none", 1) == []
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("clock", [10, 300, 1000])
def test_number_of_a_rolled_back_version_never_comes_again(model, tmp_path, clock):
    serving = tmp_path / "s"
    versions_at(serving, model, 200, 300)
    versions.rollback(serving)
    versions.prune(serving, 1)

    assert versions_at(serving, model, clock, clock) == [max(clock, 301), max(clock, 301) + 1]


def test_rollback_after_a_rollback_and_a_push_goes_back_to_what_was_served(model, tmp_path):
    serving = tmp_path / "s"
    versions_at(serving, model, 100, 200)
    versions.rollback(serving)
    versions_at(serving, model, 300)

    assert versions.rollback(serving).version == 100


def test_version_copied_back_by_hand_can_be_rolled_back_again(model, tmp_path):
    serving = tmp_path / "s"
    versions_at(serving, model, 100, 200)
    versions.rollback(serving)
    shutil.copytree(serving / ".rolled-back-200", serving / "200")
    assert not versions.was_rolled_back(serving / "200")

    assert versions.rollback(serving).version == 100
    assert versions.was_rolled_back(serving / "200")
    assert not versions.was_rolled_back(serving / "100")
    assert not versions.was_rolled_back(serving / "150")


def test_prune_keeps_the_last_ones(model, tmp_path):
    serving = tmp_path / "s"
    versions_at(serving, model, 100, 200, 300, 400)
    would = versions.prune(serving, 2, dry_run=True)

    assert would == [serving / "100", serving / "200"]
    assert versions.list_versions(serving) == [100, 200, 300, 400]
    assert versions.prune(serving, 2) == would
    assert versions.list_versions(serving) == [300, 400]
    assert versions.prune(serving, 2) == []
    assert {entry.name for entry in serving.iterdir()} <= {"300", "400", versions.LOCK_FILE}


def test_prune_never_removes_what_is_in_use(model, tmp_path):
    serving = tmp_path / "s"
    versions_at(serving, model, 100, 200, 300)

    assert versions.prune(serving, 1, in_use=[100]) == [serving / "200"]
    assert versions.list_versions(serving) == [100, 300]
    for keep in (0, -1):
        with pytest.raises(UserError, match="at least 1 version stays"):
            versions.prune(serving, keep)


def test_prune_empties_what_was_rolled_back_and_keeps_the_record(model, tmp_path):
    serving = tmp_path / "s"
    versions_at(serving, model, 100, 200)
    versions.rollback(serving)

    assert versions.prune(serving, 5) == [serving / ".rolled-back-200"]
    assert list((serving / ".rolled-back-200").iterdir()) == []
    assert versions.was_rolled_back(serving / "200")
    assert versions.prune(serving, 5) == []


@pytest.mark.parametrize(
    "change", [versions.rollback, lambda folder, **kw: versions.prune(folder, 1, **kw)]
)
def test_rollback_and_prune_wait_for_a_push(model, tmp_path, change):
    versions_at(tmp_path / "s", model, 100, 200)
    with (
        FileLock(tmp_path / "s" / versions.LOCK_FILE),
        pytest.raises(UserError, match=r"another push has held \.push\.lock"),
    ):
        change(tmp_path / "s", lock_seconds=0.1)
    assert versions.list_versions(tmp_path / "s") == [100, 200]


KILLED_MID_PRUNE = """
import os, shutil, signal, sys
from pathlib import Path
from components.pushing import versions

def die(path, **_):
    (Path(path) / "saved_model.pb").unlink()
    os.kill(os.getpid(), signal.SIGKILL)

versions.shutil.rmtree = die
versions.prune(Path(sys.argv[1]), 1)
"""


def test_prune_killed_in_mid_removal_shows_no_half_version(model, tmp_path, repository):
    serving = tmp_path / "s"
    versions_at(serving, model, 100, 200)
    command = [sys.executable, "-c", KILLED_MID_PRUNE, str(serving)]
    killed = subprocess.run(command, cwd=repository, check=False)

    assert killed.returncode == -signal.SIGKILL
    assert versions.list_versions(serving) == [200]
    assert _incomplete(serving) == []
    versions_at(serving, model, 300)
    assert {entry.name for entry in serving.iterdir()} <= {"200", "300", versions.LOCK_FILE}
