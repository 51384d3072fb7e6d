"""The notebook's text cleaning, once as Python and once as TensorFlow ops with the same result."""

import re

import tensorflow as tf

_FORMULA = re.compile(r"\$.*?\$")
_NOT_ALPHANUMERIC = re.compile(r"[^a-z0-9\s]")
_WHITESPACE = re.compile(r"\s+")


def clean_python(text: str) -> str:
    """Returns the lower-case ASCII words and digits outside formulas, between single spaces."""
    text = _FORMULA.sub(" ", text.lower())
    text = _NOT_ALPHANUMERIC.sub(" ", text)
    return _WHITESPACE.sub(" ", text).strip()


def _utf8(text: tf.Tensor) -> tf.Tensor:
    """Replaces bytes that are not UTF-8 by U+FFFD, so that no input can fail a batch.

    NUL, at which the Unicode ops would cut the text, becomes a space, as cleaning makes it anyway.
    """
    text = tf.strings.regex_replace(text, r"\x00", " ")
    return tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")


def without_formulas(text: tf.Tensor) -> tf.Tensor:
    """Cuts inline formulas, ``$...$`` within a line, out of a string tensor of any shape."""
    return tf.strings.regex_replace(_utf8(text), _FORMULA.pattern, "")


def clean_tensor(text: tf.Tensor) -> tf.Tensor:
    """Cleans a string tensor of any shape to the bytes that :func:`clean_python` gives.

    Python's ``\\s`` also matches Unicode spaces, which RE2's does not; since all but ``[a-z0-9]``
    ends up as one space either way, the last two substitutions are one here.
    """
    text = tf.strings.lower(_utf8(text), encoding="utf-8")
    text = tf.strings.regex_replace(text, _FORMULA.pattern, " ")
    text = tf.strings.regex_replace(text, r"[^a-z0-9]+", " ")
    return tf.strings.strip(text)
