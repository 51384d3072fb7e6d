"""Recognizes what a data file holds, by its first bytes and its name."""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import Literal

from components.errors import UserError

Format = Literal["parquet", "jsonl", "json", "csv", "lines"]

HEAD = 4096
"""Number of first bytes to look at."""
GZIP, ZIP, XZ = b"\x1f\x8b", b"PK\x03\x04", b"\xfd7zXZ\0"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NAMES = re.compile(
    r"\.(parquet|parq|pq|jsonl|ndjson|json|csv|tsv|txt)(\.(gz|gzip|xz|zip|snappy|zstd))?$|"
    r"^(part-[^.]*|\d+_\d+)$",
    re.IGNORECASE,
)
"""Names of the files to take from a folder of unknown format."""

# With a byte that follows in every file: a text may begin with "PAR1 receptors".
_PARQUET = b"PAR1\x15"
_BY_SUFFIX: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".parq": "parquet",
    ".pq": "parquet",
}
_OTHERS = {
    _PARQUET: "parquet",
    GZIP: "gzip-compressed",
    ZIP: "a zip archive or an Office document",
    b"BZh91AY&SY": "bzip2-compressed",
    XZ: "xz-compressed",
    b"\x28\xb5\x2f\xfd": "zstd-compressed",
    b"Obj\x01": "an Avro file",
    b"ARROW1\0": "an Arrow file",
    b"%PDF-": "a PDF document",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}
_ADVICE = "give UTF-8 text, JSON lines, a JSON array or CSV (plain, .gz, .xz or .zip), or parquet"


def recognize(head: bytes, name: str) -> Format:
    """Returns the format of a file.

    Args:
        head: its first ``HEAD`` bytes, unpacked.
        name: its name. JSON and parquet are recognized under any name; CSV by its suffix alone.

    Raises:
        UserError: it holds something else (see `check_text`), or text that is not UTF-8.
    """
    if head.startswith(_PARQUET):
        return "parquet"
    path = Path(name.lower())
    suffix = path.with_suffix("").suffix if path.suffix in (".gz", ".gzip", ".xz") else path.suffix
    if _BY_SUFFIX.get(suffix) == "parquet":
        return "parquet"
    check_text(head, name)
    text = head.removeprefix(BYTE_ORDER_MARK).lstrip()
    if _BY_SUFFIX.get(suffix) == "csv":
        return "csv"
    if re.match(rb'\[\s*(["{\]]|$)', text):
        return "json"
    if _BY_SUFFIX.get(suffix) == "jsonl" or re.match(rb'\{\s*"', text):
        return "jsonl"
    if suffix == ".json":
        raise UserError(f"{name}: is neither a JSON array nor JSON lines; {_ADVICE}")
    try:
        # A character may be cut at the end of the head.
        codecs.getincrementaldecoder("utf-8")().decode(head, final=len(head) < HEAD)
    except UnicodeDecodeError as error:
        where = f"{error.reason}, byte {error.start}"
        raise UserError(f"{name}: is not UTF-8 ({where}); {_ADVICE}") from None
    return "lines"


def check_text(head: bytes, name: str) -> None:
    """Checks by the first bytes of a file that it may be text.

    Raises:
        UserError: it begins as another kind of file does, or holds a NUL.
    """
    if kind := binary_kind(head):
        raise UserError(f"{name}: is {kind}; {_ADVICE}")
    if b"\0" in head:
        raise UserError(f"{name}: holds binary data; {_ADVICE}")


def binary_kind(head: bytes) -> str:
    """Returns what a file is that begins as no UTF-8 text does; "" if it may be text."""
    return next((kind for magic, kind in _OTHERS.items() if head.startswith(magic)), "")
