"""What gc promises: it never takes the blessed or pushed models, or what these come from."""

import os
import shutil
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from components.errors import UserError
from pipeline.runs import garbage

RUNS = [f"2026-01-0{day}T10:00:00.000000" for day in range(1, 9)]


def plan(ledger, keep: int = 1, blessed: int | None = None) -> garbage.Plan:
    return garbage.plan(ledger.history(), ledger.folder, keep, blessed)


def collect(ledger, keep: int = 1) -> garbage.Plan:
    made = plan(ledger, keep)
    garbage.carry_out(made, ledger.reader)
    return made


def removed(made: garbage.Plan) -> set[int]:
    return {removal.artifact for removal in made.removals if removal.artifact is not None}


def ids(*artifacts: pb.Artifact) -> set[int]:
    return {artifact.id for artifact in artifacts}


def all_of(made) -> set[int]:
    return {artifact.id for outputs in made.outputs.values() for artifact in outputs.values()}


def state(ledger, artifact: pb.Artifact) -> int:
    (found,) = ledger.store.get_artifacts_by_id([artifact.id])
    return found.state


def test_old_unblessed_model_goes_with_all_that_only_it_needed(ledger) -> None:
    old = ledger.run(RUNS[0], blessed=False)
    new = ledger.run(RUNS[1], rows=200)
    folders = [Path(a.uri) for o in old.outputs.values() for a in o.values()]
    size = sum(file.stat().st_size for folder in folders for file in folder.iterdir())
    made = collect(ledger)
    assert removed(made) == all_of(old)
    assert made.size == size
    assert not any(folder.exists() for folder in folders)
    assert all(Path(a.uri).exists() for o in new.outputs.values() for a in o.values())
    assert state(ledger, old.of("Trainer", "model")) == pb.Artifact.DELETED
    assert state(ledger, new.of("Trainer", "model")) == pb.Artifact.LIVE


def test_run_after_a_clock_set_back_is_the_newest(ledger) -> None:
    old = ledger.run(RUNS[1], blessed=False)
    new = ledger.run(RUNS[0], blessed=False, rows=200)
    assert removed(collect(ledger)) == all_of(old)
    assert all(Path(a.uri).exists() for o in new.outputs.values() for a in o.values())


def test_plan_alone_changes_nothing(ledger) -> None:
    old = ledger.run(RUNS[0], blessed=False)
    ledger.run(RUNS[1])
    before = sorted(ledger.output_dir.rglob("*"))
    assert removed(plan(ledger))
    assert sorted(ledger.output_dir.rglob("*")) == before
    assert state(ledger, old.of("Trainer", "model")) == pb.Artifact.LIVE


def test_blessed_model_stays_with_verdict_and_origin_however_old(ledger) -> None:
    blessed = ledger.run(RUNS[0], push=False)
    for run_id in RUNS[1:5]:
        ledger.run(run_id, blessed=False, rows=200)
    collect(ledger)
    for node, key in (
        ("Trainer", "model"),
        ("Trainer", "model_run"),
        ("Transform", "transformed_examples"),
        ("Transform", "updated_analyzer_cache"),
        ("ParquetExampleGen", "examples"),
        ("Evaluator", "blessing"),
        ("Evaluator", "evaluation"),
        ("EvaluationSummary", "metrics"),
    ):
        artifact = blessed.of(node, key)
        assert (Path(artifact.uri) / "file").is_file(), (node, key)
        assert state(ledger, artifact) == pb.Artifact.LIVE


def test_last_blessed_models_stay_where_only_these_are_wanted(ledger) -> None:
    runs = [ledger.run(run, push=False, rows=n) for n, run in enumerate(RUNS[:3], 1)]
    # The second model is blessed once more, and so is the latest.
    ledger.run(RUNS[3], model=runs[1], push=False)
    ledger.run(RUNS[4], blessed=False, rows=9)
    gone = {
        count: [
            run.of("Trainer", "model").id in removed(plan(ledger, blessed=count)) for run in runs
        ]
        for count in (None, 3, 2, 1)
    }
    assert gone == {
        None: [False, False, False],
        3: [False, False, False],
        2: [True, False, False],
        1: [True, False, True],
    }
    made = plan(ledger, blessed=1)
    assert all_of(runs[0]) | all_of(runs[2]) == removed(made)
    assert runs[1].of("ParquetExampleGen", "examples").id in made.kept
    with pytest.raises(UserError, match="at least one blessed model"):
        plan(ledger, blessed=0)


def test_served_model_stays_however_few_blessed_ones_are_wanted(ledger) -> None:
    served = ledger.run(RUNS[0])
    ledger.run(RUNS[1], push=False, rows=200)
    ledger.run(RUNS[2], blessed=False, rows=300)
    made = plan(ledger, blessed=1)
    assert not all_of(served) & removed(made)
    assert made.kept[served.of("Trainer", "model").id] == "pushed model"


def test_origin_stays_though_another_run_made_it(ledger) -> None:
    data = ledger.run(RUNS[0], until="Transform")
    blessed = ledger.run(RUNS[1], data=data)
    assert blessed.of("Transform", "transformed_examples") == data.of(
        "Transform", "transformed_examples"
    )
    for run_id in RUNS[2:5]:
        ledger.run(run_id, blessed=False, rows=200)
    collect(ledger)
    for key in ("transformed_examples", "updated_analyzer_cache"):
        assert Path(data.of("Transform", key).uri, "file").is_file()
    assert Path(data.of("ParquetExampleGen", "examples").uri, "file").is_file()


def test_served_model_stays_though_a_later_verdict_went_against_it(ledger) -> None:
    served = ledger.run(RUNS[0])
    ledger.run(RUNS[1], model=served, blessed=False)
    # Its blessing is gone from the database's point of view; it is served all the same.
    blessing = served.of("Evaluator", "blessing")
    blessing.custom_properties["blessed"].int_value = 0
    ledger.store.put_artifacts([blessing])
    ledger.run(RUNS[2], blessed=False, rows=200)
    made = collect(ledger)
    kept = served.of("Trainer", "model")
    assert kept.id not in removed(made)
    assert made.kept[kept.id] == "pushed model"
    assert served.of("Pusher", "pushed_model").id not in removed(made)
    assert all(version.is_dir() for version in ledger.serving.iterdir())


def test_model_that_is_neither_blessed_nor_served_any_more_goes_unless_pushed_last(ledger) -> None:
    first, second = ledger.run(RUNS[0]), ledger.run(RUNS[1], rows=200)
    for one in (first, second):
        blessing = one.of("Evaluator", "blessing")
        blessing.custom_properties["blessed"].int_value = 0
        ledger.store.put_artifacts([blessing])
    shutil.rmtree(ledger.serving)
    ledger.run(RUNS[2], blessed=False, rows=300)
    made = collect(ledger)
    assert first.of("Trainer", "model").id in removed(made)
    assert not all_of(second) & removed(made)


def test_recent_runs_keep_everything_and_failed_ones_do_not_push_them_out(ledger) -> None:
    old = ledger.run(RUNS[0], blessed=False)
    recent = ledger.run(RUNS[1], blessed=False, rows=200)
    broken = [
        ledger.run(run_id, until="Trainer", ending=pb.Execution.FAILED, rows=300)
        for run_id in RUNS[2:6]
    ]
    made = collect(ledger, keep=1)
    assert removed(made) == all_of(old)
    assert not any(all_of(run) & removed(made) for run in (recent, *broken))


def test_what_a_recent_run_took_from_the_cache_or_was_compared_with_stays(ledger) -> None:
    base = ledger.run(RUNS[0], blessed=False)
    cached = ledger.run(RUNS[1], model=base, blessed=False)
    other = ledger.run(RUNS[2], blessed=False, rows=200, baseline=base.of("Trainer", "model"))
    made = collect(ledger, keep=1)
    assert base.of("Trainer", "model").id not in removed(made)
    assert cached.of("Evaluator", "blessing").id in removed(made)
    assert not all_of(other) & removed(made)


def test_runs_after_a_push_that_stays_are_not_about_it(ledger) -> None:
    served = ledger.run(RUNS[0])
    push = served.of("Pusher", "pushed_model")
    refused = ledger.run(RUNS[1], blessed=False, rows=200, served=push)
    ledger.run(RUNS[2], blessed=False, rows=300, served=push)
    made = collect(ledger, keep=1)
    assert not all_of(served) & removed(made)
    assert removed(made) == all_of(refused)


def test_number_of_runs_decides_how_much_goes(ledger) -> None:
    runs = [ledger.run(run, blessed=False, rows=n) for n, run in enumerate(RUNS[:4], 1)]
    assert [
        sum(bool(all_of(run) & removed(plan(ledger, keep))) for run in runs)
        for keep in (1, 2, 3, 4, 9)
    ] == [3, 2, 1, 0, 0]
    with pytest.raises(UserError, match="at least one run"):
        plan(ledger, 0)


def test_folder_of_no_artifact_goes_and_strange_folders_stay(ledger) -> None:
    ledger.run(RUNS[0])
    orphan = ledger.root / "Trainer" / "model" / "999"
    scratch = ledger.root / "Trainer" / ".system" / "executor_execution" / "3"
    mine = ledger.root / "Trainer" / "model" / "notes"
    other = ledger.root / "my-folder" / "model" / "7"
    for folder in (orphan, scratch, mine, other):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    made = collect(ledger)
    assert {removal.path for removal in made.removals} == {orphan, scratch}
    assert not orphan.exists()
    assert not scratch.exists()
    assert mine.is_dir()
    assert other.is_dir()


def test_nothing_outside_the_artifacts_folder_is_ever_removed(ledger, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere" / "a" / "b"
    outside.mkdir(parents=True)
    old = ledger.run(RUNS[0], blessed=False)
    model = old.of("Trainer", "model")
    for uri in (str(outside), f"{ledger.root}/Trainer/../../../elsewhere/a/b", str(ledger.root)):
        model.uri = uri
        ledger.store.put_artifacts([model])
        ledger.run(RUNS[1], rows=200) if len(ledger.history().ids) == 1 else None
        made = plan(ledger)
        assert model.id not in removed(made)
        assert all(ledger.root in removal.path.parents for removal in made.removals)
    collect(ledger)
    assert outside.is_dir()


def test_linked_folder_is_unlinked_and_what_it_points_to_stays(ledger, tmp_path: Path) -> None:
    old = ledger.run(RUNS[0], blessed=False)
    ledger.run(RUNS[1], rows=200)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    place = Path(old.of("Trainer", "model").uri)
    shutil.rmtree(place)
    place.symlink_to(precious)
    collect(ledger)
    assert not os.path.lexists(place)
    assert (precious / "file").is_file()


def test_copied_output_folder_is_not_taken_for_one_of_orphans(
    ledger, new_ledger, tmp_path: Path
) -> None:
    ledger.run(RUNS[0])
    shutil.copytree(ledger.output_dir, tmp_path / "copy")
    copy = new_ledger(tmp_path / "copy")
    made = collect(copy)
    assert made.removals == made.gone == ()
    assert all(artifact.state == pb.Artifact.LIVE for artifact in copy.store.get_artifacts())


def test_folder_that_a_kept_artifact_shares_stays(ledger) -> None:
    old = ledger.run(RUNS[0], blessed=False)
    new = ledger.run(RUNS[1], rows=200)
    shared, kept = old.of("Trainer", "model"), new.of("Trainer", "model")
    shared.uri = kept.uri
    ledger.store.put_artifacts([shared])
    collect(ledger)
    assert Path(kept.uri, "file").is_file()


def test_artifact_without_its_folder_is_marked_as_deleted(ledger) -> None:
    old = ledger.run(RUNS[0], blessed=False)
    ledger.run(RUNS[1], rows=200)
    model = old.of("Trainer", "model")
    shutil.rmtree(model.uri)
    made = collect(ledger)
    assert made.gone == (model.id,)
    assert state(ledger, model) == pb.Artifact.DELETED
    assert plan(ledger).gone == ()


def test_collecting_again_finds_nothing(ledger) -> None:
    ledger.run(RUNS[0], blessed=False)
    ledger.run(RUNS[1], rows=200)
    assert collect(ledger).removals
    again = collect(ledger)
    assert (again.removals, again.gone) == ((), ())


def test_interrupted_collection_is_finished_by_the_next(
    ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = ledger.run(RUNS[0], blessed=False)
    ledger.run(RUNS[1], rows=200)

    def die(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(garbage.shutil, "rmtree", die)
        with pytest.raises(UserError, match=r"cannot remove .*: Permission denied; mend"):
            collect(ledger)
    # Marked already: no run takes it from the cache, though its folder is there.
    assert state(ledger, old.of("Trainer", "model")) == pb.Artifact.DELETED
    assert Path(old.of("Trainer", "model").uri).is_dir()
    collect(ledger)
    assert not Path(old.of("Trainer", "model").uri).exists()


def test_record_of_a_run_that_never_was_goes_and_others_stay(ledger) -> None:
    ledger.run(RUNS[0])
    for run_id in RUNS[:2]:
        ledger.record(run_id)
    ledger.record(RUNS[2], exit_code=130)
    collect(ledger)
    assert [file.stem for file in (ledger.output_dir / "runs").iterdir()] == [RUNS[0]]
