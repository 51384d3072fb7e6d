"""A version is complete or absent, and its number grows whatever happens to clock or process."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from components.contracts.artifact_files import MANIFEST
from components.contracts.manifest import Manifest
from components.errors import UserError
from components.pushing import versions
from components.pushing.owner import OWNER_FILE, Owner, owner_of
from components.scoring.saved_model import defect

WORDS = itertools.count()
DATA = "variables/variables.data-00000-of-00001"


@pytest.fixture
def model(tmp_path: Path, saved_model: Callable[..., Path]) -> Path:
    return saved_model(tmp_path / "model")


def contents(root: Path) -> dict[str, bytes]:
    """The files of a model or version, but for the manifest."""
    files = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name != MANIFEST}


def versions_at(serving: Path, model: Path, *times: int) -> list[int]:
    """Pushes a model at each time, another one each time."""
    numbers = []
    for at in times:
        (model / "assets" / "vocabulary").write_text(f"word{next(WORDS)}")
        numbers.append(versions.publish(model, serving, now=lambda at=at: float(at)).version)
    return numbers


def test_first_version_is_the_time_in_seconds(model, tmp_path):
    pushed = versions.publish(model, tmp_path / "serving" / "arxiv", now=lambda: 1_700_000_000.9)

    assert pushed == (1_700_000_000, tmp_path / "serving" / "arxiv" / "1700000000")
    assert contents(pushed.path) == contents(model)


def test_two_pushes_in_one_second_get_two_versions(model, tmp_path):
    assert versions_at(tmp_path / "s", model, 100, 100, 100) == [100, 101, 102]


def test_clock_set_back_does_not_set_the_version_back(model, tmp_path):
    assert versions_at(tmp_path / "s", model, 5_000, 10) == [5_000, 5_001]


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


def test_lock_held_by_another_push_is_one_line(model, tmp_path, monkeypatch):
    monkeypatch.setattr(versions, "LOCK_SECONDS", 0.1)
    (tmp_path / "s").mkdir()
    with (
        FileLock(tmp_path / "s" / versions.LOCK_FILE),
        pytest.raises(UserError, match=r"another push has held \.push\.lock"),
    ):
        versions.publish(model, tmp_path / "s")


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
    versions_at(serving, model, 50)
    (model / "assets" / "vocabulary").write_text("another")
    command = [sys.executable, "-c", KILLED_MID_COPY, str(model), str(serving), str(files_copied)]
    killed = subprocess.run(command, cwd=repository, check=False)

    assert killed.returncode == -signal.SIGKILL
    assert versions.list_versions(serving) == [50]
    assert len(list(serving.glob(f"{versions.STAGING_PREFIX}*"))) == 1

    pushed = versions.publish(model, serving, now=lambda: 100.0)

    assert pushed.version == 100
    assert contents(pushed.path) == contents(model)
    assert not list(serving.glob(f"{versions.STAGING_PREFIX}*"))


def _push_at_100(model: Path, serving: Path, extra: Path) -> int:
    additions = {f"assets.extra/{extra.name}": extra}
    return versions.publish(model, serving, now=lambda: 100.0, additions=additions).version


def _incomplete(serving: Path) -> list[str]:
    """What a server that looks now would find wrong with the versions."""
    return list(filter(None, map(_defect, versions.numbered(serving).values())))


def _defect(version: Path) -> str:
    missing = "" if (version / MANIFEST).is_file() else "no manifest"
    return missing or defect(version, contents=True)


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
            extras = [tmp_path / f"extra{n}" for n in range(12)]
            for extra in extras:
                extra.touch()
            jobs = [pool.submit(_push_at_100, model, serving, extra) for extra in extras]
            pushed = sorted(job.result() for job in jobs)
    finally:
        done.set()
        watcher.join()

    assert pushed == list(range(100, 112))
    assert seen == []
    for version in pushed:
        found = contents(serving / str(version))
        assert {name: found.pop(name) for name in contents(model)} == contents(model)
        assert len(found) == 1


def test_version_made_by_someone_without_the_lock_is_stepped_over(model, tmp_path, monkeypatch):
    serving = tmp_path / "s"
    (serving / "100").mkdir(parents=True)
    (serving / "100" / "saved_model.pb").write_bytes(b"theirs")
    listed = iter([[], [100]])
    monkeypatch.setattr(versions, "list_versions", lambda _: next(listed))

    pushed = versions.publish(model, serving, now=lambda: 100.0)

    assert pushed.version == 101
    assert (serving / "100" / "saved_model.pb").read_bytes() == b"theirs"


def test_files_beside_the_model_are_in_the_version_from_the_start(model, tmp_path):
    card = tmp_path / "card.md"
    card.write_text("a card")

    pushed = versions.publish(model, tmp_path / "s", additions={"assets.extra/card.md": card})

    assert contents(pushed.path) == {**contents(model), "assets.extra/card.md": b"a card"}


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
    assert list(versions.numbered(serving, ".rolled-back-")) == [200, 300]
    assert contents(serving / ".rolled-back-300") == contents(model)


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


@pytest.mark.parametrize("change", [versions.rollback, lambda folder: versions.prune(folder, 1)])
def test_rollback_and_prune_wait_for_a_push(model, tmp_path, monkeypatch, change):
    monkeypatch.setattr(versions, "LOCK_SECONDS", 0.1)
    versions_at(tmp_path / "s", model, 100, 200)
    with (
        FileLock(tmp_path / "s" / versions.LOCK_FILE),
        pytest.raises(UserError, match=r"another push has held \.push\.lock"),
    ):
        change(tmp_path / "s")
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


# What can be wrong with a version, and how it is said.
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: shutil.rmtree(path) or path.mkdir(), "no saved_model.pb"),
    "no graph": (lambda path: (path / "saved_model.pb").unlink(), "no saved_model.pb"),
    "no variables": (lambda path: (path / DATA).unlink(), f"no {DATA}"),
    "cut": (lambda path: os.truncate(path / DATA, 9), f"{DATA} has 9 bytes of 300000"),
    "changed": (
        lambda path: (path / DATA).write_bytes(b"W" * 300_000),
        f"{DATA} was changed after the push",
    ),
    "half manifest": (lambda path: os.truncate(path / MANIFEST, 50), f"{MANIFEST} is damaged"),
}


def damaged(kind: str, path: Path) -> str:
    """Damages a version; returns what is said of it."""
    damage, words = DAMAGE[kind]
    damage(path)
    return f"version {path.name} is damaged ({words})"


def files_of(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {versions.LOCK_FILE}


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("kind", DAMAGE)
def test_prune_keeps_the_last_that_can_be_loaded_whatever_is_newer(model, tmp_path, kind, dry_run):
    serving = tmp_path / "s"
    versions_at(serving, model, 100, 200, 300)
    words = damaged(kind, serving / "300")
    said: list[str] = []

    going = versions.prune(serving, 1, dry_run=dry_run, say=said.append)

    assert going == [serving / "100"]
    assert said == [f"{words}; it does not count, and stays"]
    assert files_of(serving) == ({"100", "200", "300"} if dry_run else {"200", "300"})
    assert versions.prune(serving, 1) == ([serving / "100"] if dry_run else [])


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize(
    ("broken", "after"),
    [
        # Below the served one, between it and the one that is served then.
        ([200], 100),
        ([300], 200),
        # The highest: it alone goes.
        ([400], 300),
        ([300, 400], 200),
        ([200, 300], 100),
    ],
)
def test_rollback_never_goes_to_a_version_that_cannot_be_loaded(
    model, tmp_path, kind, broken, after
):
    serving = tmp_path / "s"
    present = [100, 200, 300, 400]
    versions_at(serving, model, *present)
    words = [damaged(kind, serving / str(number)) for number in broken]
    if broken == [200]:
        versions.rollback(serving)
        present.remove(400)
    said: list[str] = []

    assert versions.rollback(serving, say=said.append) == (after, serving / str(after))

    assert [line for line in said if line.startswith("version")] == [
        line if number == present[-1] else f"{line}; it is rolled back, too"
        for number, line in sorted(zip(broken, words, strict=True), reverse=True)
    ]
    assert versions.list_versions(serving) == [one for one in present if one <= after]


@pytest.mark.parametrize("kind", DAMAGE)
def test_rollback_and_prune_leave_all_where_nothing_else_can_be_loaded(model, tmp_path, kind):
    serving = tmp_path / "s"
    versions_at(serving, model, 100, 200, 300)
    words = [damaged(kind, serving / number) for number in ("200", "100")]

    with pytest.raises(UserError) as refused:
        versions.rollback(serving)

    assert str(refused.value) == (
        f"{serving}: only version 300 counts; {words[0]}; {words[1]}; there is none to go back to"
    )
    assert versions.prune(serving, 1) == []
    assert files_of(serving) == {"100", "200", "300"}


def without_manifest(path: Path) -> None:
    (path / MANIFEST).unlink()


def with_a_card(path: Path) -> None:
    (path / "assets.extra" / "model_card.md").write_text("another card")


@pytest.mark.parametrize("change", [Path.exists, without_manifest, with_a_card])
def test_copies_of_one_model_are_rolled_back_together(model, tmp_path, change):
    serving = tmp_path / "s"
    versions_at(serving, model, 100, 200)
    for copy in ("201", "202"):
        shutil.copytree(serving / "200", serving / copy)
        change(serving / copy)
    said: list[str] = []

    assert versions.rollback(serving, say=said.append).version == 100

    assert said == [
        "version 201 is the same model as version 202; it is rolled back, too",
        "version 200 is the same model as version 202; it is rolled back, too",
    ]
    assert versions.list_versions(serving) == [100]
    assert list(versions.numbered(serving, ".rolled-back-")) == [200, 201, 202]


def test_the_same_model_further_down_stays(model, tmp_path):
    serving = tmp_path / "s"
    versions_at(serving, model, 100, 200)
    shutil.copytree(serving / "100", serving / "300")

    assert versions.rollback(serving).version == 200
    assert versions.rollback(serving).version == 100


def test_version_has_a_manifest_of_its_files(model, tmp_path):
    card = tmp_path / "card.md"
    card.write_text("a card")

    path = versions.publish(model, tmp_path / "s", additions={"assets.extra/card.md": card}).path

    files = json.loads((path / MANIFEST).read_text())["files"]
    assert files == {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents(path).items()
    }
    listing = "".join(f"{files[name]['sha256']}  {name}\n" for name in sorted(files))
    assert Manifest.of(path).digest == hashlib.sha256(listing.encode()).hexdigest()


@pytest.mark.parametrize("name", ["assets/vocabulary", "saved_model.pb", DATA, "fingerprint.pb"])
def test_model_that_is_not_the_blessed_one_is_not_pushed(model, tmp_path, name):
    serving = tmp_path / "s"
    digest = Manifest.of(model).digest
    assert versions.publish(model, serving, now=lambda: 100.0, digest=digest).version == 100
    content = bytearray((model / name).read_bytes())
    content[-1] ^= 1
    (model / name).write_bytes(content)

    with pytest.raises(UserError, match="was changed after it was blessed; remove the folder"):
        versions.publish(model, serving, digest=digest)
    assert files_of(serving) == {"100"}


KILLED_AFTER_RENAME = """
import os, signal, sys
from pathlib import Path
from components.pushing import versions

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

versions.sync = lambda path: die() if path == Path(sys.argv[2]) else None
versions.publish(Path(sys.argv[1]), Path(sys.argv[2]), now=lambda: 100.0)
"""


def test_version_whose_push_was_killed_after_the_rename_is_adopted(model, tmp_path, repository):
    serving = tmp_path / "s"
    versions_at(serving, model, 50)
    (model / "assets" / "vocabulary").write_text("another")
    command = [sys.executable, "-c", KILLED_AFTER_RENAME, str(model), str(serving)]
    killed = subprocess.run(command, cwd=repository, check=False)

    assert killed.returncode == -signal.SIGKILL
    assert versions.list_versions(serving) == [50, 100]
    assert versions.publish(model, serving, now=lambda: 200.0) == (100, serving / "100")
    assert files_of(serving) == {"50", "100"}


@pytest.mark.parametrize("kind", [*DAMAGE, "other card"])
def test_version_that_is_not_the_same_to_the_byte_is_not_adopted(model, tmp_path, kind):
    serving, card = tmp_path / "s", tmp_path / "card.md"
    card.write_text("a card")
    additions = {"assets.extra/card.md": card}
    versions.publish(model, serving, now=lambda: 100.0, additions=additions)
    if kind == "other card":
        card.write_text("another card")
    else:
        damaged(kind, serving / "100")

    assert versions.publish(model, serving, now=lambda: 100.0, additions=additions).version == 101


ONE = Owner(pipeline="one", output_dir="/runs/one")


@pytest.mark.parametrize(
    ("other", "allowed"),
    [
        (ONE, True),
        # Of the command line, which may know only the folder.
        (Owner(output_dir="/runs/one"), True),
        (Owner(pipeline="two", output_dir="/runs/one"), False),
        (Owner(pipeline="one", output_dir="/runs/two"), False),
        (Owner(output_dir="/runs/two"), False),
    ],
)
def test_folder_has_one_owner(model, tmp_path, other, allowed):
    serving = tmp_path / "s"
    for at in (100, 200, 300):
        (model / "assets" / "vocabulary").write_text(f"word{at}")
        versions.publish(model, serving, now=lambda at=at: float(at), owner=ONE)
    assert owner_of(serving) == ONE
    (model / "assets" / "vocabulary").write_text("another")
    changes = {
        "prune": lambda: versions.prune(serving, 2, owner=other),
        "rollback": lambda: versions.rollback(serving, owner=other),
        "push": lambda: versions.publish(model, serving, now=lambda: 400.0, owner=other),
        "dry prune": lambda: versions.prune(serving, 2, dry_run=True, owner=other),
    }

    for change in changes.values():
        if allowed:
            change()
            continue
        with pytest.raises(UserError) as refused:
            change()
        assert str(refused.value) == (
            f"{serving} belongs to the pipeline one with the output folder /runs/one, not to the "
            f"{other}; name a folder of its own as run.serving_dir or, to hand this one over, "
            f"remove {serving / OWNER_FILE}"
        )
    assert versions.list_versions(serving) == ([200, 400] if allowed else [100, 200, 300])
    assert owner_of(serving) == ONE


def test_folder_of_an_earlier_release_belongs_to_the_next_that_pushes(model, tmp_path):
    serving = tmp_path / "s"
    versions_at(serving, model, 100, 200, 300)
    versions.prune(serving, 2, owner=Owner(pipeline="two"))
    assert owner_of(serving) is None
    (model / "assets" / "vocabulary").write_text("another")
    versions.publish(model, serving, owner=ONE)

    with pytest.raises(UserError, match="belongs to the pipeline one"):
        versions.rollback(serving, owner=Owner(pipeline="two"))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]"])
def test_damaged_owner_is_one_line(model, tmp_path, content):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / OWNER_FILE).write_bytes(content)

    with pytest.raises(UserError, match=r"damaged, so whose folder it is"):
        versions.publish(model, tmp_path / "s", owner=ONE)
    assert files_of(tmp_path / "s") == {OWNER_FILE}


def _first_push(model: Path, serving: Path, name: str) -> str:
    try:
        versions.publish(model, serving, owner=Owner(pipeline=name, output_dir=f"/{name}"))
    except UserError as error:
        return str(error)
    return name


@pytest.mark.slow
def test_of_two_first_pushes_at_once_one_is_refused(model, tmp_path):
    with ProcessPoolExecutor(max_workers=2) as pool:
        for turn in range(20):
            serving = tmp_path / f"s{turn}"
            jobs = [pool.submit(_first_push, model, serving, name) for name in ("a", "b")]
            won, refused = sorted((job.result() for job in jobs), key=len)

            owner = owner_of(serving)
            assert owner is not None
            assert owner.pipeline == won
            assert refused.startswith(f"{serving} belongs to the pipeline {won} ")
            assert len(versions.list_versions(serving)) == 1


@pytest.mark.slow
def test_dry_prune_beside_changes_never_fails(model, tmp_path):
    serving = tmp_path / "s"
    done = threading.Event()
    failed: list[BaseException] = []

    def watch() -> None:
        while not done.is_set():
            try:
                versions.prune(serving, 1, dry_run=True)
            except BaseException as error:
                failed.append(error)
                raise

    versions_at(serving, model, 1)
    watchers = [threading.Thread(target=watch) for _ in range(2)]
    for watcher in watchers:
        watcher.start()
    try:
        for turn in range(1, 31):
            versions_at(serving, model, 10 * turn, 10 * turn + 1)
            versions.rollback(serving)
            versions.prune(serving, 1)
    finally:
        done.set()
        for watcher in watchers:
            watcher.join()
    assert failed == []


@pytest.mark.parametrize("umask", [0o077, 0o027, 0o022, 0o002])
def test_version_is_readable_for_the_servers_user_whatever_the_umask(model, tmp_path, umask):
    card = tmp_path / "card"
    before = os.umask(umask)
    try:
        for path in (model, *model.rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)
        card.write_text("a card")
        additions = {"assets.extra/card": card}
        pushed = versions.publish(model, tmp_path / "p" / "s", additions=additions, owner=ONE).path
        private = tmp_path / "private"
        private.mkdir(mode=0o700)
        versions.publish(model, private)
    finally:
        os.umask(before)

    for path in (pushed.parent, pushed, *pushed.rglob("*")):
        assert path.stat().st_mode & 0o555 == (0o555 if path.is_dir() else 0o444), path
    assert (pushed.parent / OWNER_FILE).stat().st_mode & 0o444 == 0o444
    # What others made keeps its mode.
    assert private.stat().st_mode & 0o777 == 0o700


FOLDER_COMMANDS = [
    versions.list_versions,
    versions.servable_versions,
    versions.rollback,
    lambda folder: versions.prune(folder, 1),
    lambda folder: versions.prune(folder, 1, dry_run=True),
]


@pytest.mark.parametrize("command", FOLDER_COMMANDS)
@pytest.mark.parametrize("where", ["too long", "denied"])
def test_folder_that_cannot_be_read_is_one_line(tmp_path, monkeypatch, command, where):
    if where == "denied":
        # Root may read everything, so no mode keeps these tests out.
        def denied(path: Path) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "iterdir", denied)
    folder = tmp_path / ("x" * 300) if where == "too long" else tmp_path

    with pytest.raises(UserError, match=r"File name too long|Permission denied") as refused:
        command(folder)
    assert "\n" not in str(refused.value)
