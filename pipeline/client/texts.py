"""Texts on their way into requests: encoded, checked, and grouped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from pipeline.client.errors import TextTooLongError

# A batch is sent once it has this many bytes: half of gRPC's default message size.
MAX_BATCH_BYTES = 2 * 1024 * 1024

Item = TypeVar("Item")


def encode(text: str | bytes, where: str, limit: int) -> bytes:
    """Returns a text's bytes; what no UTF-8 can express becomes the bytes it was read from.

    Args:
        text: bytes are returned as they are.
        where: what the error message calls the text.
        limit: most bytes that a text may have.

    Raises:
        TextTooLongError: the text has more.
    """
    if isinstance(text, bytes):
        encoded = text
    else:
        try:
            # Arguments and file names that are not UTF-8 reach Python as lone surrogates.
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
    """Groups items as they come into lists of at most ``size`` items and ``MAX_BATCH_BYTES``.

    Where the items end in an error, what came before it is yielded first.

    Args:
        items: any number.
        size: longest list.
        length: bytes of an item; one that exceeds the limit gets a list of its own.
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
