"""Which files a path, a folder or a glob names."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest

from components import input_files
from components.errors import UserError
from components.input_files import find_files, partition_values

TREE = (
    "a.parquet",
    "b.PQ",
    "c.parquet.gzip",
    "part-00000",
    "000001_0",
    "README.md",
    "LICENSE",
    "x.parquet.tmp",
    ".d.parquet",
    ".d.tmp.parquet",
    "_e.parquet",
    "_SUCCESS",
    "_temporary/0/f.parquet",
    ".cache/g.parquet",
    "2023/h.parquet",
    "2023/01/i.parquet",
    "year=2024/j.parquet",
    "_year=2025/k.parquet",
    "spark.parquet/part-00000-5f.c000.snappy.parquet",
    "spark.parquet/.part-00000-5f.c000.snappy.parquet.crc",
    "spark.parquet/_SUCCESS",
    "[l].parquet",
)
SPARK = "spark.parquet/part-00000-5f.c000.snappy.parquet"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name in TREE:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def found(tree: Path, pattern: str) -> list[str]:
    return [str(Path(path).relative_to(tree)) for path in find_files(f"{tree}/{pattern}")]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.parquet", ["a.parquet"]),
        ("README.md", ["README.md"]),
        ("_e.parquet", ["_e.parquet"]),
        ("[l].parquet", ["[l].parquet"]),
        ("*.parquet", ["[l].parquet", "a.parquet", SPARK]),
        ("?.PQ", ["b.PQ"]),
        (".*.parquet", [".d.parquet", ".d.tmp.parquet"]),
        ("_*.parquet", ["_e.parquet"]),
        ("year=*", ["year=2024/j.parquet"]),
        ("*/*.parquet", ["2023/h.parquet", "_year=2025/k.parquet", SPARK, "year=2024/j.parquet"]),
        (
            "**/*.parquet",
            [
                *("2023/01/i.parquet", "2023/h.parquet", "[l].parquet"),
                *("_year=2025/k.parquet", "a.parquet", SPARK, "year=2024/j.parquet"),
            ],
        ),
        ("2023/**", ["2023/01/i.parquet", "2023/h.parquet"]),
        ("spark.parquet", [SPARK]),
        ("spark.parquet/", [SPARK]),
        (
            "",
            [
                *("000001_0", "2023/01/i.parquet", "2023/h.parquet", "[l].parquet"),
                *("_year=2025/k.parquet", "a.parquet", "b.PQ", "c.parquet.gzip", "part-00000"),
                *(SPARK, "year=2024/j.parquet"),
            ],
        ),
    ],
)
def test_patterns_name_files(tree: Path, pattern: str, expected: list[str]) -> None:
    assert found(tree, pattern) == expected


def test_relative_patterns(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    assert find_files("2023/*.parquet") == ["2023/h.parquet"]
    assert find_files("**/h.parquet") == ["2023/h.parquet"]
    assert find_files("2023") == ["2023/01/i.parquet", "2023/h.parquet"]


def test_links_are_followed_and_loops_of_folders_end(tree: Path) -> None:
    (tree / "2023" / "up").symlink_to(tree / "2023")
    (tree / "2023" / "link.parquet").symlink_to(tree / "a.parquet")
    expected = ["2023/01/i.parquet", "2023/h.parquet", "2023/link.parquet"]
    assert found(tree, "2023") == expected
    assert found(tree, "2023/**/*.parquet") == expected


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


REFUSED = {
    "fifo": (_fifo, "is a named pipe; name a regular file"),
    "socket": (_socket, "is a socket; name a regular file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is a device; name a regular file"),
    "dangling": (
        lambda path: path.symlink_to("gone.parquet"),
        "is a link to gone.parquet, which leads to nothing; mend or remove it",
    ),
    "loop": (
        lambda path: path.symlink_to(path.name),
        "is a link to z.parquet, which leads to itself; mend or remove it",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("pattern", ["z.parquet", "*.parquet", "**/z*", "."])
def test_what_is_no_file_is_named_and_not_opened(
    pattern: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, reason = REFUSED[kind]
    make(Path("z.parquet"))
    with pytest.raises(UserError) as refused:
        find_files(pattern)
    assert str(refused.value) == f"z.parquet: {reason}"


def test_hidden_pipes_and_links_are_no_concern(tree: Path) -> None:
    os.mkfifo(tree / "2023" / ".h.parquet")
    (tree / "2023" / "_h.parquet").symlink_to("gone")
    assert found(tree, "2023/*.parquet") == ["2023/h.parquet"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("", "'': no such file; name a file, a folder, or a glob in quotes"),
        ("gone.parquet", "'gone.parquet': no such file; "),
        ("tree/a.parquet/b", "no such file; "),
        ("tree/*.csv", "tree/*.csv: no file matches; "),
        ("gone/*.parquet", "gone/*.parquet: no file matches; "),
        ("empty", "empty: no file matches; "),
        ("x" * 300, ": cannot be read (File name too long)"),
        ("x/" * 3000, "/x/x/x/: cannot be read (File name too long)"),
        ("[x]/" + "y" * 300, "no file matches"),
    ],
)
def test_nothing_found_is_one_line(
    pattern: str, message: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree.parent)
    (tree.parent / "empty").mkdir()
    with pytest.raises(UserError) as refused:
        find_files(pattern)
    assert message in str(refused.value)
    assert len(str(refused.value)) < 400


def test_permissions_are_named(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(input_files.os, "access", lambda *_: False)
        with pytest.raises(UserError, match=r"a\.parquet: cannot be read \(Permission denied\)$"):
            find_files(f"{tree}/a.parquet")

    def denied(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", denied)
    for pattern in ("2023", "2023/*.parquet", "2023/**/*.parquet"):
        with pytest.raises(UserError, match=r"2023: cannot be read \(Permission denied\)$"):
            find_files(f"{tree}/{pattern}")


def test_names_that_are_not_utf8_are_found_and_shown_safely(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.parquet"
    with open(name, "wb"):  # noqa: PTH123  (Path takes no bytes)
        pass
    assert list(map(os.fsencode, find_files(str(tmp_path)))) == [name]
    os.remove(name)  # noqa: PTH107
    os.mkfifo(name)
    with pytest.raises(UserError, match=re.escape("caf?.parquet: is a named pipe")):
        find_files(f"{tmp_path}/*")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/d/x.parquet", {}),
        (
            "/d/year=2024/final_category=R%26D/x=y.parquet",
            {"year": "2024", "final_category": "R&D"},
        ),
        ("year=__HIVE_DEFAULT_PARTITION__/x", {"year": None}),
        ("a=b=c/x", {"a": "b=c"}),
    ],
)
def test_partition_values(path: str, expected: dict[str, str | None]) -> None:
    assert partition_values(path) == expected
