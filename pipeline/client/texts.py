"""Encodes, checks and batches texts for requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from pipeline.client.errors import TextTooLongError

# Half of gRPC's default maximum message size.
MAX_BATCH_BYTES = 2 * 1024 * 1024

Item = TypeVar("Item")


def encode(text: str | bytes, where: str, limit: int) -> bytes:
    """Returns a text's bytes; surrogate escapes become the bytes that they were read from.

    Raises:
        TextTooLongError: the text, which ``where`` names, has more than ``limit`` bytes.
    """
    if isinstance(text, bytes):
        encoded = text
    else:
        try:
            # Python decodes arguments that are not UTF-8 to lone surrogates.
            encoded = text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) > limit:
        raise TextTooLongError(
            f"{where}: the text has {len(encoded):,} bytes, more than the limit of {limit:,}; "
            "shorten it or raise the limit"
        )
    return encoded


def batches(
    items: Iterable[Item], size: int, length: Callable[[Item], int]
) -> Iterator[list[Item]]:
    """Groups items into lists of at most ``size`` items and ``MAX_BATCH_BYTES``.

    If ``items`` raises, the items before the error are yielded first.

    ``length`` returns an item's bytes; an item over the limit gets a list of its own.
    """
    batch: list[Item] = []
    total = 0
    try:
        for item in items:
            if batch and total + length(item) > MAX_BATCH_BYTES:
                yield batch
                batch, total = [], 0
            batch.append(item)
            total += length(item)
            if len(batch) == size:
                yield batch
                batch, total = [], 0
    except Exception:
        if batch:
            yield batch
        raise
    if batch:
        yield batch
