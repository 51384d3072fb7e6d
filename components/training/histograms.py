"""Writes histograms of the weights for TensorBoard."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

# TensorBoard's histograms need some 240 bytes per number: gigabytes for an n-gram table.
_LARGEST = 100_000


class WeightHistograms(keras.callbacks.Callback):
    """Writes the distribution of each float weight, or of a regular sample of a large one.

    Args:
        folder: TensorBoard folder; created with the first histogram.
        every: epochs between histograms; 0 for none.
    """

    def __init__(self, folder: str, every: int) -> None:
        super().__init__()
        self._folder, self._every = folder, every
        self._writer: Any = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        del logs
        if not self._every or epoch % self._every:
            return
        self._writer = self._writer or tf.summary.create_file_writer(self._folder)
        with self._writer.as_default():
            for weight in self.model.weights:
                if keras.backend.is_float_dtype(weight.dtype):
                    values = keras.ops.convert_to_numpy(weight).ravel()
                    step = -(-len(values) // _LARGEST)
                    tf.summary.histogram(weight.path, values[::step], step=epoch)
        self._writer.flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        del logs
        if self._writer is not None:
            self._writer.close()
