import datetime
import re

import pytest
import tensorflow as tf
from pydantic import ValidationError
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from components.arrow import pa
from components.contracts.columns import Columns
from components.errors import UserError
from components.ingestion import columns


def raw(**changed: pa.Array) -> pa.RecordBatch:
    given = {
        "id": pa.array(["a1", "a2", "a3"]),
        "abstract": pa.array(["One.", "Two.", "Three."]),
        "final_category": pa.array(["cs", "math", "cs"]),
        "update_date": pa.array(["2019-01-02", "2018-12-31", None]),
    } | changed
    return pa.RecordBatch.from_arrays(list(given.values()), names=list(given))


def dates(values: pa.Array) -> tuple[list[str | None], int]:
    batch, unreadable, *_ = columns.canonical(raw(update_date=values))
    return batch.column(3).to_pylist(), unreadable


@pytest.mark.parametrize(
    "values",
    [
        pa.array([datetime.date(2019, 1, 2), None, datetime.date(1991, 8, 14)], pa.date32()),
        pa.array([datetime.date(2019, 1, 2), None, datetime.date(1991, 8, 14)], pa.date64()),
        pa.array(
            [datetime.datetime(2019, 1, 2, 23, 59), None, datetime.datetime(1991, 8, 14)],
            pa.timestamp("ns"),
        ),
        pa.array(["2019-01-02T23:59:00Z", None, " 1991-08-14"]),
        pa.array(["2019-01-02", " ", "1991-08-14 00:00:00"], pa.large_string()),
        pa.array(["2019-01-02", None, "1991-08-14"]).dictionary_encode(),
    ],
)
def test_every_kind_of_date_becomes_an_iso_date(values: pa.Array) -> None:
    assert dates(values) == (["2019-01-02", None, "1991-08-14"], 0)


def test_a_timestamp_with_a_zone_is_taken_in_utc() -> None:
    late = datetime.datetime(2019, 1, 1, 23, tzinfo=datetime.timezone(datetime.timedelta(hours=-5)))
    values = pa.array([late, late, None], pa.timestamp("us", tz="America/New_York"))
    assert dates(values)[0] == ["2019-01-02", "2019-01-02", None]


def test_dates_that_do_not_exist_or_are_not_iso_are_missing_and_counted() -> None:
    values = pa.array(["2019-02-31", "Mon, 2 Apr 2007", "2019-13-01"])
    assert dates(values) == ([None, None, None], 3)
    assert columns.canonical(raw(update_date=values)).unreadable_date == "2019-02-31"
    long = raw(update_date=pa.array(["x" * 99, " 1999-12-31 ", None]))
    assert columns.canonical(long).unreadable_date == "x" * 40


def test_a_date_column_without_values_is_all_missing() -> None:
    assert dates(pa.nulls(3)) == ([None, None, None], 0)


def test_blank_strings_are_missing() -> None:
    batch, *_ = columns.canonical(
        raw(abstract=pa.array(["", " \n\t ", "x"]), id=pa.array(["", None, "7"]))
    )
    assert batch.column(1).to_pylist() == [None, None, "x"]
    assert batch.column(0).to_pylist() == [None, None, "7"]


def test_broken_utf8_is_replaced() -> None:
    broken = pa.Array.from_buffers(
        pa.string(), 3, pa.array([b"ok", b"\xff\xfe", b"\xc3\xa9"], pa.binary()).buffers()
    )
    batch, *_ = columns.canonical(raw(abstract=broken))
    assert batch.column(1).to_pylist() == ["ok", "��", "é"]


def test_integer_ids_become_strings() -> None:
    batch, *_ = columns.canonical(raw(id=pa.array([7, None, 12])))
    assert batch.column(0).to_pylist() == ["7", None, "12"]


def test_a_missing_column_is_named_with_what_is_there() -> None:
    schema = pa.schema(
        [("id", pa.string()), ("summary", pa.string()), ("update_date", pa.string())]
    )
    with pytest.raises(UserError) as error:
        columns.check_schema(schema, "/d/x.parquet")
    assert str(error.value) == (
        "/d/x.parquet: no column 'abstract', 'final_category'; it has 'id', 'summary', "
        "'update_date'; name yours in [data.columns]"
    )


@pytest.mark.parametrize(
    ("column", "kind", "expected"),
    [
        ("abstract", pa.int64(), "int64; expected string"),
        ("final_category", pa.float32(), "float; expected string, integer or boolean"),
        (
            "final_category",
            pa.list_(pa.string()),
            "list<item: string>; expected string, integer or boolean",
        ),
        ("abstract", pa.binary(), "binary; expected string"),
        ("id", pa.float64(), "double; expected string or integer"),
        ("update_date", pa.int64(), "int64; expected string, date or timestamp"),
    ],
)
def test_a_wrong_type_is_named(column: str, kind: pa.DataType, expected: str) -> None:
    schema = raw().schema
    schema = schema.set(schema.get_field_index(column), pa.field(column, kind))
    with pytest.raises(UserError, match=r"one\.parquet: column") as error:
        columns.check_schema(schema, "one.parquet")
    assert f"column {column!r} has type {expected}." in str(error.value)
    assert "\n" not in str(error.value)


def test_a_column_twice_is_an_error() -> None:
    schema = raw().schema.append(pa.field("id", pa.string()))
    with pytest.raises(UserError, match="column 'id' occurs 2 times"):
        columns.check_schema(schema, "one.parquet")


def test_encoded_examples_hold_the_values_and_leave_missing_ones_out() -> None:
    batch, *_ = columns.canonical(raw(id=pa.array([None, "a2", None])))
    encoded = RecordBatchToExamplesEncoder().encode(columns.as_feature_lists(batch))
    found = []
    for example in encoded:
        feature = tf.train.Example.FromString(example).features.feature
        found.append({k: list(v.bytes_list.value) for k, v in feature.items() if v.ByteSize()})
    assert found == [
        {"abstract": [b"One."], "final_category": [b"cs"], "update_date": [b"2019-01-02"]},
        {
            "id": [b"a2"],
            "abstract": [b"Two."],
            "final_category": [b"math"],
            "update_date": [b"2018-12-31"],
        },
        {"abstract": [b"Three."], "final_category": [b"cs"]},
    ]


def test_a_slice_of_a_batch_encodes_its_own_rows() -> None:
    batch = columns.canonical(raw()).batch.slice(1, 2)
    lists = columns.as_feature_lists(batch)
    assert lists.column(1).to_pylist() == [[b"Two."], [b"Three."]]
    assert lists.column(3).to_pylist() == [[b"2018-12-31"], None]


NEWS = Columns(text=("title", "body"), label="topic", id="", date="", category="")


def test_columns_of_other_names_are_joined_cast_and_trimmed() -> None:
    rows = pa.RecordBatch.from_pydict(
        {
            "topic": pa.array([1, 0, None]),
            "body": ["a body", " ", None],
            "title": ["Title", "alone", None],
            "noise": [1.5, 2.5, 3.5],
        }
    )
    columns.check_schema(rows.schema, "news.parquet", NEWS)
    batch, unreadable, *_ = columns.canonical(rows, NEWS)
    assert batch.to_pydict() == {
        "id": [None] * 3,
        "text": ["Title\na body", "alone", None],
        "label": ["1", "0", None],
        "date": [None] * 3,
        "category": [None] * 3,
    }
    assert unreadable == 0
    lists = columns.as_feature_lists(batch, NEWS)
    assert lists.to_pydict() == {
        "title_body": [[b"Title\na body"], [b"alone"], None],
        "topic": [[b"1"], [b"0"], None],
    }


def test_blanks_around_a_label_and_booleans_make_no_other_class() -> None:
    labels = {
        "strings": pa.array(["cs", "cs ", "\tcs", "  "]),
        "booleans": pa.array([True, False, True, None]),
    }
    found = {}
    for name, label in labels.items():
        rows = pa.RecordBatch.from_pydict({"title": ["a"] * 4, "body": ["b"] * 4, "topic": label})
        columns.check_schema(rows.schema, "news.parquet", NEWS)
        found[name] = columns.canonical(rows, NEWS).batch["label"].to_pylist()
    assert found == {
        "strings": ["cs", "cs", "cs", None],
        "booleans": ["true", "false", "true", None],
    }


def test_all_missing_columns_are_named_with_the_nearest_names() -> None:
    schema = pa.schema([("Title", pa.string()), ("bodies", pa.string()), ("x", pa.int64())])
    with pytest.raises(UserError) as error:
        columns.check_schema(schema, "news.parquet", NEWS)
    assert str(error.value) == (
        "news.parquet: no column 'title' (is it 'Title'?), 'body' (is it 'bodies'?), 'topic'; it "
        "has 'Title', 'bodies', 'x'; name yours in [data.columns]"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "abstract"}, "column 'abstract' is named twice; give each one role"),
        ({"text": ("title", "title")}, "column 'title' is named twice"),
        ({"text": ()}, "at least 1 item"),
        ({"text": ("",)}, "a column has no name"),
        ({"label": ""}, "at least 1 character"),
        ({"label": "year"}, "label 'year' is a transformed feature; rename it"),
        ({"text": ("a", "b"), "label": "a_b"}, "the joined text is called 'a_b'"),
    ],
)
def test_contradictory_columns_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        Columns(**changes)
