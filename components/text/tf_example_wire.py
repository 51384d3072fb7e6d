"""Reads string columns from serialized tf.Examples, with ops that cannot fail.

``tf.io.parse_example`` raises for a whole batch if one row is not a tf.Example, or has a number
instead of a string. One client's row must not fail those of others in a server's batch, and a graph
cannot catch errors. So the wire format is decoded here by arithmetic on bytes:
https://protobuf.dev/programming-guides/encoding, with the fields of example.proto and
feature.proto: Example.features = 1, the map entries of Features = 1 (key = 1, value = 2),
Feature.bytes_list = 1, BytesList.value = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

# Iterations of the loop, each of which reads one field of every row; an example of k columns takes
# 4 k + 3. A row that takes more counts as unreadable, so that it cannot delay the others.
MAX_FIELDS = 4096

_VARINT_BYTES = 10
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
# Nested messages: the example, its features, an entry of their map.
_EXAMPLE, _FEATURES, _ENTRY = 0, 1, 2
_LEVELS = 3


class _Field(NamedTuple):
    """One field of each row, all tensors [n]; undefined where ``ok`` is false.

    Attributes:
        number: field number.
        start, length: position of the bytes of a length-delimited field.
        after: position of the next field.
        ok: whether the field is valid and within the message.
        delimited: whether it is ok and length-delimited.
    """

    number: tf.Tensor
    start: tf.Tensor
    length: tf.Tensor
    after: tf.Tensor
    ok: tf.Tensor
    delimited: tf.Tensor


def string_columns(serialized: tf.Tensor, names: Sequence[str]) -> dict[str, tf.Tensor]:
    """Returns the first string of each column of each row.

    Args:
        serialized: tf.Examples, string [n]; any bytes are allowed.
        names: names of the columns.

    Returns:
        string [n] by name. Empty if the column is missing, empty or numeric, and in all columns of
        a row that is not a tf.Example or takes more than `MAX_FIELDS` iterations.
    """
    lengths = tf.cast(tf.strings.length(serialized), tf.int64)
    starts = tf.cumsum(lengths, exclusive=True)
    # Reading past the last row is harmless, since its end is checked.
    padding = b"\0" * (2 * _VARINT_BYTES)
    data = tf.io.decode_raw(tf.strings.reduce_join(serialized) + padding, tf.uint8)
    feature_start, feature_length = _find_features(data, starts, starts + lengths, names)
    found_start, found_length = (
        tf.reshape(found, [-1, len(names)])
        for found in _first_string(
            data, tf.reshape(feature_start, [-1]), tf.reshape(feature_length, [-1])
        )
    )
    in_row = tf.where(found_length > 0, found_start - starts[:, tf.newaxis], 0)
    return {
        name: tf.strings.substr(serialized, in_row[:, index], found_length[:, index])
        for index, name in enumerate(names)
    }


def _find_features(
    data: tf.Tensor, starts: tf.Tensor, ends: tf.Tensor, names: Sequence[str]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns start and length, int64 [n, columns], of each column's Feature; length 0 for none.

    As in any protobuf map, the last entry of a key counts.
    """
    rows = tf.shape(starts)[0]
    keys = [name.encode() for name in names]
    widest = max(map(len, keys))
    wanted = tf.constant([list(key.ljust(widest, b"\0")) for key in keys], tf.uint8)
    steps = tf.range(widest, dtype=tf.int64)
    wanted_lengths = tf.constant([len(key) for key in keys], tf.int64)
    none = tf.zeros([rows], tf.int64)
    fresh = tf.stack([none, none])
    no_feature = tf.zeros([rows, len(keys)], tf.int64)
    outer = tf.stack([ends, none, none], axis=1)

    def unfinished(level: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
        return tf.reduce_any(level >= _EXAMPLE)

    def read(
        level: tf.Tensor,
        at: tf.Tensor,
        limits: tf.Tensor,
        key: tf.Tensor,
        value: tf.Tensor,
        found: tf.Tensor,
        ok: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        active = level >= _EXAMPLE
        limit = tf.gather(limits, tf.maximum(level, 0), batch_dims=1)
        ended = active & (at >= limit)
        field = _read_field(data, at, limit)
        broken = active & ~ended & ~field.ok
        inside = active & ~ended & field.delimited
        opened = inside & (field.number == 1) & (level < _ENTRY)
        here = tf.stack([field.start, field.length])

        closed = ended & (level == _ENTRY)
        letters = tf.gather(data, _inside(data, key[0][:, tf.newaxis] + steps))
        letters = tf.where(steps < key[1][:, tf.newaxis], letters, 0)
        same = tf.reduce_all(letters[:, tf.newaxis] == wanted, axis=2)
        same &= key[1][:, tf.newaxis] == wanted_lengths
        found = tf.where(same & closed[:, tf.newaxis], value[:, :, tf.newaxis], found)

        entered = opened & (level == _FEATURES)
        is_key = inside & (level == _ENTRY) & (field.number == 1)
        is_value = inside & (level == _ENTRY) & (field.number == 2)
        key = tf.where(is_key, here, tf.where(entered, fresh, key))
        value = tf.where(is_value, here, tf.where(entered, fresh, value))
        deeper = opened[:, tf.newaxis] & (tf.range(_LEVELS) == level[:, tf.newaxis] + 1)
        limits = tf.where(deeper, (field.start + field.length)[:, tf.newaxis], limits)
        at = tf.where(opened, field.start, tf.where(active & ~ended & field.ok, field.after, at))
        level = level + tf.cast(opened, tf.int32) - tf.cast(ended, tf.int32)
        return tf.where(broken, -1, level), at, limits, key, value, found, ok & ~broken

    level, _, _, _, _, found, ok = tf.while_loop(
        unfinished,
        read,
        (
            tf.zeros([rows], tf.int32),
            starts,
            outer,
            fresh,
            fresh,
            tf.stack([no_feature, no_feature]),
            tf.ones([rows], tf.bool),
        ),
        maximum_iterations=MAX_FIELDS,
    )
    readable = (ok & (level < _EXAMPLE))[:, tf.newaxis]
    return found[0], tf.where(readable, found[1], 0)


def _first_string(
    data: tf.Tensor, start: tf.Tensor, length: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns start and length, int64 [n], of each Feature's first string; length 0 for none."""

    def unfinished(reading: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
        return tf.reduce_any(reading)

    def read(
        reading: tf.Tensor,
        in_list: tf.Tensor,
        at: tf.Tensor,
        limit: tf.Tensor,
        found_start: tf.Tensor,
        found_length: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        field = _read_field(data, at, limit)
        reading &= field.ok
        hit = reading & field.delimited & (field.number == 1)
        found, opened = hit & in_list, hit & ~in_list
        return (
            reading & ~found,
            in_list | opened,
            tf.where(opened, field.start, field.after),
            tf.where(opened, field.start + field.length, limit),
            tf.where(found, field.start, found_start),
            tf.where(found, field.length, found_length),
        )

    none = tf.zeros_like(start)
    *_, found_start, found_length = tf.while_loop(
        unfinished,
        read,
        (length > 0, tf.zeros_like(start, tf.bool), start, start + length, none, none),
        maximum_iterations=MAX_FIELDS,
    )
    return found_start, found_length


def _read_field(data: tf.Tensor, at: tf.Tensor, limit: tf.Tensor) -> _Field:
    """Reads the field at a position, int64 [n], in a message that ends at ``limit``."""
    tag, start, ok = _read_varint(data, at, limit)
    number, wire = tf.bitwise.right_shift(tag, tf.constant(3, tf.int64)), tag % 8
    # The length of a delimited field, or the value of a varint.
    length, content, sized = _read_varint(data, start, limit)
    delimited = ok & sized & (wire == _DELIMITED) & (length >= 0) & (length <= limit - content)
    after = tf.where(wire == _FIXED64, start + 8, start + 4)
    after = tf.where(wire == _VARINT, content, after)
    after = tf.where(delimited, content + length, after)
    fixed = (wire == _FIXED64) | (wire == _FIXED32)
    ok &= (number > 0) & (delimited | (sized & (wire == _VARINT)) | (fixed & (after <= limit)))
    return _Field(number, content, length, after, ok, delimited & ok)


def _read_varint(
    data: tf.Tensor, at: tf.Tensor, limit: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the value, the position after it, and whether it ends within ``limit``; each [n]."""
    steps = tf.range(_VARINT_BYTES, dtype=tf.int64)
    digits = tf.cast(tf.gather(data, _inside(data, at[:, tf.newaxis] + steps)), tf.int64)
    final = digits < 128
    count = tf.argmax(final, axis=1) + 1
    value = tf.reduce_sum(
        tf.where(
            steps < count[:, tf.newaxis],
            tf.bitwise.left_shift(digits % 128, 7 * steps),
            tf.zeros_like(digits),
        ),
        axis=1,
    )
    return value, at + count, tf.reduce_any(final, axis=1) & (at + count <= limit)


def _inside(data: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """Clips positions to the data: a broken row may point anywhere, but its result is not used."""
    return tf.clip_by_value(positions, 0, tf.size(data, tf.int64) - 1)
