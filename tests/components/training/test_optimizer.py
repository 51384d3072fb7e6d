"""The fused Adam against Keras's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.model.layers import NGRAM_TABLE
from components.training.optimizer import FusedAdam


def test_gives_keras_values() -> None:
    random = np.random.default_rng(0)
    start = random.normal(size=(9, 4)).astype(np.float32)
    rows = [random.permutation(9)[:3] for _ in range(6)]
    sparse = [random.normal(size=(3, 4)).astype(np.float32) for _ in range(6)]
    dense = [random.normal(size=(9, 4)).astype(np.float32) for _ in range(6)]
    results = []
    for kind in (keras.optimizers.Adam, FusedAdam):
        table, other = keras.Variable(start), keras.Variable(start)
        schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
        optimizer = kind(schedule, global_clipnorm=2.0)
        optimizer.build([table, other])
        for index, values, gradient in zip(rows, sparse, dense, strict=True):
            slices = tf.IndexedSlices(tf.constant(values), tf.constant(index), tf.constant([9, 4]))
            optimizer.apply([slices, tf.constant(gradient)])
        results.append([np.array(v) for v in (table, other, *optimizer.variables)])
    assert len(results[0]) == len(results[1])
    for expected, actual in zip(*results, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(results[1][0] - start).max() > 0.1


@pytest.mark.parametrize("accumulator", [0.0, 0.3])
def test_ngram_table_learns_by_adagrad(accumulator: float) -> None:
    random = np.random.default_rng(0)
    start = random.normal(size=(9, 4)).astype(np.float32)
    gradients = random.normal(size=(5, 9, 4)).astype(np.float32)
    gradients[:, 0] = 0.0
    table = keras.Variable(start, name=NGRAM_TABLE)
    optimizer = FusedAdam(1e-3, table_learning_rate=0.2, table_accumulator=accumulator)
    optimizer.build([table])
    expected, total = start.astype(np.float64), np.full((9, 4), accumulator)
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient)])
        total += np.square(gradient, dtype=np.float64)
        expected -= 0.2 * gradient / (np.sqrt(total) + optimizer.epsilon)
    np.testing.assert_allclose(np.array(table), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(np.array(table)[0], start[0])


def test_ngram_table_sums_what_a_batch_says_of_a_row_twice() -> None:
    random = np.random.default_rng(1)
    start = random.normal(size=(9, 4)).astype(np.float32)
    values = random.normal(size=(5, 4)).astype(np.float32)
    slices = tf.IndexedSlices(
        tf.constant(values), tf.constant([7, 2, 7, 0, 2]), tf.constant([9, 4])
    )
    tables = []
    for gradient in (slices, tf.convert_to_tensor(slices)):
        table = keras.Variable(start, name=NGRAM_TABLE)
        optimizer = FusedAdam(1e-3, table_learning_rate=0.2)
        optimizer.build([table])
        for _ in range(3):
            optimizer.apply([gradient])
        tables.append([np.array(v) for v in (table, *optimizer.variables)])
    for sparse, dense in zip(*tables, strict=True):
        np.testing.assert_allclose(sparse, dense, rtol=1e-6)
