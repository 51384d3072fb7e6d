import json
import shutil
import sys
from pathlib import Path

import pytest
from tfx.types import standard_artifacts

from components.contracts.artifact_files import TRAIN_STATISTICS
from components.contracts.properties import STATISTICS_ID
from components.resolvers import (
    LatestOtherDataStrategy,
    LatestOtherPushedModelStrategy,
    LatestPushStrategy,
)
from components.validation.node import AcceptedData

CLASSES = ["cs", "math"]
FOLDER: Path


@pytest.fixture(autouse=True)
def model_files(tmp_path, monkeypatch):
    """Models of this module are written here; two classes unless a test writes others."""
    monkeypatch.setattr(sys.modules[__name__], "FOLDER", tmp_path, raising=False)


def model(number: int, classes: list[str] | None = None, **columns: object):
    artifact = standard_artifacts.Model()
    artifact.id = number
    artifact.uri = str(FOLDER / str(number))  # noqa: F821
    report = Path(artifact.uri) / "Format-Serving" / "assets.extra" / "training.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps({"classes": classes or CLASSES, "columns": columns}))
    return artifact


def push(number: int, of: int, pushed: int = 1):
    artifact = standard_artifacts.PushedModel()
    artifact.id = number
    folder = FOLDER / "serving" / str(number)  # noqa: F821
    folder.mkdir(parents=True)
    artifact.set_int_custom_property("pushed", pushed)
    artifact.set_int_custom_property("model_id", of)
    artifact.set_string_custom_property("pushed_destination", str(folder))
    return artifact


def roll_back(artifact) -> None:
    folder = Path(artifact.get_string_custom_property("pushed_destination"))
    folder.rename(folder.with_name(f".rolled-back-{folder.name}"))


def baseline(candidate, models, pushes) -> list[int]:
    resolved = LatestOtherPushedModelStrategy().resolve_artifacts(
        None, {"model": [*models, candidate], "pushed": list(pushes), "candidate": [candidate]}
    )
    assert [a.id for a in resolved["candidate"]] == [candidate.id]
    assert [p.get_int_custom_property("model_id") for p in resolved["pushed"]] == [
        a.id for a in resolved["model"]
    ]
    return [a.id for a in resolved["model"]]


def test_model_of_other_texts_or_another_label_is_no_baseline() -> None:
    joined, renamed = model(1, text=["title", "abstract"]), model(2, label="topic")
    others = [joined, renamed, model(3, id="key")]
    pushes = [push(10 + one.id, of=one.id) for one in others]
    assert baseline(model(4), others[:2], pushes[:2]) == []
    assert baseline(model(5), others, pushes) == [3]


def test_first_model_has_no_baseline() -> None:
    assert baseline(model(1), [], []) == []


def test_a_model_is_not_its_own_baseline() -> None:
    assert baseline(model(1), [], [push(10, of=1)]) == []


def test_last_other_pushed_model_is_the_baseline() -> None:
    pushes = [push(10, of=1), push(11, of=2), push(13, of=4)]
    assert baseline(model(4), [model(1), model(2), model(3)], pushes) == [2]
    # By the pushes, not by the models: the older one took over again.
    again = [*pushes, push(14, of=1)]
    assert baseline(model(4), [model(1), model(2), model(3)], again) == [1]


def test_an_older_candidate_is_compared_with_the_newer_model() -> None:
    assert baseline(model(1), [model(2)], [push(10, of=1), push(11, of=2)]) == [2]


def test_a_model_that_was_refused_is_no_baseline() -> None:
    # Blessed or not, nothing of it was pushed: it was not fit to be served.
    refused = push(11, of=2, pushed=0)
    assert baseline(model(3), [model(1), model(2)], [push(10, of=1), refused]) == [1]
    assert baseline(model(3), [model(2)], [refused]) == []


def test_a_model_that_was_rolled_back_is_no_baseline() -> None:
    first, second = push(10, of=1), push(11, of=2)
    models = [model(1), model(2)]
    assert baseline(model(3), models, [first, second]) == [2]
    roll_back(second)
    assert baseline(model(3), models, [first, second]) == [1]
    # The model that is served again has what it had before: nothing to evaluate anew.
    assert baseline(model(1), [model(2)], [first, second]) == baseline(model(1), [], [first]) == []
    third = push(12, of=2)
    assert baseline(model(3), models, [first, second, third]) == [2]
    (FOLDER / "serving" / ".rolled-back-11").rmdir()  # noqa: F821
    roll_back(third)
    assert baseline(model(3), models, [first, second, third]) == [1]


def test_a_pushed_model_stays_the_baseline_when_its_version_is_pruned() -> None:
    first = push(10, of=1)
    shutil.rmtree(first.get_string_custom_property("pushed_destination"))
    assert baseline(model(2), [model(1)], [first]) == [1]


def test_model_of_other_classes_is_no_baseline() -> None:
    pushes = [push(10, of=1), push(11, of=2)]
    assert baseline(model(3), [model(1), model(2, ["cs", "stat"])], pushes) == [1]
    assert baseline(model(4), [model(2, ["math", "cs"])], pushes) == []


def test_model_whose_files_are_gone_is_no_baseline() -> None:
    gone = model(2)
    shutil.rmtree(gone.uri)
    assert baseline(model(3), [model(1), gone], [push(10, of=1), push(11, of=2)]) == [1]


def test_damaged_report_of_a_pushed_model_is_no_reason_to_gate_without_a_baseline() -> None:
    pushed = model(1)
    report = Path(pushed.uri) / "Format-Serving" / "assets.extra" / "training.json"
    report.write_text('{"classes": ["bio", ')
    with pytest.raises(ValueError, match="Expecting value"):
        baseline(model(2), [pushed], [push(10, of=1)])


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
        (Path(artifact.uri) / TRAIN_STATISTICS).touch()
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
