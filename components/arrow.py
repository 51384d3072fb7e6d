"""Imports pyarrow without running code from data files, and opens parquet files.

pyarrow before 14.0.1 unpickles extension types in a file's schema, even those of columns that are
not read (CVE-2023-47248). TFX pins pyarrow 10.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

# Unregisters the unpickling type for all other readers of Arrow data in this process.
import pyarrow_hotfix  # noqa: F401

from components.errors import UserError

__all__ = ["UnreadableFileError", "is_text", "open_parquet", "pa", "pc", "pq"]

_PICKLED_TYPE = "arrow.py_extension_type"
# How pyarrow 10 refuses encodings and types that are newer, such as string views and float16.
_TOO_NEW = re.compile(
    r"not yet implemented|not implemented|unsupported|unknown encoding|unrecognized type|"
    r"not recognized|only supports",
    re.IGNORECASE,
)
_PLAIN = "write the file anew with plain column types, in plain or dictionary encoding"


class UnreadableFileError(UserError):
    """A parquet file that is missing, damaged, not parquet, or would run code."""


class _RefusedType(pa.ExtensionType):
    """Refuses a schema with a pickled type without reading the pickle.

    The hotfix's own type disassembles the pickle into its message, and fails on a broken one.
    """

    REASON = "its schema holds a pickled Python type, which could run code"

    def __init__(self) -> None:
        super().__init__(pa.null(), _PICKLED_TYPE)

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> None:
        raise pa.ArrowInvalid(cls.REASON)


pa.unregister_extension_type(_PICKLED_TYPE)
pa.register_extension_type(_RefusedType())


class _NamingFile(pq.ParquetFile):  # type: ignore[misc]
    """Names the column that cannot be decoded."""

    def iter_batches(
        self,
        batch_size: int = 65536,
        row_groups: Sequence[int] | None = None,
        columns: Sequence[str] | None = None,
        use_threads: bool = True,
    ) -> Iterator[pa.RecordBatch]:
        groups = range(self.num_row_groups) if row_groups is None else row_groups
        try:
            yield from super().iter_batches(
                batch_size, row_groups=groups, columns=columns, use_threads=use_threads
            )
        except (pa.ArrowException, OSError) as error:
            for group in groups:
                for column in columns or self.schema_arrow.names:
                    try:
                        self.read_row_group(group, columns=[column])
                    except (pa.ArrowException, OSError) as found:
                        place = f"column {column!r}, row group {group}: "
                        raise type(error)(place + _reason(found)) from found
            raise


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
        UnreadableFileError: the file is missing, unreadable, damaged or not parquet, has something
            that this pyarrow cannot decode, or its schema would run code. Also raised for what is
            found inside the ``with`` block.
    """
    name = name or str(source)
    with contextlib.ExitStack() as opened:
        try:
            if isinstance(source, str) and not source.isascii():
                # pyarrow takes only names that are UTF-8.
                source = opened.enter_context(Path(source).open("rb"))
            # ParquetFile does not close a file that it was given.
            file = _NamingFile(source, **options)
        # Registered extension types parse metadata from the file and can raise anything.
        except Exception as error:
            raise _unreadable(name, error) from error
        with file:
            try:
                yield file
            except (pa.ArrowException, OSError) as error:
                # An errno comes from the operating system and may concern another file.
                if isinstance(error, OSError) and error.errno is not None:
                    raise
                raise _unreadable(name, error) from error


def _unreadable(name: str, error: Exception) -> UnreadableFileError:
    if isinstance(error, OSError) and error.errno is not None:
        return UnreadableFileError(f"{name}: cannot be read as parquet ({_reason(error)})")
    reason = _reason(error)
    advice = "copy or write the file anew"
    if _TOO_NEW.search(reason):
        reason += f"; pyarrow {pa.__version__} lacks it"
        advice = _PLAIN
    elif reason == _RefusedType.REASON:
        advice = _PLAIN
    return UnreadableFileError(f"{name}: cannot be read as parquet ({reason}); {advice}")


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
