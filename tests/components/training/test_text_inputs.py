"""The inputs of ``serving_default``: one for each text column, joined as in ingestion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.protobuf import saved_model_pb2

from components.arrow import pa
from components.contracts.columns import Columns
from components.ingestion.columns import canonical
from components.scoring.text_inputs import filled, input_names
from components.training.export import joined_texts, text_function

TEXTS = st.one_of(st.just(""), st.text("ab \n", min_size=1, max_size=4).filter(str.strip))


@given(rows=st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_serving_joins_columns_as_ingestion_does(rows: list[tuple[str, str, str]]) -> None:
    names = ("one", "two", "three")
    columns = Columns(text=names, label="label", id="", date="", category="")
    cells = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    batch = pa.RecordBatch.from_pydict({**cells, "label": ["x"] * len(rows)})
    wanted = canonical(batch, columns).batch["text"].to_pylist()
    joined = joined_texts([tf.constant(cells[name]) for name in names]).numpy()
    assert [text.decode() for text in joined] == [text or "" for text in wanted]


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (["abstract"], ["abstract"]),
        (["title", "body_2"], ["title", "body_2"]),
        (["Review text"], ["text"]),
        (["Überschrift", "text"], ["text_1", "text_2"]),
        (["2nd"], ["text"]),
        (["Title", "title"], ["text_1", "text_2"]),
        (["self", "body"], ["text_1", "text_2"]),
    ],
)
def test_inputs_have_the_columns_names_where_any_client_can_type_them(
    columns: list[str], names: list[str]
) -> None:
    assert input_names(columns) == names


def test_a_text_counts_alike_in_whichever_input_it_is() -> None:
    assert filled(["title", "body"], [b"a", b"b"]) == {"body": [b"a", b"b"], "title": [b"", b""]}
    assert filled({"examples": 1}, [b"a"]) == {"examples": [b"a"]}


def saved(columns: list[str], folder: Path) -> Any:
    module = tf.Module()
    module.function = text_function(lambda texts: {"joined": texts}, columns)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.function})
    return tf.saved_model.load(str(folder))


def test_inputs_of_several_columns_may_be_left_out(tmp_path: Path) -> None:
    loaded = saved(["title", "body"], tmp_path)
    outputs = loaded.signatures["serving_default"](
        title=tf.constant(["A", "", "B"]), body=tf.constant(["a", "b", ""])
    )
    assert outputs["joined"].numpy().tolist() == [b"A\na", b"b", b"B"]
    content = (tmp_path / "saved_model.pb").read_bytes()
    graph = saved_model_pb2.SavedModel.FromString(content).meta_graphs[0]
    defaults = graph.signature_def["serving_default"].defaults
    assert {name: list(value.string_val) for name, value in defaults.items()} == {
        "title": [],
        "body": [],
    }
    without = tf.function(lambda body: loaded.function(tf.constant([], tf.string), body))
    outputs = without(tf.constant(["a", "b"]))
    assert outputs["joined"].numpy().tolist() == [b"a", b"b"]
    with pytest.raises(tf.errors.InvalidArgumentError):
        loaded.signatures["serving_default"](title=tf.constant(["A"]), body=tf.constant(["a", "b"]))


def test_one_column_has_no_default(tmp_path: Path) -> None:
    loaded = saved(["review"], tmp_path)
    outputs = loaded.signatures["serving_default"](review=tf.constant(["a", ""]))
    assert outputs["joined"].numpy().tolist() == [b"a", b""]
    content = (tmp_path / "saved_model.pb").read_bytes()
    graph = saved_model_pb2.SavedModel.FromString(content).meta_graphs[0]
    assert not graph.signature_def["serving_default"].defaults
