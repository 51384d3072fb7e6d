"""Imports pyarrow without running code from data files, and opens parquet files.

pyarrow before 14.0.1 unpickles extension types in a file's schema, even those of columns that are
not read (CVE-2023-47248). TFX pins pyarrow 10.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

# Unregisters the unpickling type for all other readers of Arrow data in this process.
import pyarrow_hotfix  # noqa: F401

from components.errors import UserError

__all__ = ["UnreadableFileError", "is_text", "open_parquet", "pa", "pc", "pq"]

_PICKLED_TYPE = "arrow.py_extension_type"


class UnreadableFileError(UserError):
    """A parquet file that is missing, damaged, not parquet, or would run code."""


class _RefusedType(pa.ExtensionType):
    """Refuses a schema with a pickled type without reading the pickle.

    The hotfix's own type disassembles the pickle into its message, and fails on a broken one.
    """

    def __init__(self) -> None:
        super().__init__(pa.null(), _PICKLED_TYPE)

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> None:
        raise pa.ArrowInvalid(
            "its schema holds a pickled Python type, which could run code; "
            "write the file anew with plain column types"
        )


pa.unregister_extension_type(_PICKLED_TYPE)
pa.register_extension_type(_RefusedType())


@contextlib.contextmanager
def open_parquet(source: str | IO[bytes], name: str = "", **options: Any) -> Iterator[Any]:
    """Opens a parquet file and closes it at the end.

    Args:
        source: path, or an open file, which stays open.
        name: the file's name in messages; the path by default.
        **options: passed to ``pyarrow.parquet.ParquetFile``.

    Yields:
        A ``pyarrow.parquet.ParquetFile``, its schema decoded.

    Raises:
        UnreadableFileError: the file is missing, unreadable, damaged or not parquet, or its schema
            would run code. Also raised for damage found inside the ``with`` block.
    """
    name = name or str(source)
    try:
        # ParquetFile does not close a file that it was given.
        file = pq.ParquetFile(source, **options)
    # Registered extension types parse metadata from the file and can raise anything.
    except Exception as error:
        raise UnreadableFileError(
            f"{name}: cannot be read as parquet ({_reason(error)})"
        ) from error
    with file:
        try:
            yield file
        except (pa.ArrowException, OSError) as error:
            # An errno comes from the operating system and may concern another file.
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise UnreadableFileError(
                f"{name}: cannot be read as parquet ({_reason(error)})"
            ) from error


def is_text(kind: pa.DataType) -> bool:
    """Returns whether a column holds strings or bytes, plain or dictionary-encoded."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())


def _reason(error: Exception) -> str:
    """Returns the operating system's message for the error, or its first line."""
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")
