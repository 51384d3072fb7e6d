"""What there is to see without a GPU: which devices are asked for, and what a graph would hold."""

from __future__ import annotations

import importlib
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from components.model.architectures import build_model
from components.model.model_settings import ModelSettings
from components.training import device
from components.training.device import prepare_device, uses_cudnn

LENGTH = 5


class Gpu(NamedTuple):
    name: str


def with_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> list[tuple[Gpu, bool]]:
    """Lets TensorFlow list GPUs; returns those whose memory is to grow, as they are told."""
    told: list[tuple[Gpu, bool]] = []
    gpus = [Gpu(f"/physical_device:GPU:{index}") for index in range(count)]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus * (kind == "GPU"))
    experimental = tf.config.experimental
    monkeypatch.setattr(experimental, "set_memory_growth", lambda *told_now: told.append(told_now))
    monkeypatch.setattr(experimental, "get_device_details", lambda _: {"device_name": "NVIDIA X"})
    return told


def test_one_gpu_grows_its_memory_and_needs_no_strategy(monkeypatch) -> None:
    told = with_gpus(monkeypatch, 1)
    found = prepare_device(2)
    assert told == [(Gpu("/physical_device:GPU:0"), True)]
    assert (found.description, found.gpus) == ("NVIDIA X", 1)
    assert found.strategy is tf.distribute.get_strategy()


def test_several_gpus_are_mirrored(monkeypatch) -> None:
    told = with_gpus(monkeypatch, 3)
    mirrored = object()
    monkeypatch.setattr(device.tf.distribute, "MirroredStrategy", lambda: mirrored)
    found = prepare_device(2)
    assert [growth for _, growth in told] == [True] * 3
    assert (found.description, found.gpus) == ("3 x NVIDIA X, mirrored", 3)
    assert found.strategy is mirrored


@pytest.mark.parametrize("architecture", ["bilstm_wide", "notebook"])
def test_where_there_is_a_gpu_the_graph_holds_cudnns_kernel_unless_it_is_for_export(
    monkeypatch, architecture
) -> None:
    settings = ModelSettings(architecture=architecture)
    vectors = np.zeros((10, 4), np.float32)

    def traced(**options: bool) -> bool:
        return uses_cudnn(build_model(settings, vectors, LENGTH, 3, **options), LENGTH)

    assert traced() is False
    # Keras asks this, when a layer is traced; the graph is not run here.
    backend = importlib.import_module("keras.src.backend.tensorflow.rnn")
    monkeypatch.setattr(backend, "_is_gpu_available", lambda: True)
    assert traced() is True
    assert traced(serving=True) is False
