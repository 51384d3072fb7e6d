"""Reading tf.Examples with ops that cannot fail, against the parsers that can."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.text import tf_example_wire

NAMES = ["abstract", "id"]


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def columns(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    return tf_example_wire.string_columns(serialized, NAMES)


def read(*rows: bytes) -> list[tuple[bytes, ...]]:
    found = columns(tf.constant(list(rows), tf.string, shape=[len(rows)]))
    return list(zip(*(found[name].numpy().tolist() for name in NAMES), strict=True))


def example(**values: list[bytes] | list[int] | list[float] | None) -> bytes:
    built = tf.train.Example()
    for name, content in values.items():
        feature = built.features.feature[name]
        for value in content or []:
            if isinstance(value, bytes):
                feature.bytes_list.value.append(value)
            elif isinstance(value, int):
                feature.int64_list.value.append(value)
            else:
                feature.float_list.value.append(value)
    return built.SerializeToString(deterministic=True)


def message(*fields: tuple[int, bytes]) -> bytes:
    """A protobuf message of short, length-delimited fields."""
    return b"".join(bytes([number << 3 | 2, len(data)]) + data for number, data in fields)


def entry(key: bytes, value: bytes) -> bytes:
    return message((1, message((1, key), (2, value))))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (example(abstract=[b"We prove"], id=[b"7"]), (b"We prove", b"7")),
        (example(abstract=[b"first", b"second"]), (b"first", b"")),
        (example(abstract=[b"\x00\xff\n"], other=[1, 2]), (b"\x00\xff\n", b"")),
        (example(abstract=[b"x" * 1_000_000], id=[b"y" * 300]), (b"x" * 1_000_000, b"y" * 300)),
        (example(abstracts=[b"longer name"], abstrac=[b"shorter"], id=[b"7"]), (b"", b"7")),
        (example(abstract=[b""], id=[b"7"]), (b"", b"7")),
        (example(abstract=None, id=[b"7"]), (b"", b"7")),
        (example(abstract=[3], id=[b"7"]), (b"", b"7")),
        (example(abstract=[0.5] * 10_000, id=[b"7"]), (b"", b"7")),
        (example(), (b"", b"")),
        (b"", (b"", b"")),
    ],
)
def test_first_string_of_each_column(row: bytes, expected: tuple[bytes, ...]) -> None:
    assert read(row) == [expected]


VALUE = message((1, message((1, b"text"))))
OTHER = message((1, message((1, b"other"))))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        # The value of an entry may come before its key, and an entry may come twice.
        (message((1, message((1, message((2, VALUE), (1, b"abstract")))))), b"text"),
        (message((1, entry(b"abstract", OTHER) + entry(b"abstract", VALUE))), b"text"),
        (message((1, entry(b"abstract", OTHER) + entry(b"abstract", b""))), b""),
        # A message that comes in parts is their sum.
        (message((1, entry(b"id", OTHER)), (1, entry(b"abstract", VALUE))), b"text"),
        # Fields that a tf.Example does not have: a varint, 8 bytes, 4 bytes, a string.
        (
            b"\x50\x80\x01" + b"\x59" + b"8" * 8 + b"\x65" + b"4444" + message((9, b"?"))
            + message((1, entry(b"abstract", VALUE))),
            b"text",
        ),
    ],
)  # fmt: skip
def test_forms_that_no_writer_uses_but_the_format_allows(row: bytes, expected: bytes) -> None:
    assert read(row)[0][0] == expected
    built = tf.train.Example.FromString(row)
    values = built.features.feature["abstract"].bytes_list.value
    assert (values[0] if values else b"") == expected


@pytest.mark.parametrize(
    "row",
    [
        b"no tf.Example",
        b"\x00" * 20,
        b"\xff" * 20,
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # a negative length
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # a length of 2**63 - 1
        b"\x0b" + example(abstract=[b"text"]) + b"\x0c",  # a group
        example(abstract=[b"text"]) + b"\x80",
        b"\x80" * 11 + example(abstract=[b"text"]),
        bytes(range(256)),
    ],
)
def test_row_that_is_no_example_is_empty_and_leaves_the_others_alone(row: bytes) -> None:
    good = example(abstract=[b"text"], id=[b"7"])
    assert read(good, row, good, row) == [(b"text", b"7"), (b"", b"")] * 2


def test_every_cut_of_an_example_is_empty() -> None:
    whole = example(abstract=[b"some text"], id=[b"7"], other=[1.5])
    assert read(*(whole[:length] for length in range(len(whole)))) == [(b"", b"")] * len(whole)


def test_any_number_of_rows() -> None:
    assert read() == []
    assert read(*[example(id=[b"7"])] * 3000) == [(b"", b"7")] * 3000


def test_row_of_endless_fields_is_given_up_and_the_others_are_not() -> None:
    many = example(
        **{f"column{i}": [1] for i in range(tf_example_wire.MAX_FIELDS // 4)}, abstract=[b"text"]
    )
    few = example(**{f"column{i}": [1] for i in range(500)}, abstract=[b"text"])
    assert read(many, few) == [(b"", b""), (b"text", b"")]


_values = st.one_of(
    st.lists(st.binary(max_size=20), max_size=3),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
    st.lists(st.floats(width=32, allow_nan=False), max_size=3),
)


@st.composite
def broken_examples(draw: st.DrawFn) -> bytes:
    """Examples with a few bytes changed, put in or taken out."""
    names = st.sampled_from([*NAMES, "abstrac", "other"])
    row = bytearray(example(**draw(st.dictionaries(names, _values, max_size=4))))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(row)))
        row[at : at + draw(st.integers(0, 1))] = draw(st.binary(max_size=1))
    return bytes(row)


@settings(max_examples=150, deadline=None)
@given(st.lists(broken_examples() | st.binary(max_size=60), min_size=1, max_size=20))
def test_agrees_with_tensorflows_parser_wherever_that_does_not_raise(rows: list[bytes]) -> None:
    spec = {name: tf.io.RaggedFeature(tf.string) for name in NAMES}
    for row, found in zip(rows, read(*rows), strict=True):
        try:
            parsed = tf.io.parse_example([row], spec)
            # It takes a few forms that protobuf's own parser refuses.
            tf.train.Example.FromString(row)
        except Exception:
            continue
        expected = [parsed[name].to_tensor(b"", shape=[1, 1])[0, 0].numpy() for name in NAMES]
        assert list(found) == expected


def test_neighbours_never_change_a_row() -> None:
    random = np.random.default_rng(3)
    noise = [random.bytes(int(random.integers(1, 80))) for _ in range(500)]
    good = [example(abstract=[b"text %d" % i], id=[b"%d" % i]) for i in range(500)]
    mixed = read(*(row for pair in zip(noise, good, strict=True) for row in pair))
    assert mixed[1::2] == [(b"text %d" % i, b"%d" % i) for i in range(500)]
