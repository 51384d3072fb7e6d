"""The report of the installed wheel, with what its extra for the pipeline brings."""

from __future__ import annotations

import pickle
from typing import Any

from components.report.run_facts import collect

from .conftest import MadeRun

RENDER = """
import pickle, sys
from components.report.page import render
import pipeline.graph, pipeline.launch.pipeline_run
sys.stdout.write(render(pickle.load(sys.stdin.buffer)))
"""


def test_installed_wheel_renders_the_same_page(
    installed_wheel: Any, run: MadeRun, page: str
) -> None:
    facts = pickle.dumps(collect(run.sources))
    done = installed_wheel.run("python", "-c", RENDER, extra="pipeline", stdin=facts)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == page
