"""The node: a process of its own, the standard blessing, and why not in words."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from tfx.components.util import model_utils
from tfx.types import standard_artifacts

from components.contracts.infra_verdict import Check, ProbeResult
from components.contracts.manifest import Manifest
from components.infra_validation import infra_executor
from components.infra_validation.budgets import InfraValidationSettings
from components.infra_validation.node import ServingValidator


def validate(model: Path, into: Path, **settings: object):
    """Runs the executor on a SavedModel; returns the blessing and the report."""
    artifact = standard_artifacts.Model()
    artifact.uri = str(model.parent)
    blessing = standard_artifacts.InfraBlessing()
    blessing.uri = str(into / "blessing")
    chosen = InfraValidationSettings.model_validate({"runtime": "tensorflow", **settings})
    ServingValidator.test_call(
        model=artifact, blessing=blessing, settings=chosen.model_dump_json(), fingerprint="f00d"
    )
    report = json.loads((into / "blessing" / "infra_validation.json").read_text())
    return blessing, report


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """The environment and command of each process that is started."""
    started = []
    real = infra_executor.subprocess.run

    def run(command, **options):
        started.append({"command": command, "env": options["env"]})
        return real(command, **options)

    monkeypatch.setattr(infra_executor.subprocess, "run", run)
    return started


def test_good_model_is_blessed_in_a_process_without_cuda(
    good_model: Path, tmp_path: Path, processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("PATH", "")
    blessing, report = validate(good_model, tmp_path, runtime="auto")
    assert model_utils.is_infra_validated(blessing)
    assert {path.name for path in Path(blessing.uri).iterdir()} == {
        "INFRA_BLESSED", "infra_validation.json"
    }  # fmt: skip
    assert [process["env"]["CUDA_VISIBLE_DEVICES"] for process in processes] == ["-1"]
    assert report["blessed"] is True
    assert report["reasons"] == []
    assert len(report["measurements"]["latencies_ms"]) == 100
    assert report["runtime"].startswith("TensorFlow 2.")
    assert blessing.get_string_custom_property("runtime") == report["runtime"]
    digest = Manifest.of(good_model).digest
    assert blessing.get_string_custom_property("model_digest") == digest
    assert report["note"] == (
        "tensorflow_model_server is not on PATH and docker is not on PATH; "
        "TensorFlow's own runtime was used instead"
    )


SLOW = Check("max_latency_ms", False, "latency: 9 ms, budget 1 ms (max_latency_ms)", budget=True)
WRONG = Check("token ids", False, "token ids: 1 of 2 texts differ from Transform's, first empty")
FINE = Check("warm-up", True, "warm-up: 20 requests, each answered")


@pytest.mark.parametrize(
    ("measurements", "blessed", "used", "reasons"),
    [
        ([[FINE, SLOW], [FINE], [WRONG]], 1, 2, []),
        ([[SLOW], [SLOW], [FINE, SLOW], [FINE]], 0, 3, [SLOW.line]),
        ([[SLOW, WRONG], [FINE]], 0, 1, [SLOW.line, WRONG.line]),
    ],
    ids=["passes the second time", "missed three times", "a wrong answer stays wrong"],
)
def test_only_a_missed_budget_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measurements, blessed, used, reasons
) -> None:
    left = list(measurements)
    monkeypatch.setattr(infra_executor, "_probe", lambda *_: ProbeResult(checks=tuple(left.pop(0))))
    (tmp_path / "model" / "Format-Serving").mkdir(parents=True)
    blessing, report = validate(tmp_path / "model" / "Format-Serving", tmp_path, tries=3)
    assert len(measurements) - len(left) == used
    assert model_utils.is_infra_validated(blessing) == bool(blessed)
    assert blessing.get_int_custom_property("blessed") == blessed
    assert (Path(blessing.uri) / "INFRA_NOT_BLESSED").is_file() != bool(blessed)
    assert report["reasons"] == reasons
    assert blessing.get_string_custom_property("reasons") == "\n".join(reasons)


def fake_process(monkeypatch: pytest.MonkeyPatch, outcome) -> None:
    def run(*_: object, **__: object):
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(infra_executor.subprocess, "run", run)


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (
            SimpleNamespace(returncode=-9, stderr=b""),
            "process: ended with -9 while it asked the model: it said nothing",
        ),
        (
            SimpleNamespace(returncode=1, stderr=b"Traceback\nValueError: broken\n"),
            "process: ended with 1 while it asked the model: ValueError: broken",
        ),
        (
            infra_executor.subprocess.TimeoutExpired("probe", 5),
            "process: not done after 5 s (timeout_seconds)",
        ),
    ],
)
def test_process_that_dies_or_hangs_blesses_nothing(
    good_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome, reason: str
) -> None:
    fake_process(monkeypatch, outcome)
    blessing, report = validate(good_model, tmp_path, timeout_seconds=5)
    assert blessing.get_int_custom_property("blessed") == 0
    assert report["reasons"] == [reason]


def test_server_is_used_where_there_is_one(
    good_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = tmp_path / "bin" / "tensorflow_model_server"
    binary.parent.mkdir()
    binary.write_text("#!/bin/sh\necho cannot start\nexit 1\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(binary.parent))
    _, report = validate(good_model, tmp_path, runtime="auto")
    assert report["runtime"] == "TF Serving"
    assert report["reasons"] == ["server: tensorflow_model_server ended with code 1: cannot start"]
