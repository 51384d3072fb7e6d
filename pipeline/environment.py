"""Process settings that must be in place before TensorFlow is first imported."""

import os
import tempfile
from collections.abc import MutableMapping

from components.errors import UserError


def prepare(*, quiet: bool, environ: MutableMapping[str, str] | None = None) -> None:
    """Sets the environment variables that TensorFlow and Keras read at import time.

    Args:
        quiet: silences TensorFlow's native log, except for fatal errors: for a terminal.
        environ: the mapping to change; ``os.environ`` if None.

    Raises:
        UserError: there is no temporary folder, without which TensorFlow cannot be imported.
    """
    temporary_folder()
    env = os.environ if environ is None else environ
    env["TF_CPP_MIN_LOG_LEVEL"] = "3" if quiet else "1"
    # The same backend whatever ~/.keras/keras.json or the shell says.
    env["KERAS_BACKEND"] = "tensorflow"
    # tensorflow-transform sets this to 1 if it is absent, so the meaning of `tf.keras` would depend
    # on the order of imports and differ in child processes. With 0 it is Keras 3 everywhere; where
    # TFT and TFMA need Keras 2, they import tf_keras by name.
    env["TF_USE_LEGACY_KERAS"] = "0"
    # Every node runs in this process, and TensorFlow, once started, cannot hide a GPU from some of
    # them. So the nodes before the Trainer see it too, and must not reserve all of its memory.
    env.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


def temporary_folder() -> str:
    """Returns the folder for temporary files.

    Raises:
        UserError: none can be written to.
    """
    try:
        return tempfile.gettempdir()
    except FileNotFoundError as error:
        raise UserError(
            "no temporary folder can be written to, neither the one that TMPDIR names nor /tmp; "
            "set TMPDIR to one that can"
        ) from error


def claim_gpus() -> list[str]:
    """Reserves the GPUs for this process, whose children see none; returns the GPUs' names.

    The CUDA driver reads ``CUDA_VISIBLE_DEVICES`` once, when a process first lists its devices. So
    they are listed here before the variable is changed: Beam worker processes inherit it and see no
    GPU, while the Trainer, in this process, still does.
    """
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    for device in devices:
        tf.config.experimental.set_memory_growth(device, True)
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    return [device.name for device in devices]
