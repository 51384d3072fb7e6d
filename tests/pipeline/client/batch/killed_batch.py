"""Runs ``batch`` with a model that takes its time, to be killed on the way."""

import signal
import sys
import time
from typing import Any

import typer

from components.scoring.scorer import Scorer, Scores
from pipeline.client.batch.command import batch

_score = Scorer.score


def _slow_score(self: Scorer, *arguments: Any) -> Scores:
    time.sleep(0.3)
    return _score(self, *arguments)


if __name__ == "__main__":
    # A shell that starts this in the background has it ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    Scorer.score = _slow_score  # type: ignore[method-assign]
    app = typer.Typer()
    app.command()(batch)
    app(sys.argv[1:])
