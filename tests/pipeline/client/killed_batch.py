"""Runs ``batch`` with a model that takes its time, to be killed on the way."""

import signal
import sys
import time

import typer

from pipeline.client import batch_command, batch_model

_score = batch_model.Scorer.score


def _slow_score(self: batch_model.Scorer, texts: list[bytes]) -> batch_model.Scores:
    time.sleep(0.3)
    return _score(self, texts)


if __name__ == "__main__":
    # A shell that starts this in the background has it ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    batch_model.Scorer.score = _slow_score  # type: ignore[assignment, method-assign]
    app = typer.Typer()
    batch_command.register(app)
    app(sys.argv[1:])
