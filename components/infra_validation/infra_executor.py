"""Probes an exported model in a separate process, and blesses it or not."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import tensorflow as tf
from absl import logging
from tfx import types

import components
from components import model_server
from components.contracts import artifact_files, properties
from components.contracts.infra_verdict import Check, InfraVerdict, ProbeResult
from components.contracts.manifest import Manifest
from components.infra_validation import local_server
from components.infra_validation.budgets import InfraValidationSettings

_PROBE = "components.infra_validation.probe"


def validate(model: Path, blessing: types.Artifact, settings: InfraValidationSettings) -> None:
    """Blesses a model or not, and records why.

    The probe is repeated if only a budget of time or memory was missed. The blessing receives the
    properties and, in its folder, the verdict.
    """
    # Before the probe: what is changed later, even meanwhile, is not what was blessed.
    digest = Manifest.of(model).digest
    for attempt in range(1, settings.tries + 1):
        runtime, note, found = _validate(model, settings)
        failed = [check for check in found.checks if not check.passed]
        if not failed or not all(check.budget for check in failed):
            break
        logging.warning("measurement %d of %d: %s", attempt, settings.tries, failed[0].line)
    reasons = tuple(check.line for check in failed)
    folder = Path(blessing.uri)
    verdict = InfraVerdict(
        **dict(found), blessed=not failed, runtime=runtime, note=note, reasons=reasons
    )
    verdict.write(folder / artifact_files.INFRA_VERDICT)
    # As in TFX's executor: Pusher reads the property, people see the file.
    name = artifact_files.INFRA_NOT_BLESSED if failed else artifact_files.INFRA_BLESSED
    (folder / name).touch()
    blessing.set_int_custom_property(properties.BLESSED, int(not failed))
    blessing.set_string_custom_property(properties.RUNTIME, runtime)
    blessing.set_string_custom_property(properties.MODEL_DIGEST, digest)
    blessing.set_string_custom_property(properties.REASONS, "\n".join(reasons))
    for check in found.checks:
        logging.info("%s: %s", "passed" if check.passed else "FAILED", check.line)


def _validate(model: Path, settings: InfraValidationSettings) -> tuple[str, str, ProbeResult]:
    """Returns what served the model, why that was used, and the probe's result."""
    note = f"infra_validation.runtime is {settings.runtime}"
    if settings.runtime == "auto":
        try:
            with local_server.serving(model, settings.timeout_seconds) as (server, load_seconds):
                name = server.runtime.description
                where = (server.address, local_server.MODEL_NAME, server.pid, f"{load_seconds:.3f}")
                logging.info("infrastructure validation by %s", name)
                return name, "", _probe(model, settings, where)
        except model_server.NoServerError as error:
            note = f"{error}; TensorFlow's own runtime was used instead"
        except model_server.ServerError as error:
            return "TF Serving", "", ProbeResult(checks=(Check.of("server", str(error)),))
    logging.info("infrastructure validation: %s", note)
    return f"TensorFlow {tf.__version__}", note, _probe(model, settings)


def _probe(
    model: Path, settings: InfraValidationSettings, where: tuple[str, ...] = ()
) -> ProbeResult:
    """Runs the probe in a new process without CUDA."""
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
            late = f"not done after {settings.timeout_seconds:g} s (timeout_seconds)"
            return ProbeResult(checks=(Check.of("process", late, budget=True),))
        errors = done.stderr.decode("utf-8", "replace")
        if errors:
            logging.info("infrastructure validation's process said:\n%s", errors)
        if done.returncode or not out.is_file():
            last = errors.strip().rpartition("\n")[2][:300] or "it said nothing"
            ended = f"ended with {done.returncode} while it asked the model: {last}"
            return ProbeResult(checks=(Check.of("process", ended),))
        return ProbeResult.read(out)
