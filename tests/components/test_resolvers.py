from tfx.types import standard_artifacts

from components.resolvers import LatestOtherBlessedModelStrategy, LatestOtherDataStrategy
from components.validation.gate import STATISTICS_ID, AcceptedData


def model(number: int):
    artifact = standard_artifacts.Model()
    artifact.id = number
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
    def resolve(*blessings):
        inputs = {"model": [model(1), model(2)], "candidate": [model(2)]}
        resolved = LatestOtherBlessedModelStrategy().resolve_artifacts(
            None, {**inputs, "model_blessing": list(blessings)}
        )
        return [a.id for a in resolved["model"]]

    assert resolve(blessing(1, 1, 11), blessing(1, 0, 12)) == []
    assert resolve(blessing(1, 1, 13), blessing(1, 0, 12)) == [1]


def previous(current: int, of_statistics: dict[int, int]) -> list[int]:
    statistics = standard_artifacts.ExampleStatistics()
    statistics.id = current
    accepted = []
    for number, statistics_id in of_statistics.items():
        artifact = AcceptedData()
        artifact.id = number
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
