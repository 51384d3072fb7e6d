"""A stop is a stop: whatever the work does, its exit code, its record, and no push after it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("stopped_work.py")
ROUNDS = 25


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "destructors", "weak_references", "collections", "wrapped", "swallowed",
        "c_code_with_the_interpreter_lock", "threads", "processes", "beam_steps",
    ],
)  # fmt: skip
def test_stop_at_any_moment_is_a_stop(tmp_path: Path, repository: Path, kind: str) -> None:
    seed = time.time_ns() % 10_000
    done = subprocess.run(
        [sys.executable, SCRIPT, kind, str(ROUNDS), str(seed), tmp_path],
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    rounds = json.loads(done.stdout)
    assert len(rounds) == ROUNDS
    for one in rounds:
        told = (seed, one)
        if one["code"] == 0:
            # It had ended before the signal came.
            assert one["known"], told
            assert one["recorded"] is None, told
            continue
        assert one["code"] == 128 + one["sent"], told
        assert one["seconds"] < 5, told
        assert one["left"] == [], told
        # A push is whole or absent, and none begins after the stop.
        assert (one["visible"] is None) == (one["known"] is None), told
        if one["recorded"] is None:
            continue
        assert one["recorded"] == signal.Signals(one["sent"]).name, told
        if one["begun"] is not None and one["begun"] > one["stopped_at"]:
            assert one["visible"] is None, told
    assert sum(one["code"] != 0 for one in rounds) > ROUNDS / 2
