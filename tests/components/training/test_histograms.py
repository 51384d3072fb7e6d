"""What the histograms hold."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from components.training import histograms


def write(folder: Path, every: int, epochs: int) -> keras.Model:
    inputs = keras.Input((1,), dtype="int32")
    vectors = keras.layers.Embedding(400, 500, name="vectors")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, name="head")(vectors))
    callback = histograms.WeightHistograms(str(folder), every)
    callback.set_model(model)
    for epoch in range(epochs):
        callback.on_epoch_end(epoch)
    callback.on_train_end()
    return model


def test_each_weight_has_its_distribution_and_large_ones_a_sample(tmp_path: Path) -> None:
    model = write(tmp_path, every=2, epochs=3)
    events = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0})
    events.Reload()
    assert sorted(events.Tags()["tensors"]) == sorted(weight.path for weight in model.weights)
    shown = {
        path: [tf.make_ndarray(event.tensor_proto) for event in events.Tensors(path)]
        for path in events.Tags()["tensors"]
    }
    # Rows of left edge, right edge, count; epochs 0 and 2.
    table = shown["vectors/embeddings"]
    assert [rows[:, 2].sum() for rows in table] == [100_000, 100_000]
    values = np.array(model.get_layer("vectors").embeddings).ravel()[::2]
    assert table[0][0, 0] == values.min()
    assert table[0][-1, 1] == values.max()
    assert shown["head/kernel"][0][:, 2].sum() == 500


def test_none_are_written_where_none_are_wanted(tmp_path: Path) -> None:
    write(tmp_path / "weights", every=0, epochs=2)
    assert not (tmp_path / "weights").exists()
