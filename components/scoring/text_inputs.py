"""The inputs of ``serving_default``, one for each text column. Imports nothing but Python's own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def input_names(columns: Sequence[str]) -> list[str]:
    """Returns the inputs' names of ``serving_default`` for the text columns.

    They are the columns' names where these are ASCII identifiers, which any client can type, and
    distinct to TensorFlow, which ignores case; else ``text``, numbered if there are several.
    """
    distinct = len({name.lower() for name in columns} | {"self"}) == len(columns) + 1
    if distinct and all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) for name in columns):
        return list(columns)
    return [f"text_{i + 1}" for i in range(len(columns))] if len(columns) > 1 else ["text"]


def filled(names: Iterable[str], rows: Sequence[bytes]) -> dict[str, list[bytes]]:
    """Returns the named inputs of a signature for texts or serialized tf.Examples.

    Of several inputs, the first one has the rows and the others are empty: joining passes over
    empty texts.
    """
    first, *others = sorted(names)
    return {first: list(rows), **{name: [b""] * len(rows) for name in others}}
