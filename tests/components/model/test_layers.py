"""Values of the layers: n-gram hashing, weighting, pooling, word dropout."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.model.layers import (
    NGRAM_TABLE,
    GroupedLogits,
    MaskedPooling,
    RightPaddedBiLSTM,
    WideNgrams,
    WordDropout,
    hash_ngrams,
)

BUCKETS = 2**14


def rows_of(tokens: list[int], order: int) -> list[int]:
    rows, real = hash_ngrams(np.array([tokens], np.int32), order, BUCKETS)
    return [int(row) for row, kept in zip(rows[0], real[0], strict=True) if kept]


def test_order_of_words_counts() -> None:
    assert rows_of([5, 9], 2) != rows_of([9, 5], 2)
    assert rows_of([5, 9, 5], 3) != rows_of([5, 5, 9], 3)


def test_ngram_is_the_same_wherever_it_stands() -> None:
    assert rows_of([7, 5, 9, 8, 5, 9], 2)[1] == rows_of([7, 5, 9, 8, 5, 9], 2)[4]
    assert rows_of([5, 9], 2) == rows_of([3, 5, 9, 0, 0], 2)[1:]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 10**6), min_size=1, max_size=8),
    st.integers(0, 4),
    st.integers(1, 4),
)
def test_padding_makes_no_ngrams(words: list[int], padding: int, order: int) -> None:
    rows = rows_of(words + [0] * padding, order)
    assert len(rows) == max(0, len(words) - order + 1)
    assert all(0 <= row < BUCKETS for row in rows)


@pytest.mark.parametrize("order", [1, 2])
def test_ngrams_spread_over_the_table(order: int) -> None:
    count = BUCKETS // 2
    first = np.arange(2, count + 2, dtype=np.int32)
    tokens = np.stack([first] + [first * 7 % 997 + 2] * (order - 1), axis=1)
    rows = keras.ops.convert_to_numpy(hash_ngrams(tokens, order, BUCKETS)[0])
    # Throwing n balls into 2n bins at random fills 2n (1 - exp(-1/2)) of them.
    expected = BUCKETS * (1 - math.exp(-0.5))
    assert len(np.unique(rows)) > 0.95 * expected


def wide(**options: object) -> WideNgrams:
    arguments = {"width": 2, "buckets": BUCKETS, "orders": (1,), **options}
    layer = WideNgrams(**arguments)  # type: ignore[arg-type]
    layer.build((None, None))
    return layer


def test_weights_count_texts_once_and_discount_rare_ngrams() -> None:
    layer = wide(rare=4)
    texts = np.array([[2, 2, 3], [2, 4, 0], [2, 3, 0]], np.int32)
    layer.adapt(texts)
    weights = keras.ops.convert_to_numpy(layer.importance)
    # Word 2 is in three of three texts, word 3 in two, word 4 in one.
    assert weights[rows_of([2], 1)[0]] == pytest.approx((1 + math.log(4 / 4)) * 3 / 4)
    assert weights[rows_of([3], 1)[0]] == pytest.approx((1 + math.log(4 / 3)) * 2 / 4)
    assert weights[rows_of([4], 1)[0]] == 0
    assert np.count_nonzero(weights) == 2


def test_sum_is_divided_by_the_norm_of_the_weights() -> None:
    layer = wide(scale=3.0)
    a, b = rows_of([5], 1)[0], rows_of([6], 1)[0]
    importance, table = np.zeros(BUCKETS, np.float32), np.zeros((BUCKETS, 2), np.float32)
    importance[[a, b]] = 3.0, 4.0
    table[a], table[b] = (1.0, 0.0), (0.0, 2.0)
    layer.importance.assign(importance)
    layer.table.assign(table)
    logits = layer(np.array([[5, 6, 0, 0]], np.int32))
    np.testing.assert_allclose(logits, [[3 * 3 / 5, 3 * 8 / 5]], rtol=1e-6)
    # Words that were never seen weigh nothing, and nothing is divided by zero.
    np.testing.assert_array_equal(layer(np.array([[7, 8]], np.int32)), [[0.0, 0.0]])


def test_importance_is_not_trained() -> None:
    layer = wide()
    layer.trainable = False
    layer.trainable = True
    assert [weight.name for weight in layer.trainable_weights] == [NGRAM_TABLE]


@pytest.mark.parametrize(("mode", "expected"), [("max", [[3.0, -1.0]]), ("mean", [[2.0, -2.0]])])
def test_pooling_leaves_masked_positions_out(mode: str, expected: list[list[float]]) -> None:
    states = np.array([[[1.0, -1.0], [3.0, -3.0], [50.0, 50.0]]], np.float32)
    mask = np.array([[True, True, False]])
    np.testing.assert_allclose(MaskedPooling(mode)(states, mask=mask), expected, rtol=1e-6)
    nothing = MaskedPooling(mode)(states, mask=np.zeros((1, 3), bool))
    np.testing.assert_array_equal(nothing, [[0.0, 0.0]])


def test_attention_weighs_by_its_query() -> None:
    layer = MaskedPooling("attention")
    layer.build((None, None, 1))
    layer.query.assign([[1.0]])
    states = np.array([[[0.0], [math.log(3.0)], [9.0]]], np.float32)
    pooled = layer(states, mask=np.array([[True, True, False]]))
    np.testing.assert_allclose(pooled, [[0.75 * math.log(3.0)]], rtol=1e-5)


def test_unknown_pooling_is_refused() -> None:
    with pytest.raises(ValueError, match="received 'sum'"):
        MaskedPooling("sum")


def test_word_dropout_replaces_its_share_of_words_in_training_only() -> None:
    layer = WordDropout(0.25, replacement=1)
    tokens = np.full((50, 200), 9, np.int32)
    tokens[:, 150:] = 0
    np.testing.assert_array_equal(layer(tokens, training=False), tokens)
    dropped = keras.ops.convert_to_numpy(layer(tokens, training=True))
    assert (dropped[:, 150:] == 0).all()
    assert set(np.unique(dropped[:, :150])) == {1, 9}
    assert (dropped[:, :150] == 1).mean() == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
    "layer",
    [
        MaskedPooling("attention"),
        WordDropout(0.1, 1),
        WideNgrams(3, 64, (1, 2), dropout=0.2, scale=2.0, rare=5),
    ],
)
def test_configuration_survives_serialization(layer: keras.layers.Layer) -> None:
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()


def test_class_probability_is_the_sum_of_its_categories() -> None:
    logits = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    classes = np.array(GroupedLogits([0, 1, 1, 2, 0])(logits))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = np.stack(
        [probabilities[:, [0, 4]].sum(1), probabilities[:, [1, 2]].sum(1), probabilities[:, 3]], 1
    )
    shares = np.exp(classes) / np.exp(classes).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, expected, rtol=1e-5)


def test_a_class_without_a_category_is_refused() -> None:
    with pytest.raises(ValueError, match="each class"):
        GroupedLogits([0, 2])


def test_bilstm_gives_the_states_of_a_masked_bidirectional_lstm() -> None:
    rng = np.random.default_rng(0)
    lengths = np.array([7, 1, 4])
    mask = np.arange(7) < lengths[:, None]
    texts = rng.normal(size=(3, 7, 4)).astype(np.float32)
    stock = keras.layers.Bidirectional(keras.layers.LSTM(5, return_sequences=True))
    ours = RightPaddedBiLSTM(5)
    expected = np.array(stock(texts, mask=mask))
    ours(texts, mask=mask)
    weights = [rng.normal(size=w.shape) for w in stock.get_weights()]
    stock.set_weights(weights)
    ours.set_weights(weights)
    expected = np.array(stock(texts, mask=mask))
    np.testing.assert_allclose(np.array(ours(texts, mask=mask))[mask], expected[mask], atol=1e-5)
    other_padding = np.where(mask[:, :, None], texts, 9.0).astype(np.float32)
    np.testing.assert_array_equal(
        np.array(ours(other_padding, mask=mask))[mask], np.array(ours(texts, mask=mask))[mask]
    )
