"""Which device trains, and whether cuDNN's LSTM kernel runs there."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import tensorflow as tf


@dataclass(frozen=True)
class Device:
    """Where training runs.

    Attributes:
        strategy: how variables and batches are spread; the default strategy on up to one GPU.
        description: for people, such as "2 x NVIDIA A100-SXM4-40GB, mirrored" or "CPU, 2 threads".
        gpus: GPUs in use.
    """

    strategy: tf.distribute.Strategy
    description: str
    gpus: int


def prepare_device(threads: int) -> Device:
    """Picks all visible GPUs, or the CPU, and lets GPU memory grow instead of taking all of it.

    Args:
        threads: of the CPU, for the description.
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            # The process has used the GPU before; its memory is laid out already.
            break
    if not gpus:
        return Device(tf.distribute.get_strategy(), f"CPU, {threads} threads", 0)
    name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    if len(gpus) == 1:
        return Device(tf.distribute.get_strategy(), str(name), 1)
    strategy = tf.distribute.MirroredStrategy()
    return Device(strategy, f"{len(gpus)} x {name}, mirrored", len(gpus))


def uses_cudnn(model: keras.Model, sequence_length: int) -> bool:
    """Whether the graph of ``model`` holds cuDNN's recurrent kernel, as it is traced here."""
    function = tf.function(lambda tokens: model(tokens, training=True))
    graph = function.get_concrete_function(
        tf.TensorSpec([None, sequence_length], tf.int32)
    ).graph.as_graph_def()
    nodes = [node.op for node in graph.node]
    nodes += [node.op for function in graph.library.function for node in function.node_def]
    return any(op.startswith("CudnnRNN") for op in nodes)
