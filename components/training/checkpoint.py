"""What a killed training needs to go on: one file, replaced atomically after each epoch."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

Arrays = list[npt.NDArray[Any]]

_FILE = "state.npz"
_META = "progress"
# Folders of other settings or data that are kept, in case one goes back to them.
_KEPT_OTHERS = 2


@dataclass
class Progress:
    """Counters of a training after a finished epoch.

    Attributes:
      phase: 1 or 2.
      finished: epochs done in this phase.
      done: whether this phase has ended.
      history: one record an epoch, over both phases.
      best: best value of the monitored figure so far, signed so that less is better.
      best_record: index into ``history`` of that value.
      phase_best: the same within this phase.
      waited: epochs of this phase since ``phase_best``.
    """

    phase: int = 1
    finished: int = 0
    done: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)
    best: float = float("inf")
    best_record: int = -1
    phase_best: float = float("inf")
    waited: int = 0


@dataclass
class State:
    """A training after a finished epoch: its counters and every array that later steps read."""

    progress: Progress
    best: Arrays
    weights: Arrays
    optimizer: Arrays
    seeds: Arrays


def seed_states(model: keras.Model) -> list[keras.Variable]:
    """Variables of the model's random generators (dropout), in a fixed order."""
    found: dict[int, keras.Variable] = {}
    for layer in model._flatten_layers(include_self=False):
        weights = {id(weight) for weight in layer.weights}
        for variable in layer.variables:
            if id(variable) not in weights:
                found[id(variable)] = variable
    return list(found.values())


def read_variables(variables: Sequence[keras.Variable]) -> Arrays:
    """Copies of the variables' values."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def assign_variables(variables: Sequence[keras.Variable], arrays: Arrays) -> None:
    """Sets the variables.

    Raises:
      ValueError: their number or a shape differs.
    """
    if [tuple(variable.shape) for variable in variables] != [array.shape for array in arrays]:
        raise ValueError("the saved state belongs to another model")
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def save_state(folder: Path, state: State) -> None:
    """Writes the state so that at any moment the folder holds the old one or the new one, whole."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, npt.NDArray[Any]] = {
        _META: np.frombuffer(json.dumps(asdict(state.progress)).encode(), np.uint8)
    }
    for group in ("best", "weights", "optimizer", "seeds"):
        for index, array in enumerate(getattr(state, group)):
            arrays[f"{group}.{index}"] = array
    temporary = folder / f"{_FILE}.writing"
    with temporary.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(folder / _FILE)


def load_state(folder: Path) -> State | None:
    """Returns the saved state, or None where there is none or it cannot be read."""
    try:
        # Opened here: numpy would leave a file open that is no archive.
        with (
            (folder / _FILE).open("rb") as stream,
            np.load(stream, allow_pickle=False) as arrays,
        ):
            progress = Progress(**json.loads(bytes(arrays[_META])))
            return State(
                progress,
                *(_group(arrays, name) for name in ("best", "weights", "optimizer", "seeds")),
            )
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None


def _group(arrays: Mapping[str, npt.NDArray[Any]], name: str) -> Arrays:
    count = sum(key.startswith(f"{name}.") for key in arrays)
    return [arrays[f"{name}.{index}"] for index in range(count)]


def prune_states(root: Path, key: str) -> None:
    """Removes the oldest states of other settings under ``root``; a state can be large."""
    others = [path for path in root.glob(f"*/{_FILE}") if path.parent.name != key]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in others[_KEPT_OTHERS:]:
        shutil.rmtree(path.parent, ignore_errors=True)
