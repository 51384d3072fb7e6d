"""What is wrong with a SavedModel's files is told in words, without loading it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf

from components.contracts.artifact_files import MANIFEST
from components.contracts.manifest import Manifest
from components.scoring.saved_model import defect

INDEX = "variables/variables.index"
CHANGED = "was changed after the push"
DATA = "variables/variables.data-00000-of-00001"


def cut(name: str, size: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def write(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize("manifest", [False, True])
@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (shutil.rmtree, "no saved_model.pb"),
        (remove("saved_model.pb"), "no saved_model.pb"),
        (cut("saved_model.pb", 5), "saved_model.pb is cut off or damaged"),
        (write("saved_model.pb", b"graph" * 100), "saved_model.pb is cut off or damaged"),
        (cut("saved_model.pb", 2), "saved_model.pb holds no graph"),
        (cut("saved_model.pb", 0), "saved_model.pb holds no graph"),
        (remove(INDEX), f"no {INDEX}"),
        (cut(INDEX, 0), f"{INDEX} is cut off or damaged"),
        (cut(INDEX, 60), f"{INDEX} is cut off or damaged"),
        (lambda folder: cut(INDEX, -20)(folder), f"{INDEX} is cut off or damaged"),
        (remove(DATA), f"no {DATA}"),
        (cut(DATA, 150_000), f"{DATA} has 150000 bytes of 300000"),
        (cut(DATA, 299_999), f"{DATA} has 299999 bytes of 300000"),
    ],
)
def test_version_that_cannot_be_loaded_is_told_without_reading_it_all(
    saved_model, tmp_path, damage, expected, manifest
):
    folder = saved_model(tmp_path / "7")
    if manifest:
        Manifest.of(folder).write(folder / MANIFEST)
    assert defect(folder, contents=True) == ""
    damage(folder)

    assert defect(folder, contents=False) == expected


@pytest.mark.parametrize(
    ("damage", "sizes", "digests"),
    [
        (write("assets/vocabulary", b"teh\nof\n"), "", f"assets/vocabulary {CHANGED}"),
        (write(DATA, b"w" * 299_999 + b"x"), "", f"{DATA} {CHANGED}"),
        (write(DATA, b"w" * 300_001), f"{DATA} has 300001 bytes, not 300000", None),
        (remove("assets/vocabulary"), "assets/vocabulary is missing", None),
        (cut("assets/vocabulary", 3), "assets/vocabulary has 3 bytes, not 7", None),
        (cut(MANIFEST, 100), f"{MANIFEST} is damaged", None),
        (write(MANIFEST, b"{}"), f"{MANIFEST} is damaged", None),
        (write(MANIFEST, b"\xff"), f"{MANIFEST} is damaged", None),
        # What no graph reads.
        (write("assets.extra/note", b"hello"), "", ""),
        (write(".nfs0001", b""), "", ""),
    ],
)  # fmt: skip
def test_version_is_compared_with_its_manifest(saved_model, tmp_path, damage, sizes, digests):
    folder = saved_model(tmp_path / "7")
    Manifest.of(folder).write(folder / MANIFEST)
    damage(folder)

    assert defect(folder, contents=False) == sizes
    assert defect(folder, contents=True) == (sizes if digests is None else digests)


def test_file_that_cannot_be_read_is_named(saved_model, tmp_path, monkeypatch):
    folder = saved_model(tmp_path / "7")

    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", denied)
    assert defect(folder, contents=False) == "saved_model.pb cannot be read: Permission denied"
    assert "File name too long" in defect(Path("/" + "x" * 300), contents=False)


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_index_is_read_as_tensorflow_writes_it(tmp_path, lost):
    """Hundreds of variables fill several blocks, and two shards have sizes of their own."""
    random = tf.random.Generator.from_seed(7)
    module = tf.Module()
    module.all = [tf.Variable(random.normal([n % 7 + 1, 5])) for n in range(400)]
    tf.saved_model.save(module, str(tmp_path / "1"))
    (data,) = (tmp_path / "1" / "variables").glob("variables.data-*")
    assert defect(tmp_path / "1", contents=False) == ""
    half = tmp_path / "half"
    other = tmp_path / "other"
    for number, folder in enumerate((half, other)):
        tf.raw_ops.SaveV2(
            prefix=str(folder),
            tensor_names=[f"{folder.name}/{n}" for n in range(300)],
            shape_and_slices=[""] * 300,
            tensors=[tf.zeros([n + number + 1]) for n in range(300)],
        )
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(half), str(other)],
        destination_prefix=str(tmp_path / "1" / "variables" / "variables"),
    )
    data.unlink()
    assert defect(tmp_path / "1", contents=False) == ""
    shard = tmp_path / "1" / "variables" / f"variables.data-0000{lost}-of-00002"
    size = sum(4 * (n + lost + 1) for n in range(300))
    assert shard.stat().st_size == size
    cut(str(shard), size - 1)(Path("/"))

    expected = f"variables/{shard.name} has {size - 1} bytes of {size}"
    assert defect(tmp_path / "1", contents=False) == expected
