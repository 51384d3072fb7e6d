"""The cache key of ParquetExampleGen follows the files' content and nothing else."""

import os
from pathlib import Path

from tfx.types import standard_component_specs

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
