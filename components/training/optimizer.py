"""Adam with one kernel per variable, and Adagrad for the n-gram tables."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from components.model.keras_compat import adam_slots
from components.model.layers import NGRAM_TABLE


class FusedAdam(keras.optimizers.Adam):
    """Keras's Adam, updated by TensorFlow's fused kernel.

    Keras updates a variable in some ten operations, each a pass over the whole variable. For a
    table of word vectors, the kernel takes less than half of their time. The formula, its epsilon
    and the optimizer's variables are the same.

    Variables named :data:`~components.model.layers.NGRAM_TABLE` are updated by Adagrad (Duchi et
    al., 2011) with a constant rate instead: one epoch fits a linear model over rare features as
    well as many epochs of Adam, rare classes included. Its sums of squared gradients start at
    ``table_accumulator``. From 0, the first step of each row would have the full rate's length
    however small the gradient, which for rare n-grams is mostly noise.
    """

    def __init__(
        self,
        *args: Any,
        table_learning_rate: float = 0.2,
        table_accumulator: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.table_learning_rate = table_learning_rate
        self.table_accumulator = table_accumulator
        self._table_sums: set[int] = set()

    def build(self, variables: Any) -> None:
        """Creates the slots, and remembers those of the n-gram tables."""
        super().build(variables)
        # update_step gets TensorFlow's variables, which have other names.
        for variable in variables:
            if variable.name == NGRAM_TABLE:
                _, sums = adam_slots(self, variable)
                sums.assign(keras.ops.full_like(sums, self.table_accumulator))
                self._table_sums.add(id(sums))

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable, float32, from its gradient, dense or IndexedSlices."""
        dtype = variable.dtype
        momentum, velocity = adam_slots(self, variable)
        if id(velocity) in self._table_sums:
            rows, sums = _summed_rows(gradient)
            tf.raw_ops.ResourceSparseApplyAdagradV2(
                var=_handle(variable),
                accum=_handle(velocity),
                lr=tf.constant(self.table_learning_rate, dtype),
                epsilon=tf.constant(self.epsilon, dtype),
                grad=tf.cast(sums, dtype),
                indices=rows,
            )
            return
        step = tf.cast(tf.convert_to_tensor(self.iterations) + 1, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(momentum),
            v=_handle(velocity),
            beta1_power=tf.pow(tf.cast(self.beta_1, dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, dtype), step),
            lr=tf.cast(learning_rate, dtype),
            beta1=tf.cast(self.beta_1, dtype),
            beta2=tf.cast(self.beta_2, dtype),
            epsilon=tf.cast(self.epsilon, dtype),
            grad=tf.cast(tf.convert_to_tensor(gradient), dtype),
        )


def _summed_rows(gradient: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the distinct rows of a gradient, and the sum of its values for each.

    A batch touches a few per cent of a table, and Adagrad leaves the other rows unchanged.
    """
    if not isinstance(gradient, tf.IndexedSlices):
        return tf.range(tf.shape(gradient)[0]), gradient
    rows, places = tf.unique(gradient.indices)
    return rows, tf.math.unsorted_segment_sum(gradient.values, places, tf.size(rows))


def _handle(variable: Any) -> tf.Tensor:
    if isinstance(variable, keras.Variable):
        variable = variable.value
    return variable.handle
