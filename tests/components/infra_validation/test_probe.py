"""The probe passes a model that keeps the contract and names the fault of one that does not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from components.contracts.artifact_files import EXTRA_ASSETS, GOLDEN_PREDICTIONS, WARMUP
from components.infra_validation import local_server
from components.infra_validation.budgets import InfraValidationSettings
from components.infra_validation.probe import golden_defect, probe
from components.infra_validation.runtimes import Server
from components.training.warmup_requests import write_warmup

SETTINGS = InfraValidationSettings()
STAND_IN = Path(__file__).parent / "stand_in_server.py"


def failures(model: Path, settings: InfraValidationSettings = SETTINGS) -> list[str]:
    return [check.line for check in probe(model, settings)[0] if not check.passed]


def test_good_model_passes_every_check(good_model: Path) -> None:
    found, figures = probe(good_model, SETTINGS)
    assert [check.line for check in found if not check.passed] == []
    names = {check.name for check in found}
    assert names >= {
        "signature serving_default", "warm-up", "text empty", "text 1 MB", "text binary noise",
        "text emoji", "texts one by one", "texts in one batch", "token ids", "batch of 512",
        "examples, some of them broken", "max_latency_ms", "max_memory_mib",
    }  # fmt: skip
    assert figures is not None
    assert len(figures.latencies_ms) == 100
    assert figures.load_seconds > 0
    assert figures.batch_seconds > 0
    assert figures.memory_mib is not None
    assert figures.memory_mib > 50


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("no examples signature", "signature serving_examples: the model has none of this name"),
        ("float64", "output scores is float64 [-1, 3], not float32 [-1, 3]"),
        ("no batch dimension", "output classes is string [3], not string [-1, 3]"),
        ("reads its neighbours", "texts in one batch: largest difference"),
        ("NaN", "text empty: the scores of row 0 add up to nan"),
        ("does not sum to 1", "add up to 1.001, not to 1"),
        ("other class order", "names the classes ['stat', 'math', 'cs']"),
        ("wrong label", "its best score is that of"),
        ("other ids", "token ids: 18 of 18 texts differ from Transform's"),
        ("fails on noise", "requests: assertion failed: [cannot read this]"),
        ("broken example fails", "requests: Could not parse example input"),
    ],
)
def test_fault_is_found_and_named(build_model, fault: str, line: str) -> None:
    found = failures(build_model(fault))
    assert any(line in failure for failure in found), found


def test_answers_of_another_model_fail(build_model, change_answers) -> None:
    model = build_model("")

    def shift(content: dict) -> None:
        scores = content["predictions"][3]["scores"]
        scores[0], scores[1] = scores[0] + 2e-5, scores[1] - 2e-5

    change_answers(model, shift)
    found = failures(model)
    assert len(found) == 3
    assert all("2e-05 (text 3, real), 1e-05 allowed" in line for line in found)
    assert failures(model, InfraValidationSettings(max_score_difference=3e-5)) == []


def test_missed_budget_says_value_and_budget(good_model: Path) -> None:
    settings = InfraValidationSettings(max_latency_ms=1e-6, max_memory_mib=1.0)
    latency, memory = failures(good_model, settings)
    assert latency.startswith("latency of one abstract, 95th percentile of 100: ")
    assert latency.endswith(" ms, budget 1e-06 ms (max_latency_ms)")
    assert memory.startswith("peak memory: ")
    assert memory.endswith(" MiB, budget 1 MiB (max_memory_mib)")


def test_what_is_missing_or_broken_beside_the_model_is_named(build_model) -> None:
    model = build_model("")
    extra = model / EXTRA_ASSETS
    write_warmup(extra / WARMUP, [b"text"])
    (extra / WARMUP).write_bytes((extra / WARMUP).read_bytes()[:-3])
    (line,) = failures(model)
    assert line.startswith(f"warm-up: {extra / WARMUP} cannot be read")
    (extra / WARMUP).write_bytes(b"")
    assert failures(model) == ["warm-up: 0 requests; TF Serving takes from 1 to 1000"]
    (extra / WARMUP).unlink()
    (line,) = failures(model)
    assert line.startswith(f"warm-up: {extra / WARMUP} cannot be read")
    (extra / GOLDEN_PREDICTIONS).unlink()
    (line,) = failures(model)
    assert line.startswith(f"golden predictions: {extra / GOLDEN_PREDICTIONS} cannot be read")


def test_model_that_cannot_be_loaded_is_one_line(build_model) -> None:
    model = build_model("")
    (model / "variables" / "variables.index").unlink()
    (model / "saved_model.pb").write_bytes(b"broken")
    (line,) = failures(model)
    assert line.startswith("load: the model cannot be loaded: ")
    assert "\n" not in line


@pytest.fixture
def stand_in():
    spec = importlib.util.spec_from_file_location("stand_in_server", STAND_IN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_server_is_asked_the_same_over_grpc(good_model: Path, build_model, stand_in) -> None:
    for model, expected in ((good_model, []), (build_model("float64"), ["serving_default"])):
        running, port = stand_in.start(local_server.MODEL_NAME, model)
        try:
            runtime = Server(f"127.0.0.1:{port}", local_server.MODEL_NAME, 30.0)
            found, figures = probe(model, SETTINGS, (runtime, 1.25), None)
        finally:
            running.stop(None)
        failed = [check.line for check in found if not check.passed]
        assert [name for name in expected if name not in failed[0]] == []
        assert bool(failed) == bool(expected)
        if figures is not None:
            assert (figures.load_seconds, figures.memory_mib) == (1.25, None)


def test_server_that_is_gone_is_one_line(good_model: Path) -> None:
    runtime = Server("127.0.0.1:1", local_server.MODEL_NAME, 2.0)
    found, _ = probe(good_model, SETTINGS, (runtime, 1.0), None)
    (check,) = found
    assert check.line.startswith("requests: UNAVAILABLE: ")
    assert "\n" not in check.line


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (dict.copy, ""),
        (
            lambda answers: answers["predictions"][3]["scores"].reverse(),
            "texts one by one: largest difference to the trained network's scores",
        ),
        (lambda answers: answers["predictions"].clear(), "golden_predictions.json holds none"),
        (lambda answers: answers.update(predictions=7), "golden_predictions.json cannot be read"),
    ],
)
def test_golden_predictions_are_replayed(build_model, change_answers, change, expected):
    model = build_model("")
    change_answers(model, change)

    found = golden_defect(model, 1e-5)

    assert expected in found
    assert bool(found) == bool(expected)


def test_golden_predictions_of_a_model_that_is_no_classifier_are_one_line(build_model):
    model = build_model("no examples signature")
    assert golden_defect(model, 1e-5) == ""
    (model / "saved_model.pb").write_bytes(b"")

    assert golden_defect(model, 1e-5) == "saved_model.pb holds no graph"
