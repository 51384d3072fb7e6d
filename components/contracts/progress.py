"""Progress records that nodes send in log messages.

A node logs a record as the only argument, ``logging.info("%s", record)``. The log file gets its
text; a handler that shows progress takes the record itself from the message's arguments.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from components.contracts.training_report import Epoch


@dataclass(frozen=True)
class Note:
    """A line that a node shows to the user."""

    text: str

    def __str__(self) -> str:
        return self.text


class EpochProgress(Epoch):
    """A finished epoch of training, and where it stands."""

    epochs: int = 0
    """Highest number that the phase may have."""
    improved: bool = False
    """Whether it is the best epoch so far, over both phases."""
    done: bool = False
    """Whether its phase ends with it."""

    @property
    def epochs_left(self) -> int:
        """Highest number of epochs that the phase still has."""
        return 0 if self.done else self.epochs - self.epoch

    def __str__(self) -> str:
        line = (
            f"training: phase {self.phase} epoch {self.epoch}/{self.epochs}"
            f"  loss {self.loss:.4f}  val loss {self.val_log_loss:.4f}"
            f"  val accuracy {self.val_accuracy:.4f}  val macro-F1 {self.val_macro_f1:.4f}"
            f"  lr {self.learning_rate:.2g}  {self.seconds:.1f} s"
        )
        if self.improved:
            line += "  best"
        if not self.done:
            return line + f"  at most {self.epochs_left * self.seconds:.0f} s left in phase"
        return line + "  phase stopped early" if self.epoch < self.epochs else line


def progress_in(message: logging.LogRecord) -> Note | EpochProgress | None:
    """Returns the progress record of a log message; None if it has none."""
    match message.args:
        case (Note() | EpochProgress() as progress,):
            return progress
    return None
