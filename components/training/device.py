"""Selects the training device, and finds out whether cuDNN's LSTM kernel is used."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import tensorflow as tf


@dataclass(frozen=True)
class Device:
    """Where training runs.

    Attributes:
        strategy: mirrored on several GPUs, else the default strategy.
        description: such as "2 x NVIDIA A100-SXM4-40GB, mirrored" or "CPU, 2 threads".
        gpus: number of GPUs in use.
    """

    strategy: tf.distribute.Strategy
    description: str
    gpus: int


def prepare_device(threads: int) -> Device:
    """Selects all visible GPUs, or the CPU, and lets GPU memory grow on demand.

    Args:
        threads: CPU threads, for the description.
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            # The process has already used the GPU.
            break
    if not gpus:
        return Device(tf.distribute.get_strategy(), f"CPU, {threads} threads", 0)
    name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    if len(gpus) == 1:
        return Device(tf.distribute.get_strategy(), str(name), 1)
    strategy = tf.distribute.MirroredStrategy()
    return Device(strategy, f"{len(gpus)} x {name}, mirrored", len(gpus))


def uses_cudnn(model: keras.Model, sequence_length: int) -> bool:
    """Returns whether the graph of ``model``, traced here, has cuDNN's recurrent kernel."""
    function = tf.function(lambda tokens: model(tokens, training=True))
    graph = function.get_concrete_function(
        tf.TensorSpec([None, sequence_length], tf.int32)
    ).graph.as_graph_def()
    nodes = [node.op for node in graph.node]
    nodes += [node.op for function in graph.library.function for node in function.node_def]
    return any(op.startswith("CudnnRNN") for op in nodes)
