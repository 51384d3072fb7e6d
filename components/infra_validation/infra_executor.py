"""Measures an exported model in a process of its own, and blesses it or not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import logging
from tfx import types

import components
from components import model_server
from components.infra_validation import local_server
from components.infra_validation.budgets import InfraValidationSettings
from components.infra_validation.checks import Check

REPORT_FILE = "infra_validation.json"
# As in tfx.components.infra_validator.executor; Pusher reads the property, people see the file.
BLESSED = "blessed"
BLESSED_FILE = "INFRA_BLESSED"
NOT_BLESSED_FILE = "INFRA_NOT_BLESSED"
# Custom properties besides: what the model ran in, and a line for each check that failed.
RUNTIME = "runtime"
REASONS = "reasons"

_PROBE = "components.infra_validation.probe"


def validate(model: Path, blessing: types.Artifact, settings: InfraValidationSettings) -> None:
    """Blesses a model or not, and writes down why.

    The probe runs again where only a budget of time or memory was missed.

    Args:
        model: folder of the SavedModel.
        blessing: gets the properties and, in its folder, the verdict.
        settings: budgets and tolerance.
    """
    for attempt in range(1, settings.tries + 1):
        runtime, note, checks, figures = _validate(model, settings)
        failed = [check for check in checks if not check.passed]
        if not failed or not all(check.budget for check in failed):
            break
        logging.warning("measurement %d of %d: %s", attempt, settings.tries, failed[0].line)
    reasons = [check.line for check in failed]
    report = {
        "blessed": not failed,
        "runtime": runtime,
        "note": note,
        "reasons": reasons,
        "checks": [check.to_json() for check in checks],
        "figures": figures,
    }
    folder = Path(blessing.uri)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REPORT_FILE).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (folder / (NOT_BLESSED_FILE if failed else BLESSED_FILE)).touch()
    blessing.set_int_custom_property(BLESSED, int(not failed))
    blessing.set_string_custom_property(RUNTIME, runtime)
    blessing.set_string_custom_property(REASONS, "\n".join(reasons))
    for check in checks:
        logging.info("%s: %s", "passed" if check.passed else "FAILED", check.line)


def _validate(
    model: Path, settings: InfraValidationSettings
) -> tuple[str, str, list[Check], dict[str, Any] | None]:
    """Returns what the model ran in, why in that, the checks, and the figures."""
    own = f"TensorFlow {tf.__version__}"
    if settings.runtime != "auto":
        note = f"infra_validation.runtime is {settings.runtime}"
        return own, note, *_probe(model, settings)
    try:
        with local_server.serving(model, settings.timeout_seconds) as running:
            pid = "" if running.pid is None else str(running.pid)
            where = (running.address, local_server.MODEL_NAME, pid, f"{running.load_seconds:.3f}")
            logging.info("infrastructure validation by %s", running.description)
            return running.description, "", *_probe(model, settings, where)
    except model_server.NoServerError as error:
        note = f"{error}; TensorFlow's own runtime was used instead"
        logging.info("infrastructure validation: %s", note)
        return own, note, *_probe(model, settings)
    except model_server.ServerError as error:
        return "TF Serving", "", [Check("server", False, f"server: {error}")], None


def _probe(
    model: Path, settings: InfraValidationSettings, where: tuple[str, ...] = ()
) -> tuple[list[Check], dict[str, Any] | None]:
    """Runs the probe in a fresh process without CUDA."""
    root = Path(components.__file__).parent.parent
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH", "")]))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        command = [sys.executable, "-m", _PROBE, str(model), str(out), settings.model_dump_json()]
        try:
            done = subprocess.run(
                [*command, *where],
                env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": path},
                cwd=folder,
                stderr=subprocess.PIPE,
                timeout=settings.timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            line = f"process: not done after {settings.timeout_seconds:g} s (timeout_seconds)"
            return [Check("process", False, line, budget=True)], None
        errors = done.stderr.decode("utf-8", "replace")
        if errors:
            logging.info("infrastructure validation's process said:\n%s", errors)
        if done.returncode or not out.is_file():
            last = errors.strip().rpartition("\n")[2][:300] or "it said nothing"
            line = f"process: ended with {done.returncode} while it asked the model: {last}"
            return [Check("process", False, line)], None
        result = json.loads(out.read_text(encoding="utf-8"))
    return [Check(**check) for check in result["checks"]], result["figures"]
