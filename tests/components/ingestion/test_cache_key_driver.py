"""The cache key of ParquetExampleGen follows the files' content and nothing else."""

import os
from pathlib import Path

import pytest
from tfx.types import standard_component_specs

from components.errors import UserError
from components.ingestion.cache_key_driver import ContentDriver, content_fingerprint
from components.ingestion.node import ParquetExampleGen

SHARES = {"train": 0.64, "eval": 0.16, "test": 0.2}


def resolved(pattern: Path) -> str:
    node = ParquetExampleGen(str(pattern), SHARES, fingerprint="f")
    properties = {
        **node.exec_properties,
        standard_component_specs.RANGE_CONFIG_KEY: None,
    }
    return ContentDriver(None).resolve_exec_properties(properties, None, None)["input_fingerprint"]


def test_an_edit_with_the_old_size_and_time_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"econ")
    before, stat = resolved(tmp_path / "*.parquet"), path.stat()
    path.write_bytes(b"stat")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_mtime_ns == stat.st_mtime_ns
    assert resolved(tmp_path / "*.parquet") != before


def test_a_touch_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"econ")
    before = resolved(path)
    os.utime(path, (1, 1))
    assert resolved(path) == before


def test_what_is_in_which_file_counts(tmp_path: Path) -> None:
    for name, content in (("a", b"xy"), ("b", b"z")):
        (tmp_path / name).write_bytes(content)
    before = content_fingerprint(str(tmp_path / "*"))
    for name, content in (("a", b"x"), ("b", b"yz")):
        (tmp_path / name).write_bytes(content)
    assert content_fingerprint(str(tmp_path / "*")) != before


def test_a_folder_and_globs_across_folders_have_the_key_of_their_files(tmp_path: Path) -> None:
    deep = tmp_path / "papers" / "year=2024" / "part-0.parquet"
    deep.parent.mkdir(parents=True)
    deep.write_bytes(b"one")
    for name in ("_SUCCESS", ".x.tmp.parquet", "year=2024/_part-1.parquet"):
        (tmp_path / "papers" / name).write_bytes(b"no data")
    (tmp_path / "papers" / ".y.parquet").symlink_to("nowhere")
    key = resolved(tmp_path / "papers" / "**" / "*.parquet")
    assert resolved(tmp_path / "papers") == key == content_fingerprint(str(deep))
    (tmp_path / "papers" / ".x.tmp.parquet").unlink()
    assert resolved(tmp_path / "papers") == key
    deep.write_bytes(b"two")
    assert resolved(tmp_path / "papers") != key


def test_a_pipe_is_refused_and_a_name_that_is_not_utf8_is_hashed(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.parquet")).write_bytes(b"x")
    assert len(resolved(tmp_path)) == 64
    os.mkfifo(tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"b\.parquet: is a named pipe"):
        resolved(tmp_path / "*.parquet")
