"""Process settings that must be in place before TensorFlow is first imported."""

import os
from collections.abc import MutableMapping


def prepare(*, quiet: bool, environ: MutableMapping[str, str] | None = None) -> None:
    """Sets what TensorFlow, Keras and their children read from the environment at import time.

    Args:
        quiet: True where the terminal is still the process's stderr (nothing of TensorFlow's native
            log may appear); False once it is redirected to a log file, where warnings are of use.
        environ: the mapping to change; ``os.environ`` when None.
    """
    env = os.environ if environ is None else environ
    env["TF_CPP_MIN_LOG_LEVEL"] = "3" if quiet else "1"
    # One engine for `import keras`, whatever ~/.keras/keras.json or the shell says.
    env["KERAS_BACKEND"] = "tensorflow"
    # tensorflow-transform sets this to 1 when it is absent, so that what `tf.keras` means depends
    # on who imports first and differs in child processes. With 0 it is Keras 3 everywhere, as in
    # the tests; where TFT and TFMA need Keras 2 they import tf_keras by name.
    env["TF_USE_LEGACY_KERAS"] = "0"
    # Every node runs in this one process, and TensorFlow cannot hide a GPU for some of them once it
    # has started. So the nodes before the Trainer see it too; they must take only what they use.
    env.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


def claim_gpus() -> list[str]:
    """Lets this process, and none of its children, use the GPUs.

    The CUDA driver reads ``CUDA_VISIBLE_DEVICES`` once, when a process first lists its devices. So
    they are listed here, and the variable is changed afterwards: Beam worker processes inherit
    it and see no GPU, while the Trainer, in this process, keeps its own.

    Returns:
        Names of the GPUs this process may use; empty on a CPU-only machine.
    """
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    for device in devices:
        tf.config.experimental.set_memory_growth(device, True)
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    return [device.name for device in devices]
