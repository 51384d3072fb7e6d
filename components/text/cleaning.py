"""Text cleaning, in Python and as equivalent TensorFlow ops.

It is the notebook's: lower-case ASCII words and digits outside formulas. Before it, compatibility
characters and accented letters are replaced by their ASCII letters, so that texts that differ only
in Unicode form (composed or decomposed, full-width) are one text to splits, training and serving.
"""

import functools
import re
import sys
import unicodedata
from string import ascii_letters, digits

import numpy as np
import tensorflow as tf

_FORMULA = r"\$.*?\$"
_FORMULA_BYTES = re.compile(_FORMULA.encode())
# Lower-cases ASCII letters, keeps digits, and maps every other byte to a space.
_SPACED = bytes(
    ord(chr(byte).lower()) if chr(byte) in ascii_letters + digits else ord(" ")
    for byte in range(256)
)
_MEANT = frozenset(ascii_letters + digits + "$")


@functools.cache
def _foldings() -> dict[int, str]:
    """Returns the replacements of non-ASCII code points: NFKD without combining marks.

    Without those that cleaning turns into a space in both forms. Removing the marks saves the
    canonical ordering and composition, for which TensorFlow has no op.
    """
    found = {}
    for code in range(128, sys.maxunicode + 1):
        decomposed = unicodedata.normalize("NFKD", chr(code))
        plain = "".join(char for char in decomposed if not unicodedata.combining(char))
        if not plain or not _MEANT.isdisjoint(plain):
            found[code] = plain
    return found


def clean_python(text: str) -> str:
    """Returns the lower-case ASCII words and digits outside formulas, between single spaces."""
    return clean_bytes(text.encode()).decode()


def clean_bytes(text: bytes) -> bytes:
    r"""Cleans a UTF-8 text as :func:`clean_python` does.

    The notebook lower-cases the text, replaces formulas, then ``[^a-z0-9\s]``, then ``\s+`` by a
    space, and strips it. Translating and splitting bytes is equivalent and four times as fast.
    """
    if not text.isascii():
        text = text.decode("utf-8", "replace").translate(_foldings()).encode()
    return b" ".join(_FORMULA_BYTES.sub(b" ", text).translate(_SPACED).split())


def _utf8(text: tf.Tensor) -> tf.Tensor:
    """Replaces bytes that are not UTF-8 by U+FFFD, so that no input can fail a batch.

    NUL, at which the Unicode ops would cut the text, becomes a space, as it would by cleaning.
    """
    text = tf.strings.regex_replace(text, r"\x00", " ")
    return tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")


def _folded(text: tf.Tensor) -> tf.Tensor:
    """Applies `_foldings` to valid UTF-8 of any shape; ASCII texts cost only the look."""
    flat = tf.reshape(text, [-1])
    wide = tf.strings.length(flat) != tf.strings.length(flat, unit="UTF8_CHAR")
    rows = tf.where(wide)
    chars = tf.strings.unicode_split(tf.gather_nd(flat, rows), "UTF-8")
    codes = tf.strings.unicode_decode(tf.gather_nd(flat, rows), "UTF-8").flat_values
    keys = np.array(sorted(_foldings()), np.int32)
    place = tf.minimum(tf.searchsorted(keys, codes), len(keys) - 1)
    replaced = tf.gather([_foldings()[key] for key in keys.tolist()], place)
    pieces = tf.where(tf.gather(keys, place) == codes, replaced, chars.flat_values)
    joined = tf.strings.unsorted_segment_join(pieces, chars.value_rowids(), chars.nrows())
    return tf.reshape(tf.tensor_scatter_nd_update(flat, rows, joined), tf.shape(text))


def without_formulas(text: tf.Tensor) -> tf.Tensor:
    """Removes inline formulas, ``$...$`` within a line, from a string tensor of any shape."""
    return tf.strings.regex_replace(_utf8(text), _FORMULA, "")


def clean_tensor(text: tf.Tensor) -> tf.Tensor:
    r"""Cleans a string tensor of any shape to the same bytes as :func:`clean_python`.

    Unlike Python's, RE2's ``\s`` does not match Unicode spaces. Since anything but ``[a-z0-9]``
    becomes a single space, the last two substitutions are one here.
    """
    text = tf.strings.lower(_folded(_utf8(text)))
    text = tf.strings.regex_replace(text, _FORMULA, " ")
    text = tf.strings.regex_replace(text, r"[^a-z0-9]+", " ")
    return tf.strings.strip(text)
