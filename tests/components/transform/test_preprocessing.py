"""Transform, run for real over small tables; the real corpus row by row where it is at hand."""

import tempfile
from collections import Counter
from pathlib import Path

import apache_beam as beam
import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.public import tfxio

from components.arrow import pa, pq
from components.contracts import features
from components.contracts.columns import ARXIV
from components.text.cleaning import clean_python
from components.transform.preprocessing import (
    label_ids,
    latex_share,
    preprocessing_fn,
    split_words,
    words_or_oov,
)

CLASSES = ["bio", "cs", "econ", "engineering", "math", "physics", "stat"]


def transform(rows: dict[str, list[str | None]], folder: Path, *, size: int, length: int):
    """Analyzes and transforms a table as the node does; returns ({feature: values}, output)."""
    schema = text_format.Parse(
        (Path(__file__).parents[3] / "schema" / "schema.pbtxt").read_text(), schema_pb2.Schema()
    )
    config = {"vocabulary_size": size, "sequence_length": length, "classes": CLASSES}
    columns = {
        name: pa.array(
            [None if v is None else [v.encode()] for v in rows[name]], pa.list_(pa.binary())
        )
        for name in (*ARXIV.required, *ARXIV.optional)
    }
    batch = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    adapter = tfxio.TensorAdapterConfig(batch.schema, _representations(schema))
    with (
        beam.Pipeline() as pipeline,
        tft_beam.Context(temp_dir=tempfile.mkdtemp(dir=folder)),
    ):
        raw = (pipeline | beam.Create([batch]), adapter)
        (data, _), graph = raw | tft_beam.AnalyzeAndTransformDataset(
            lambda inputs: preprocessing_fn(inputs, config), output_record_batches=True
        )
        graph | tft_beam.WriteTransformFn(str(folder / "graph"))
        _ = (
            data
            | beam.Map(lambda pair: pa.Table.from_batches([pair[0]]))
            | beam.Map(pq.write_table, str(folder / "out.parquet"))
        )
    table = pq.read_table(folder / "out.parquet").to_pydict()
    return table, tft.TFTransformOutput(str(folder / "graph"))


def _representations(schema):
    from tfx_bsl.tfxio import tensor_representation_util

    return tensor_representation_util.InferTensorRepresentationsFromSchema(schema)


def rows_of(texts: list[str], **others: list[str | None]) -> dict[str, list[str | None]]:
    n = len(texts)
    return {
        features.ABSTRACT: list(texts),
        features.LABEL: others.get("labels", ["cs"] * n),
        features.ID: [str(i) for i in range(n)],
        features.DATE: others.get("dates", ["2019-01-02"] * n),
        features.CATEGORY: others.get("categories", [None] * n),
    }


def words_by_notebook(texts: list[str], size: int) -> list[str]:
    """The most frequent words; equal counts in descending alphabetical order, as tft sorts."""
    counts = Counter(word for text in texts for word in clean_python(text).split())
    return sorted(counts, key=lambda word: (counts[word], word), reverse=True)[: size - 2]


def ids_by_hand(text: str, vocabulary: list[str], length: int) -> list[int]:
    index = {word: i + features.FIRST_WORD_ID for i, word in enumerate(vocabulary)}
    ids = [index.get(word, features.OOV_ID) for word in clean_python(text).split()][:length]
    ids = ids or [features.OOV_ID]
    return ids + [features.PAD_ID] * (length - len(ids))


TEXTS = [
    "The cat, the CAT and $x^2$ the dog.",
    "A dog   and a bird\nand a fish",
    "$only$",
    "unseen words: the " + " ".join(f"w{i}" for i in range(20)),
    "",
]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transform")
    labels = ["cs", "bio", "stat", "math", "physics"]
    dates = ["2019-01-02", None, "1998-12-31", "soon", "2007-05-05"]
    rows = rows_of(TEXTS, labels=labels, dates=dates)
    table, output = transform(rows, folder, size=8, length=6)
    return table, output


def test_ids_follow_the_train_frequencies(small) -> None:
    table, output = small
    words = [w.decode() for w in output.vocabulary_by_name(features.VOCABULARY)]
    assert words == words_by_notebook(TEXTS, 8)
    assert output.vocabulary_size_by_name(features.VOCABULARY) == 6
    assert table[features.TOKENS] == [ids_by_hand(text, words, 6) for text in TEXTS]


def test_head_is_kept_and_no_words_are_one_oov(small) -> None:
    table, _ = small
    oov_then_padding = [features.OOV_ID] + [features.PAD_ID] * 5
    assert table[features.TOKENS][2] == oov_then_padding
    assert table[features.TOKENS][4] == oov_then_padding
    assert table[features.TOKENS][3].count(features.PAD_ID) == 0


def test_labels_are_indices_in_the_schemas_order(small) -> None:
    table, _ = small
    assert np.ravel(table[features.LABEL_ID]).tolist() == [1, 0, 6, 4, 5]
    assert label_ids(tf.constant(["cs", "zoology"]), CLASSES).numpy().tolist() == [1, -1]


def test_rare_and_missing_categories_have_no_id(tmp_path) -> None:
    categories = ["cs.LG"] * 6 + ["math.AG"] * 5 + ["econ.EM"] * 4 + [None]
    rows = rows_of(["a b"] * 16, categories=categories)
    table, output = transform(rows, tmp_path, size=8, length=4)
    assert output.vocabulary_by_name(features.CATEGORIES) == [b"cs.LG", b"math.AG"]
    assert np.ravel(table[features.CATEGORY_ID]).tolist() == [0] * 6 + [1] * 5 + [-1] * 5


def test_without_any_category_all_ids_are_missing(small) -> None:
    table, _ = small
    assert np.ravel(table[features.CATEGORY_ID]).tolist() == [-1] * 5


def test_slice_features(small) -> None:
    table, _ = small
    text = {key: [row[0].decode() for row in table[key]] for key in features.SLICE_FEATURES}
    assert text[features.YEAR] == ["2019", "unknown", "1998", "unknown", "2007"]
    assert text[features.LENGTH_BUCKET] == ["000-049"] * 5
    assert text[features.LATEX_BUCKET] == ["10%+", "none", "10%+", "none", "none"]


def test_latex_share_counts_characters_with_their_dollars() -> None:
    share = latex_share(tf.constant(["ab$cd$ef", "", "é$é$", "$unclosed"])).numpy()
    assert share.tolist() == [0.5, 0.0, 0.75, 0.0]


def test_words_or_oov_touches_empty_rows_only() -> None:
    words = words_or_oov(split_words(tf.constant(["", "a b", ""])))
    assert words.to_list() == [[b""], [b"a", b"b"], [b""]]


def layer_ids(texts: list[str], output: tft.TFTransformOutput, length: int) -> np.ndarray:
    """What a Keras TextVectorization layer makes of the vocabulary file as it is."""
    layer = keras.layers.TextVectorization(
        standardize=None,
        split="whitespace",
        output_sequence_length=length,
        vocabulary=output.vocabulary_file_by_name(features.VOCABULARY),
    )
    return np.concatenate(
        [
            layer(tf.constant([clean_python(text) for text in texts[i : i + 4096]])).numpy()
            for i in range(0, len(texts), 4096)
        ]
    )


def assert_same_as_layer(table, texts: list[str], output, length: int) -> None:
    expected = layer_ids(texts, output, length)
    empty = np.array([not clean_python(text) for text in texts])
    # The layer gives an abstract without words nothing but padding; here it is one OOV token.
    expected[empty, 0] = features.OOV_ID
    np.testing.assert_array_equal(np.array(table[features.TOKENS]), expected)


def test_keras_layer_loads_the_vocabulary_and_agrees(small) -> None:
    table, output = small
    assert_same_as_layer(table, TEXTS, output, 6)


@pytest.mark.real
def test_every_real_row_gets_the_layers_ids(real_corpus, tmp_path) -> None:
    texts = pq.read_table(real_corpus, columns=["abstract"])["abstract"].to_pylist()
    table, output = transform(rows_of(texts), tmp_path, size=40_000, length=256)
    words = [w.decode() for w in output.vocabulary_by_name(features.VOCABULARY)]
    assert words == words_by_notebook(texts, 40_000)
    assert_same_as_layer(table, texts, output, 256)
