"""The state from which a killed training resumes: a file, replaced atomically after each epoch."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from components import atomic

Arrays = list[npt.NDArray[Any]]

_FILE = "state.npz"
_HISTORY = "history"
_GROUPS = ("best", "weights", "optimizer", "seeds")
# States of other settings or data that are kept, in case the user returns to them.
_KEPT_OTHERS = 2


@dataclass
class State:
    """The state of training after an epoch.

    Attributes:
        history: one record per epoch, over all phases.
        best: weights of the best epoch.
        weights, optimizer, seeds: variables after the last epoch.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    best: Arrays = field(default_factory=list)
    weights: Arrays = field(default_factory=list)
    optimizer: Arrays = field(default_factory=list)
    seeds: Arrays = field(default_factory=list)


def seed_states(model: keras.Model) -> list[keras.Variable]:
    """Returns the variables of the model's random generators (dropout), in a fixed order."""
    weights = {id(weight) for weight in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


def read_variables(variables: Sequence[keras.Variable]) -> Arrays:
    """Returns copies of the variables' values."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def assign_variables(variables: Sequence[keras.Variable], arrays: Arrays) -> None:
    """Sets the variables; raises ValueError if their number or a shape differs."""
    if [tuple(variable.shape) for variable in variables] != [array.shape for array in arrays]:
        raise ValueError("the saved state belongs to another model")
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def save_state(folder: Path, state: State) -> None:
    """Writes the state atomically."""
    arrays = {
        f"{group}.{index}": array
        for group in _GROUPS
        for index, array in enumerate(getattr(state, group))
    }
    arrays[_HISTORY] = np.frombuffer(json.dumps(state.history).encode(), np.uint8)
    atomic.sweep(folder / _FILE)
    with atomic.replacing(folder / _FILE) as scratch, scratch.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


def load_state(folder: Path) -> State | None:
    """Returns the saved state, or None if it is missing or unreadable."""
    try:
        # Opened here, since numpy does not close a file that is not an archive.
        with (
            (folder / _FILE).open("rb") as stream,
            np.load(stream, allow_pickle=False) as arrays,
        ):
            groups: dict[str, Arrays] = {group: [] for group in _GROUPS}
            # The archive keeps the order of writing.
            for name in arrays.files:
                if name != _HISTORY:
                    groups[name.partition(".")[0]].append(arrays[name])
            return State(json.loads(bytes(arrays[_HISTORY])), **groups)
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None


def prune_states(root: Path, key: str) -> None:
    """Removes the oldest states other than ``key`` under ``root``; a state can be large.

    Also removes the folders in which a killed training had not completed its first save.
    """
    states = sorted(root.glob(f"*/{_FILE}"), key=lambda path: path.stat().st_mtime, reverse=True)
    kept = [path.parent for path in states if path.parent.name != key][:_KEPT_OTHERS]
    for folder in root.glob("*/"):
        if folder.name != key and folder not in kept:
            shutil.rmtree(folder, ignore_errors=True)
