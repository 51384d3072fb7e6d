"""Tells from a SavedModel's files, without TensorFlow, whether a server could load it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError

from components.contracts.artifact_files import MANIFEST
from components.contracts.manifest import Manifest

SAVED_MODEL = "saved_model.pb"
_INDEX = "variables/variables.index"
# saved_model.proto: SavedModel.meta_graphs.
_META_GRAPHS = 2
# tensor_bundle.proto: BundleHeaderProto.num_shards; BundleEntryProto.shard_id, offset and size.
_NUM_SHARDS = 1
_SHARD_ID, _OFFSET, _SIZE = 3, 4, 5
# Of a table in LevelDB's format, little-endian, at its end.
_MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
_FOOTER_BYTES = 48


def defect(folder: Path, *, contents: bool) -> str:
    """Returns why a SavedModel cannot be loaded, or is not as it was pushed; empty if it is whole.

    Checks that the graph is there, that the variables are as long as their index says, and the
    manifest, if there is one.

    Args:
        folder: the SavedModel's.
        contents: also reads every file that the manifest lists, and compares digests.
    """
    try:
        found = _graph_defect(folder / SAVED_MODEL) or _variables_defect(folder / _INDEX)
        if found:
            return found
        try:
            manifest = Manifest.of_version(folder)
        except ValueError:
            return f"{MANIFEST} is damaged"
        return manifest.difference(folder, contents=contents) if manifest else ""
    except OSError as error:
        return f"{Path(error.filename or folder).name} cannot be read: {error.strerror}"


def _graph_defect(path: Path) -> str:
    if not path.is_file():
        return f"no {SAVED_MODEL}"
    try:
        fields = _fields(path.read_bytes())
    except DecodeError:
        return f"{SAVED_MODEL} is cut off or damaged"
    return "" if _META_GRAPHS in fields else f"{SAVED_MODEL} holds no graph"


def _variables_defect(index: Path) -> str:
    if not index.is_file():
        return f"no {_INDEX}"
    try:
        shards, needed = _shards(index.read_bytes())
    except (DecodeError, LookupError, TypeError, ValueError):
        return f"{_INDEX} is cut off or damaged"
    for shard in range(shards):
        data = index.with_name(f"variables.data-{shard:05d}-of-{shards:05d}")
        if not data.is_file():
            return f"no variables/{data.name}"
        size = data.stat().st_size
        if size < needed.get(shard, 0):
            return f"variables/{data.name} has {size} bytes of {needed[shard]}"
    return ""


def _shards(index: bytes) -> tuple[int, dict[int, int]]:
    """Returns the number of a checkpoint's data files, and {file's number: its least size}."""
    if index[-len(_MAGIC) :] != _MAGIC:
        raise ValueError("not a table")
    footer = len(index) - _FOOTER_BYTES
    # The handles, offset and size, of two blocks: metadata, and the index of the data blocks.
    at = _varint(index, _varint(index, footer)[1])[1]
    shards = 0
    needed: dict[int, int] = {}
    for _, handle in _block(index, index, at):
        for key, value in _block(index, handle, 0):
            fields = _fields(value)
            if not key:
                shards = fields[_NUM_SHARDS]
                continue
            shard = fields.get(_SHARD_ID, 0)
            end = fields.get(_OFFSET, 0) + fields.get(_SIZE, 0)
            needed[shard] = max(needed.get(shard, 0), end)
    return shards, needed


def _block(table: bytes, handle: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    """Yields the keys and values of a table's block; its handle is at a position of ``handle``."""
    offset, at = _varint(handle, at)
    size, _ = _varint(handle, at)
    block = table[offset : offset + size]
    if len(block) < size:
        raise ValueError("cut off")
    # The restart points, 32 bits each, and their number.
    end = size - 4 - 4 * int.from_bytes(block[-4:], "little")
    key, at = b"", 0
    while at < end:
        # A key has a prefix in common with the one before it.
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + own]
        at += own + length
        yield key, block[at - length : at]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Returns the number at a position, and the position after it."""
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        if data[at] < 0x80:
            return value, at + 1
        at, shift = at + 1, shift + 7


def _fields(message: bytes) -> dict[int, Any]:
    """Returns {field's number: its last value} of a protocol buffer whose type is not known."""
    return {one.field_number: one.data for one in Empty.FromString(message).UnknownFields()}
