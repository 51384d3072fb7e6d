"""What a comparison promises: every key that differs and no other, and signed differences."""

from components.settings import flat
from pipeline.runs.compare import Change, compare, differing

FIRST, SECOND = (f"2026-01-0{day}T10:00:00.000000" for day in (1, 2))


def test_nested_tables_become_dotted_keys_and_lists_stay_whole() -> None:
    nested = {"training": {"seed": 1, "phase1": {"epochs": 2}}, "slices": ["a", "b"], "none": None}
    assert flat(nested) == {
        "training.seed": 1, "training.phase1.epochs": 2, "slices": ["a", "b"], "none": None,
    }  # fmt: skip


def test_differing_lists_changed_added_and_removed_keys_only() -> None:
    before, after = {"same": 1, "changed": 1, "removed": 0}, {"same": 1, "changed": 2, "added": []}
    assert differing(before, after) == [
        Change("changed", 1, 2), Change("removed", 0, None), Change("added", None, []),
    ]  # fmt: skip


def test_difference_is_of_numbers_only() -> None:
    assert Change("x", 0.5, 0.75).difference == 0.25
    assert Change("x", 3, 1).difference == -2
    assert [Change("x", a, b).difference for a, b in (("a", "b"), (None, 1), (True, False))] == [
        None, None, None,
    ]  # fmt: skip


def test_runs_are_compared_by_configuration_code_data_metrics_and_slices(ledger) -> None:
    ledger.run(FIRST, accuracy=0.75, rows=100, slices={"2020": 0.5, "2021": 0.5})
    ledger.record(FIRST, configuration={"training": {"seed": 1, "batch": 8}}, commit="aaa")
    ledger.run(SECOND, accuracy=0.5, rows=200, slices={"2020": 0.625, "2021": 0.0}, fingerprint="x")
    ledger.record(SECOND, configuration={"training": {"seed": 2, "batch": 8}}, commit="bbb")
    history = ledger.history()
    compared = compare(history.find(FIRST), history.find(SECOND))
    assert compared.configuration_known
    assert compared.configuration == (Change("training.seed", 1, 2),)
    assert compared.code[0] == Change("commit", "aaa", "bbb")
    assert Change("Trainer", "f0", "x") in compared.code
    assert {change.key: change.second for change in compared.data} == {
        "rows_read": 200, "input_fingerprint": "200",
    }  # fmt: skip
    metrics = {change.key: change.difference for change in compared.metrics}
    assert metrics["accuracy"] == -0.25
    assert metrics["cross_entropy"] == 0.25
    assert metrics["f1 of cs"] == -0.25
    assert metrics["examples"] == 0
    # What changed most comes first, whichever way.
    assert [(change.key, change.difference) for change in compared.slices] == [
        ("year=2021 accuracy", -0.5), ("year=2020 accuracy", 0.125),
    ]  # fmt: skip


def test_a_run_compared_with_itself_differs_in_nothing(ledger) -> None:
    ledger.run(FIRST, slices={"2020": 0.5})
    ledger.record(FIRST, configuration={"a": 1})
    history = ledger.history()
    run = history.find(FIRST)
    compared = compare(run, run)
    assert compared.configuration == compared.code == compared.data == ()
    assert {change.difference for change in (*compared.metrics, *compared.slices)} == {0.0}


def test_configuration_of_a_run_without_a_record_is_said_to_be_unknown(ledger) -> None:
    ledger.run(FIRST)
    ledger.run(SECOND)
    ledger.record(SECOND, configuration={"a": 1})
    history = ledger.history()
    compared = compare(history.find(FIRST), history.find(SECOND))
    assert not compared.configuration_known
    assert compared.configuration == ()
