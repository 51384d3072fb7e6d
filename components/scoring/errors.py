"""Errors of loading and calling a SavedModel, in one line each."""

from __future__ import annotations

import re

from components.errors import UserError, one_line

# As in "[[{{node Assert}}]]", "{{function_node f}} no such word" and "no such word [Op:Lookup]".
_OF_GRAPH = re.compile(r"^\[\[.*|^\{\{.*?\}\}\s*|\s*\[Op:\w+\].*$")


class ScoringError(UserError):
    """A SavedModel cannot be used.

    Attributes:
        reason: the message without the model's folder.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or message


class LoadError(ScoringError):
    """The folder has no SavedModel that TensorFlow can load."""


class SignatureError(ScoringError):
    """The model lacks the signature, or it does not have a classifier's inputs and outputs."""


class RefusedError(ScoringError):
    """A call of the model failed."""


def reason_of_load(error: Exception) -> str:
    """Returns why a model was not loaded: TensorFlow's first line, before its advice."""
    # The message of a KeyError is only the key.
    prefix = "KeyError: " if isinstance(error, KeyError) else ""
    return prefix + next(iter(_lines(error)), type(error).__name__)


def reason_of_run(error: Exception) -> str:
    """Returns why a call of the model failed: TensorFlow's last line, after the node's trace."""
    return next(reversed(_lines(error)), type(error).__name__)


def _lines(error: Exception) -> list[str]:
    """Returns the lines of TensorFlow's message, without names of nodes and operations."""
    message = getattr(error, "message", None) or str(error)
    lines = (_OF_GRAPH.sub("", line.strip()) for line in message.splitlines())
    return [one_line(line) for line in lines if line]
