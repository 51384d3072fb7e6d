"""The notebook's text cleaning, in Python and as equivalent TensorFlow ops."""

import re
from string import ascii_letters, digits

import tensorflow as tf

_FORMULA = r"\$.*?\$"
_FORMULA_BYTES = re.compile(_FORMULA.encode())
# The two non-ASCII characters that ``str.lower`` turns into ASCII letters.
_KELVIN, _DOTTED_I = "\u212a".encode(), "\u0130".encode()
# Lower-cases ASCII letters, keeps digits, and maps every other byte to a space.
_SPACED = bytes(
    ord(chr(byte).lower()) if chr(byte) in ascii_letters + digits else ord(" ")
    for byte in range(256)
)


def clean_python(text: str) -> str:
    """Returns the lower-case ASCII words and digits outside formulas, between single spaces."""
    return clean_bytes(text.encode()).decode()


def clean_bytes(text: bytes) -> bytes:
    r"""Cleans a UTF-8 text as :func:`clean_python` does.

    The notebook lower-cases the text, replaces formulas, then ``[^a-z0-9\s]``, then ``\s+`` by a
    space, and strips it. Translating and splitting bytes is equivalent and four times as fast.
    """
    text = text.replace(_KELVIN, b"k").replace(_DOTTED_I, b"i ")
    return b" ".join(_FORMULA_BYTES.sub(b" ", text).translate(_SPACED).split())


def _utf8(text: tf.Tensor) -> tf.Tensor:
    """Replaces bytes that are not UTF-8 by U+FFFD, so that no input can fail a batch.

    NUL, at which the Unicode ops would cut the text, becomes a space, as it would by cleaning.
    """
    text = tf.strings.regex_replace(text, r"\x00", " ")
    return tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")


def without_formulas(text: tf.Tensor) -> tf.Tensor:
    """Removes inline formulas, ``$...$`` within a line, from a string tensor of any shape."""
    return tf.strings.regex_replace(_utf8(text), _FORMULA, "")


def clean_tensor(text: tf.Tensor) -> tf.Tensor:
    r"""Cleans a string tensor of any shape to the same bytes as :func:`clean_python`.

    Unlike Python's, RE2's ``\s`` does not match Unicode spaces. Since anything but ``[a-z0-9]``
    becomes a single space, the last two substitutions are one here.
    """
    text = tf.strings.lower(_utf8(text), encoding="utf-8")
    text = tf.strings.regex_replace(text, _FORMULA, " ")
    text = tf.strings.regex_replace(text, r"[^a-z0-9]+", " ")
    return tf.strings.strip(text)
