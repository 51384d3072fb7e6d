"""What the networks promise: blind to padding, the notebook's sizes, freezable, copyable."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest

from components.contracts import features
from components.model.architectures import (
    CATEGORY_LAYER_OF,
    CATEGORY_LAYERS,
    DEEP_LAYER,
    EMBEDDING_LAYER,
    PATH_LAYERS,
    PREFIX_LAYER,
    WIDE_LAYER,
    adapt,
    build_model,
    with_probabilities,
)
from components.model.layers import WideNgrams
from components.model.model_settings import ModelSettings

WORDS, WIDTH, CLASSES = 40, 6, 7
# Their first five letters make nine prefixes.
pytestmark = pytest.mark.slow

VOCABULARY = [f"word{'abcdefghi'[i % 9]}{i}" for i in range(WORDS - 2)]
Tokens = npt.NDArray[np.int32]
SMALL = ModelSettings(lstm_units=5, dense_units=8, wide_ngrams=1024)


def make_tokens(rows: int = 64, length: int = 9) -> Tokens:
    return np.random.default_rng(1).integers(1, WORDS, (rows, length)).astype(np.int32)


def make_model(settings: ModelSettings = SMALL, **options: Any) -> keras.Model:
    """A model whose every weight is random, the n-gram table too, which starts at zero."""
    keras.utils.set_random_seed(0)
    matrix = np.random.default_rng(0).normal(size=(WORDS, WIDTH)).astype(np.float32)
    model = build_model(settings, matrix, options.pop("length", None), CLASSES, **options)
    adapt(model, make_tokens(rows=2000), VOCABULARY)
    for layer in model.layers:
        if isinstance(layer, WideNgrams):
            table = np.random.default_rng(2).normal(size=layer.table.shape)
            layer.table.assign(table.astype(np.float32))
    return model


def predict(model: keras.Model, tokens: Tokens) -> npt.NDArray[np.float32]:
    logits: npt.NDArray[np.float32] = model.predict_on_batch(tokens)
    return logits


@pytest.mark.parametrize(
    "settings",
    [
        SMALL,
        SMALL.model_copy(update={"lstm_units": 0}),
        SMALL.model_copy(update={"wide_ngrams": 0}),
        SMALL.model_copy(update={"wide_letters": 0}),
    ],
    ids=["all", "wide-alone", "no-wide", "whole-words"],
)
def test_padding_changes_nothing(settings: ModelSettings) -> None:
    model = make_model(settings)
    tokens = make_tokens(rows=4)
    padded = np.pad(tokens, ((0, 0), (0, 7)))
    np.testing.assert_allclose(predict(model, padded), predict(model, tokens), atol=1e-5)


def test_texts_of_one_batch_do_not_touch_each_other() -> None:
    model = make_model()
    short, long = make_tokens(length=3)[:1], make_tokens(length=12)[1:2]
    both = np.concatenate([np.pad(short, ((0, 0), (0, 9))), long])
    alone = np.concatenate([predict(model, short), predict(model, long)])
    np.testing.assert_allclose(predict(model, both), alone, atol=1e-5)


def test_texts_of_unknown_words_and_of_one_word_have_finite_logits() -> None:
    model = make_model()
    unknown = np.full((1, 5), features.OOV_ID, np.int32)
    one = np.array([[7]], np.int32)
    for tokens in (unknown, one, np.zeros((1, 4), np.int32)):
        assert np.isfinite(predict(model, tokens)).all()


def test_notebook_is_the_notebooks_model() -> None:
    matrix = np.zeros((40_000, 100), np.float32)
    model = build_model(ModelSettings(architecture="notebook"), matrix, 150, CLASSES)
    lstm = 2 * 4 * 64 * (100 + 64 + 1)
    assert model.count_params() == 40_000 * 100 + lstm + (128 * 32 + 32) + (32 * 7 + 7)
    kinds = [type(layer).__name__ for layer in model.layers[1:]]
    assert kinds == ["Embedding", "Bidirectional", "Dropout", "Dense", "Dense"]
    assert not model.get_layer(EMBEDDING_LAYER).mask_zero
    assert model.get_layer("bilstm").forward_layer.dropout == 0.2
    assert model.layers[3].rate == 0.5


def test_notebook_reads_its_padding() -> None:
    model = make_model(ModelSettings(architecture="notebook"))
    tokens = make_tokens(rows=2)
    padded = np.pad(tokens, ((0, 0), (0, 7)))
    assert np.abs(predict(model, padded) - predict(model, tokens)).max() > 1e-3


def test_embedding_holds_the_given_vectors() -> None:
    matrix = np.random.default_rng(3).normal(size=(WORDS, WIDTH)).astype(np.float32)
    model = build_model(SMALL, matrix, None, CLASSES)
    np.testing.assert_array_equal(model.get_layer(EMBEDDING_LAYER).get_weights()[0], matrix)


@pytest.mark.parametrize("trainable", [False, True])
def test_embedding_freezes_and_thaws(trainable: bool) -> None:
    model = make_model()
    embedding = model.get_layer(EMBEDDING_LAYER)
    embedding.trainable = trainable
    before = embedding.get_weights()[0]
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.train_on_batch(make_tokens(), np.arange(64) % CLASSES)
    assert (embedding.get_weights()[0] != before).any() == trainable


def test_learns_order_that_only_ngrams_and_lstm_can_see() -> None:
    tokens = np.array([[2, 3, 4], [4, 3, 2]], np.int32)
    bag = make_model(SMALL.model_copy(update={"lstm_units": 0, "wide_orders": (1,)}))
    np.testing.assert_allclose(*predict(bag, tokens), atol=1e-5)
    for path in ({"lstm_units": 0}, {"wide_ngrams": 0}):
        forward, backward = predict(make_model(SMALL.model_copy(update=path)), tokens)
        assert np.abs(forward - backward).max() > 1e-3


def test_weights_fit_the_build_for_serving() -> None:
    model, rebuilt = make_model(), make_model(serving=True)
    rebuilt.set_weights([np.zeros_like(weight) for weight in rebuilt.get_weights()])
    rebuilt.set_weights(model.get_weights())
    tokens = make_tokens(rows=3)
    np.testing.assert_allclose(predict(rebuilt, tokens), predict(model, tokens), atol=1e-6)
    layer = rebuilt.get_layer("bilstm").forward_layer
    assert layer.use_cudnn is False


def test_logits_are_the_mean_of_the_paths() -> None:
    model = make_model()
    paths = keras.Model(model.input, [model.get_layer(name).output for name in PATH_LAYERS])
    logits = np.stack(paths.predict_on_batch(make_tokens(rows=3)))
    assert len(logits) == 3
    np.testing.assert_allclose(predict(model, make_tokens(rows=3)), logits.mean(axis=0), atol=1e-5)


def test_one_wide_path_sees_only_the_prefixes_of_words() -> None:
    model = make_model()
    paths = keras.Model(
        model.input, [model.get_layer(name).output for name in (PREFIX_LAYER, WIDE_LAYER)]
    )
    # Tokens 2, 11 and 20 have the same prefix; 3 has another.
    cut, whole = (np.array(p) for p in paths.predict_on_batch(np.array([[2, 11], [20, 2], [2, 3]])))
    np.testing.assert_allclose(cut[0], cut[1], atol=1e-6)
    assert np.abs(cut[0] - cut[2]).max() > 1e-3
    assert np.abs(whole[0] - whole[1]).max() > 1e-3


def test_probabilities_follow_their_formula() -> None:
    model = make_model()
    tokens = make_tokens(rows=5)
    bias = np.linspace(-1, 1, CLASSES)
    z = (predict(model, tokens) + bias) / 1.7
    expected = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    scores = predict(with_probabilities(model, 1.7, bias), tokens)
    np.testing.assert_allclose(scores, expected, rtol=1e-4)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0.0, np.zeros(7)), "temperature must be above 0"), ((1.0, np.zeros(3)), r"shape \(7,\)")],
)
def test_impossible_calibration_is_refused(arguments: tuple[Any, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_probabilities(make_model(), *arguments)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="two axes"):
        build_model(SMALL, np.zeros(4, np.float32), None, CLASSES)
    with pytest.raises(ValueError, match="classes must be at least 2"):
        build_model(SMALL, np.zeros((4, 2), np.float32), None, 1)


GROUPS = [0, 1, 1, 2, 3, 4, 5, 6, 6]


def test_categories_decide_the_deep_paths_classes() -> None:
    model = make_model(SMALL.model_copy(update={"wide_ngrams": 0}), groups=GROUPS)
    tokens = make_tokens(rows=3)
    both = keras.Model(
        model.input, [model.output, model.get_layer(CATEGORY_LAYER_OF[DEEP_LAYER]).output]
    )
    logits, categories = (np.array(output) for output in both.predict_on_batch(tokens))
    for group in range(CLASSES):
        members = [i for i, owner in enumerate(GROUPS) if owner == group]
        expected = np.log(np.exp(categories[:, members]).sum(axis=1))
        np.testing.assert_allclose(logits[:, group], expected, rtol=1e-4, atol=1e-5)


def test_without_categories_the_paths_score_classes_themselves() -> None:
    whole = make_model(groups=GROUPS)
    without = make_model(SMALL.model_copy(update={"categories": False}), groups=GROUPS)
    categories = set(CATEGORY_LAYERS)
    assert categories <= {layer.name for layer in whole.layers}
    assert not categories & {layer.name for layer in without.layers}
    assert without.get_layer(DEEP_LAYER).get_weights()[0].shape[1] == CLASSES
    assert without.count_params() == make_model(groups=None).count_params()


def test_groups_of_too_few_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="groups must name 7 classes, received 3"):
        make_model(groups=[0, 1, 2])


def test_padding_changes_nothing_with_categories() -> None:
    model = make_model(groups=GROUPS)
    tokens = make_tokens(rows=4)
    padded = np.pad(tokens, ((0, 0), (0, 7)))
    np.testing.assert_allclose(predict(model, padded), predict(model, tokens), atol=1e-5)
