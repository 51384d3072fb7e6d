"""The private names of Keras 3.12 that this project uses, and why."""

from __future__ import annotations

from typing import Any

import keras


def adam_slots(optimizer: keras.optimizers.Adam, variable: Any) -> tuple[Any, Any]:
    """Returns Adam's momentum and velocity of a variable.

    ``update_step`` receives TensorFlow's variable, and Keras has no public way from it to the
    slots.
    """
    index = optimizer._get_variable_index(variable)
    return optimizer._momentums[index], optimizer._velocities[index]
