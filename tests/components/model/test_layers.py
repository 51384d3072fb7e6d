"""Values of the layers: n-gram codes, counts and weights, pooling."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.preprocessing import normalize

from components.model.layers import (
    NGRAM_TABLE,
    GroupedLogits,
    MaskedPooling,
    RightPaddedBiLSTM,
    WideNgrams,
    WordPrefixes,
    ngram_codes,
)


def codes_of(tokens: list[int], order: int) -> list[int]:
    codes, real = ngram_codes(np.array([tokens], np.int32), order)
    return [int(code) for code, kept in zip(codes[0], real[0], strict=True) if kept]


def test_order_of_words_counts() -> None:
    assert codes_of([5, 9], 2) != codes_of([9, 5], 2)
    assert codes_of([5, 9, 5], 3) != codes_of([5, 5, 9], 3)


def test_ngram_is_the_same_wherever_it_stands() -> None:
    assert codes_of([7, 5, 9, 8, 5, 9], 2)[1] == codes_of([7, 5, 9, 8, 5, 9], 2)[4]
    assert codes_of([5, 9], 2) == codes_of([3, 5, 9, 0, 0], 2)[1:]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 10**6), min_size=1, max_size=8),
    st.integers(0, 4),
    st.integers(1, 4),
)
def test_padding_makes_no_ngrams(words: list[int], padding: int, order: int) -> None:
    codes = codes_of(words + [0] * padding, order)
    assert len(codes) == max(0, len(words) - order + 1)


def test_no_two_ngrams_share_a_code() -> None:
    first, second = np.meshgrid(np.arange(1, 1500), np.arange(1, 1500))
    pairs = np.stack([first.ravel(), second.ravel()], axis=1).astype(np.int32)
    found = [ngram_codes(pairs, 2)[0], ngram_codes(np.arange(1, 10**6)[:, None], 1)[0]]
    codes = np.concatenate([keras.ops.convert_to_numpy(part).ravel() for part in found])
    assert len(np.unique(codes)) == len(codes)


def wide(**options: object) -> WideNgrams:
    arguments = {"width": 2, "size": 16, "orders": (1,), **options}
    layer = WideNgrams(**arguments)  # type: ignore[arg-type]
    layer.build((None, None))
    return layer


def weights_of(layer: WideNgrams, word: int) -> list[float]:
    at = np.asarray(layer.codes) == codes_of([word], 1)[0]
    return [float(value) for value in np.asarray(layer.importance)[at]]


def test_rows_go_to_what_two_texts_hold_and_weigh_by_rarity() -> None:
    layer = wide()
    layer.adapt(np.array([[2, 2, 3], [2, 4, 4], [2, 3, 0]], np.int32))
    # Word 2 is in three of three texts, word 3 in two, word 4 in one, twice.
    assert weights_of(layer, 2) == [pytest.approx(1 + math.log(4 / 4))]
    assert weights_of(layer, 3) == [pytest.approx(1 + math.log(4 / 3))]
    assert weights_of(layer, 4) == []
    assert np.count_nonzero(layer.importance) == 2


def test_a_small_table_keeps_the_most_frequent() -> None:
    texts = np.array([[2, 3, 4]] * 2 + [[3, 4, 0]] * 2 + [[4, 0, 0]], np.int32)
    layer = wide(size=2)
    layer.adapt(texts)
    assert len(weights_of(layer, 4)) == len(weights_of(layer, 3)) == 1
    assert weights_of(layer, 2) == []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(2, 12), max_size=9), min_size=2, max_size=8))
def test_features_are_those_of_scikit_learn(texts: list[list[int]]) -> None:
    texts = [text or [1] for text in texts]
    tokens = np.zeros((len(texts), 9), np.int32)
    for row, text in enumerate(texts):
        tokens[row, : len(text)] = text
    layer = wide(width=1, size=300, orders=(1, 2))
    layer.adapt(tokens)
    words = CountVectorizer(ngram_range=(1, 2), token_pattern=r"\S+")
    counts = words.fit_transform([" ".join(map(str, text)) for text in texts])
    # What one text alone holds has no row; the inverse document frequencies know all the texts.
    known = np.asarray((counts > 0).sum(axis=0)).ravel() >= 2
    expected = TfidfTransformer(norm=None, sublinear_tf=True).fit_transform(counts)[:, known]
    values = np.random.default_rng(0).normal(size=known.sum())
    table = np.zeros((300, 1), np.float32)
    places = np.asarray(layer.codes)
    for name, value in zip(words.get_feature_names_out()[known], values, strict=True):
        ngram = [int(word) for word in name.split()]
        table[np.searchsorted(places, codes_of(ngram, len(ngram))[0])] = value
    layer.table.assign(table)
    logits = keras.ops.convert_to_numpy(layer(tokens))[:, 0]
    wanted = normalize(expected) @ values if known.any() else np.zeros(len(texts))
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-5)


def test_sum_is_divided_by_the_norm_of_the_weights() -> None:
    layer = wide(scale=3.0)
    layer.adapt(np.array([[5, 6]] * 2, np.int32))
    # Both words are in every text: importance 1. Twice weighs 1 + log 2.
    table = np.zeros((16, 2), np.float32)
    for word, row in ((5, (1.0, 0.0)), (6, (0.0, 2.0))):
        table[np.searchsorted(np.asarray(layer.codes), codes_of([word], 1)[0])] = row
    layer.table.assign(table)
    twice = 1 + math.log(2)
    norm = math.hypot(1, twice)
    logits = layer(np.array([[6, 5, 6, 0, 0]], np.int32))
    np.testing.assert_allclose(logits, [[3 / norm, 3 * 2 * twice / norm]], rtol=1e-6)
    # Words that were never seen weigh nothing, and nothing is divided by zero.
    np.testing.assert_array_equal(layer(np.array([[7, 8]], np.int32)), [[0.0, 0.0]])


def test_words_are_cut_to_their_first_letters() -> None:
    layer = WordPrefixes(7, letters=3, first=2)
    tokens = np.array([[0, 1, 2, 3, 4, 5, 6]], np.int32)
    np.testing.assert_array_equal(layer(tokens), tokens)
    layer.adapt(["model", "mode", "mod", "we", "moon"])
    np.testing.assert_array_equal(layer(tokens), [[0, 1, 2, 2, 2, 3, 4]])


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
