"""Adam as one kernel a variable, and Adagrad for the n-gram table."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from components.model.layers import NGRAM_TABLE


@keras.saving.register_keras_serializable("arxiv")
class FusedAdam(keras.optimizers.Adam):
    """Keras's Adam, its update done by TensorFlow's fused kernel.

    Keras composes the update of some ten operations, each a pass over the whole variable, which
    tells for a table of word vectors: the kernel needs less than half the time. The formula, its
    epsilon and the optimizer's variables are the same.

    A variable named :data:`~components.model.layers.NGRAM_TABLE` gets Adagrad (Duchi et al., 2011)
    with a constant rate of its own instead: one epoch of it fits a linear model over rare features
    as well as many of Adam, without leaving the rare classes behind. Its sums of squared gradients
    start at ``table_accumulator``; from 0, the first step of each row would be a whole rate long
    however little the gradient says, which for rare n-grams is mostly noise.
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
        self._tables: set[int] = set()

    def build(self, variables: Any) -> None:
        """Makes the slots, and notes which of the Keras variables are n-gram tables."""
        super().build(variables)
        # Updates get TensorFlow's variables, whose names are others.
        self._tables = {
            self._get_variable_index(variable)
            for variable in variables
            if variable.name == NGRAM_TABLE
        }
        for index in self._tables:
            sums = self._velocities[index]
            sums.assign(keras.ops.full_like(sums, self.table_accumulator))

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable, float32, from its gradient, dense or IndexedSlices."""
        dtype = variable.dtype
        index = self._get_variable_index(variable)
        if index in self._tables:
            rows, sums = _summed_rows(gradient)
            tf.raw_ops.ResourceSparseApplyAdagradV2(
                var=_handle(variable),
                accum=_handle(self._velocities[index]),
                lr=tf.constant(self.table_learning_rate, dtype),
                epsilon=tf.constant(self.epsilon, dtype),
                grad=tf.cast(sums, dtype),
                indices=rows,
            )
            return
        step = tf.cast(tf.convert_to_tensor(self.iterations) + 1, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[index]),
            v=_handle(self._velocities[index]),
            beta1_power=tf.pow(tf.cast(self.beta_1, dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, dtype), step),
            lr=tf.cast(learning_rate, dtype),
            beta1=tf.cast(self.beta_1, dtype),
            beta2=tf.cast(self.beta_2, dtype),
            epsilon=tf.cast(self.epsilon, dtype),
            grad=tf.cast(tf.convert_to_tensor(gradient), dtype),
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "table_learning_rate": self.table_learning_rate,
            "table_accumulator": self.table_accumulator,
        }


def _summed_rows(gradient: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """The rows that a gradient touches, each once, and the sums of what it holds for them.

    A batch reaches a few per cent of a table, and Adagrad leaves the others as they are.
    """
    if not isinstance(gradient, tf.IndexedSlices):
        return tf.range(tf.shape(gradient)[0]), gradient
    rows, places = tf.unique(gradient.indices)
    return rows, tf.math.unsorted_segment_sum(gradient.values, places, tf.size(rows))


def _handle(variable: Any) -> tf.Tensor:
    if isinstance(variable, keras.Variable):
        variable = variable.value
    return variable.handle
