import json
import shutil
import sys
from pathlib import Path

import pytest
from tfx.types import standard_artifacts

from components.resolvers import (
    LatestOtherBlessedModelStrategy,
    LatestOtherDataStrategy,
    LatestPushStrategy,
)
from components.validation.gate import STATISTICS_FILE, STATISTICS_ID, AcceptedData

CLASSES = ["cs", "math"]


@pytest.fixture(autouse=True)
def model_files(tmp_path, monkeypatch):
    """Models of this module are written here; two classes unless a test writes others."""
    monkeypatch.setattr(sys.modules[__name__], "FOLDER", tmp_path, raising=False)


def model(number: int, classes: list[str] | None = None):
    artifact = standard_artifacts.Model()
    artifact.id = number
    artifact.uri = str(FOLDER / str(number))  # noqa: F821
    report = Path(artifact.uri) / "Format-Serving" / "assets.extra" / "training.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps({"classes": classes or CLASSES}))
    return artifact


def blessing(of: int, blessed: int, number: int | None = None):
    artifact = standard_artifacts.ModelBlessing()
    artifact.id = number or 100 + of
    artifact.set_int_custom_property("current_model_id", of)
    artifact.set_int_custom_property("blessed", blessed)
    return artifact


def baseline(candidate: int, verdicts: dict[int, int]) -> list[int]:
    models = {number: model(number) for number in {candidate, *verdicts}}
    resolved = LatestOtherBlessedModelStrategy().resolve_artifacts(
        None,
        {
            "model": list(models.values()),
            "model_blessing": [blessing(n, verdict) for n, verdict in verdicts.items()],
            "candidate": [models[candidate]],
        },
    )
    assert [a.id for a in resolved["candidate"]] == [candidate]
    assert [b.get_int_custom_property("current_model_id") for b in resolved["model_blessing"]] == [
        a.id for a in resolved["model"]
    ]
    return [a.id for a in resolved["model"]]


def test_first_model_has_no_baseline() -> None:
    assert baseline(1, {}) == []


def test_a_model_is_not_its_own_baseline() -> None:
    assert baseline(1, {1: 1}) == []


def test_latest_other_blessed_model_is_the_baseline() -> None:
    assert baseline(4, {1: 1, 2: 1, 3: 0, 4: 1}) == [2]


def test_an_older_candidate_is_compared_with_the_newer_model() -> None:
    assert baseline(1, {1: 1, 2: 1}) == [2]


def test_a_models_last_verdict_counts() -> None:
    def judged(*blessings):
        inputs = {"model": [model(1), model(2)], "candidate": [model(2)]}
        resolved = LatestOtherBlessedModelStrategy().resolve_artifacts(
            None, {**inputs, "model_blessing": list(blessings)}
        )
        return [a.id for a in resolved["model"]]

    assert judged(blessing(1, 1, 11), blessing(1, 0, 12)) == []
    assert judged(blessing(1, 1, 13), blessing(1, 0, 12)) == [1]


def resolve(candidate, *others):
    resolved = LatestOtherBlessedModelStrategy().resolve_artifacts(
        None,
        {
            "model": [candidate, *others],
            "model_blessing": [blessing(other.id, 1) for other in others],
            "candidate": [candidate],
        },
    )
    return [a.id for a in resolved["model"]]


def test_model_of_other_classes_is_no_baseline() -> None:
    assert resolve(model(3), model(1), model(2, ["cs", "stat"])) == [1]
    assert resolve(model(4), model(2, ["math", "cs"])) == []


def test_model_whose_files_are_gone_is_no_baseline() -> None:
    gone = model(2)
    shutil.rmtree(gone.uri)
    assert resolve(model(3), model(1), gone) == [1]


def push(number: int, of: int, pushed: int = 1):
    artifact = standard_artifacts.PushedModel()
    artifact.id = number
    folder = FOLDER / "serving" / str(number)  # noqa: F821
    folder.mkdir(parents=True)
    artifact.set_int_custom_property("pushed", pushed)
    artifact.set_int_custom_property("model_id", of)
    artifact.set_string_custom_property("pushed_destination", str(folder))
    return artifact


def served(candidate: int, *pushes) -> list[int]:
    resolved = LatestPushStrategy().resolve_artifacts(
        None, {"pushed": list(pushes), "model": [model(candidate)]}
    )
    return [a.id for a in resolved["pushed"]]


def test_while_a_model_is_served_its_predecessor_is_resolved() -> None:
    first, second, third = push(10, of=1), push(11, of=2), push(12, of=1)
    assert served(1) == []
    assert served(1, first) == []
    assert served(2, first) == [10]
    assert served(2, first, second) == [10]
    assert served(1, first, second) == [11]
    assert served(1, first, second, third) == [11]
    assert served(2, first, second, third) == [12]
    assert served(2, first, second, push(13, of=3, pushed=0)) == [10]


def test_a_removed_version_resolves_to_its_own_push() -> None:
    first, second = push(10, of=1), push(11, of=2)
    shutil.rmtree(second.get_string_custom_property("pushed_destination"))
    assert served(2, first, second) == [11]
    assert served(1, first, second) == [11]


def roll_back(artifact) -> None:
    folder = Path(artifact.get_string_custom_property("pushed_destination"))
    folder.rename(folder.with_name(f".rolled-back-{folder.name}"))


def rejected(candidate: int, *pushes) -> list[int]:
    resolved = LatestPushStrategy().resolve_artifacts(
        None, {"pushed": list(pushes), "rolled_back": list(pushes), "model": [model(candidate)]}
    )
    return [a.id for a in resolved["rolled_back"]]


def test_nothing_is_rejected_while_nothing_was_rolled_back() -> None:
    first, second = push(10, of=1), push(11, of=2)
    assert rejected(1) == rejected(1, first, second) == rejected(2, first, second) == []


def test_a_rolled_back_model_resolves_to_its_rejected_push() -> None:
    first, second, third = push(10, of=1), push(11, of=2), push(12, of=3)
    roll_back(third)
    assert rejected(3, first, second, third) == [12]
    assert rejected(2, first, second, third) == rejected(4, first, second, third) == []
    # However often others are rolled back or pushed since.
    roll_back(second)
    assert rejected(3, first, second, third) == [12]
    assert rejected(3, first, second, third, push(13, of=4)) == [12]


def test_the_model_served_after_a_rollback_is_not_pushed_again() -> None:
    first, second = push(10, of=1), push(11, of=2)
    before = served(1, first)
    roll_back(second)
    assert served(1, first, second) == before == []
    assert rejected(1, first, second) == []
    # A new model takes over from the one that is served.
    assert served(3, first, second) == [10]
    assert served(3, first, second, push(12, of=3)) == [10]


def test_a_rejection_lifted_by_hand_lets_the_model_be_pushed_again() -> None:
    first, second = push(10, of=1), push(11, of=2)
    roll_back(second)
    (FOLDER / "serving" / ".rolled-back-11").rmdir()  # noqa: F821
    assert rejected(2, first, second) == []
    assert served(2, first, second) == [11]
    assert rejected(2, first, second, push(12, of=2)) == []


def test_only_the_last_push_of_a_model_decides_whether_it_is_rejected() -> None:
    first, second, third = push(10, of=2), push(11, of=1), push(12, of=2)
    roll_back(first)
    assert rejected(2, first, second, third) == []
    roll_back(third)
    assert rejected(2, first, second, third) == [12]


def previous(current: int, of_statistics: dict[int, int]) -> list[int]:
    statistics = standard_artifacts.ExampleStatistics()
    statistics.id = current
    accepted = []
    for number, statistics_id in of_statistics.items():
        artifact = AcceptedData()
        artifact.id = number
        artifact.uri = str(FOLDER / "accepted" / str(number))  # noqa: F821
        Path(artifact.uri).mkdir(parents=True, exist_ok=True)
        (Path(artifact.uri) / STATISTICS_FILE).touch()
        artifact.set_int_custom_property(STATISTICS_ID, statistics_id)
        accepted.append(artifact)
    resolved = LatestOtherDataStrategy().resolve_artifacts(
        None, {"accepted": accepted, "statistics": [statistics]}
    )
    return [a.id for a in resolved["accepted"]]


def test_previous_data_are_the_latest_others() -> None:
    assert previous(5, {}) == []
    assert previous(5, {10: 5}) == []
    assert previous(5, {10: 3, 11: 4, 12: 5}) == [11]
