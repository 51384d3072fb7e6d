"""What listings promise: each run's true state and metrics, found by as little as names it."""

import json
import os
import shutil
import socket
from datetime import datetime, timezone
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from components.errors import UserError
from components.metadata_store import Lineage, MetadataStore, State
from pipeline.runs import record
from pipeline.runs.history import History, RunState
from pipeline.runs.layout import OutputFolder

NODES = (
    "ParquetExampleGen", "Transform", "Trainer", "LatestBlessedModel", "Evaluator",
    "EvaluationSummary", "Pusher",
)  # fmt: skip
FIRST, SECOND, THIRD = (f"2026-01-0{day}T10:00:00.000000" for day in (1, 2, 3))


def only(ledger) -> tuple[RunState, bool | None]:
    run = ledger.history().find("latest")
    return run.state, run.verdict.blessed


def test_blessed_run_is_complete_with_its_metrics_and_its_push(ledger) -> None:
    made = ledger.run(FIRST, accuracy=0.75)
    ledger.record(FIRST, exit_code=0, finished="2026-01-01T10:01:30+00:00")
    run = ledger.history().find("latest")
    assert (run.state, run.verdict.blessed) == (RunState.COMPLETE, True)
    assert (run.verdict.accuracy, run.verdict.macro_f1) == (0.75, 0.375)
    assert run.verdict.cross_entropy == 0.25
    assert run.verdict.pushed_copy == Path(made.of("Pusher", "pushed_model").uri)
    assert run.verdict.pushed_to is not None
    assert run.verdict.pushed_to.parent == ledger.serving
    assert run.started == datetime(2026, 1, 1, 10, tzinfo=timezone.utc)
    assert run.seconds == 90
    assert run.failure is None


def test_run_that_was_not_blessed_is_complete_with_its_reasons_and_no_push(ledger) -> None:
    ledger.run(FIRST, blessed=False)
    ledger.record(FIRST, exit_code=3)
    run = ledger.history().find("latest")
    assert (run.state, run.verdict.blessed) == (RunState.COMPLETE, False)
    assert run.verdict.reasons == ("accuracy is below the threshold",)
    assert run.verdict.pushed_to is None


def test_failed_run_names_node_and_cause_and_what_did_not_run(ledger) -> None:
    ledger.run(FIRST, until="Transform", ending=pb.Execution.FAILED)
    ledger.record(FIRST, exit_code=1, failed_node="Transform", cause="the disk is full")
    run = ledger.history().find("latest")
    assert run.state is RunState.FAILED
    assert run.failure == ("Transform", "the disk is full")
    assert [status.state for status in run.nodes] == [State.RAN, State.FAILED] + [State.NOT_RUN] * 5
    assert run.verdict.blessed is None


def test_run_that_ended_without_a_word_was_killed(ledger) -> None:
    ledger.run(FIRST, until="Trainer", ending=pb.Execution.RUNNING)
    ledger.record(FIRST, pid=os.getpid(), host=socket.gethostname())
    # Its process number may have gone to another process since; the lock has not.
    assert only(ledger)[0] is RunState.KILLED
    # A later run marks what it left behind, and is no less killed for that.
    (left,) = [one for one in ledger.store.get_executions() if one.last_known_state == 2]
    left.last_known_state = pb.Execution.CANCELED
    ledger.store.put_executions([left])
    assert only(ledger)[0] is RunState.KILLED


def test_run_that_was_killed_between_two_nodes_is_not_complete(ledger) -> None:
    ledger.run(FIRST, until="Trainer", ending=pb.Execution.COMPLETE)
    ledger.record(FIRST)
    assert only(ledger)[0] is RunState.KILLED


def test_run_that_was_stopped_by_a_signal_is_stopped(ledger) -> None:
    ledger.run(FIRST, until="Trainer", ending=pb.Execution.CANCELED)
    ledger.record(FIRST, exit_code=130)
    assert only(ledger)[0] is RunState.STOPPED


def test_run_that_was_stopped_before_its_first_node_is_listed_where_it_belongs(ledger) -> None:
    for run_id in (FIRST, THIRD):
        ledger.run(run_id)
    ledger.record(SECOND, exit_code=143, finished=f"{SECOND}+00:00")
    history = ledger.history()
    assert history.ids == [FIRST, SECOND, THIRD]
    run = history.find(SECOND)
    assert (run.state, run.seconds, run.verdict.blessed) == (RunState.STOPPED, 0.0, None)
    assert {status.state for status in run.nodes} == {State.NOT_RUN}
    # Not so a record without an end, or of a database that is gone.
    for exit_code in (None, 0, 1):
        ledger.record(SECOND, exit_code=exit_code)
        assert ledger.history().ids == [FIRST, THIRD]


def test_run_whose_process_holds_the_lock_is_running(ledger) -> None:
    ledger.run(FIRST, until="Trainer", ending=pb.Execution.RUNNING)
    own = {"pid": os.getpid(), "host": socket.gethostname()}
    ledger.record(FIRST, **own)
    holder = ledger.database.with_name("metadata.sqlite.holder.json")
    holder.write_text(json.dumps({**own, "since": "2026-01-01T10:00:00+00:00"}))
    assert only(ledger)[0] is RunState.RUNNING
    holder.write_text(json.dumps({**own, "pid": 1, "since": ""}))
    assert only(ledger)[0] is RunState.KILLED


def test_runs_stand_in_the_order_in_which_they_began_whatever_the_clock_said(ledger) -> None:
    ledger.run(THIRD)
    ledger.run(FIRST)
    history = ledger.history()
    assert history.ids == [THIRD, FIRST]
    assert history.find("latest").id == FIRST
    assert [run.id for run in history.latest(1)] == [FIRST]


def test_record_of_a_killed_run_of_an_older_version_is_read(ledger) -> None:
    ledger.run(FIRST, until="Trainer", ending=pb.Execution.COMPLETE)
    file = ledger.folder.record_file(FIRST)
    old = {"format": 1, "run_id": FIRST, "started": f"{FIRST[:19]}+00:00", "finished": ""}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**old, "exit_code": None, "command": "make run", "nodes": NODES}))
    run = ledger.history().find(FIRST)
    assert run.state is RunState.KILLED
    assert run.record is not None
    assert run.record.command == "make run"


def test_configuration_is_that_of_the_run_that_began_last_whatever_the_clock_said(ledger) -> None:
    for run_id, name in ((THIRD, "first"), (FIRST, "second")):
        ledger.run(run_id)
        ledger.record(run_id, configuration={"run": {"name": name}})
    assert record.latest_configuration(ledger.folder)["run"]["name"] == "second"


def test_runs_without_records_are_listed_by_what_ml_metadata_has(ledger) -> None:
    ledger.run(FIRST)
    ledger.run(SECOND, until="Trainer", ending=pb.Execution.FAILED)
    latest, earlier = ledger.history().latest(0)
    assert (latest.id, latest.state, earlier.id, earlier.state) == (
        SECOND, RunState.FAILED, FIRST, RunState.COMPLETE,
    )  # fmt: skip
    assert latest.failure == ("Trainer", "the log says why")
    assert earlier.record is None


def test_broken_record_does_not_hide_its_run(ledger) -> None:
    ledger.run(FIRST)
    ledger.record(FIRST)
    (ledger.output_dir / "runs" / f"{FIRST}.json").write_text("{")
    assert ledger.history().find("latest").id == FIRST


def test_record_that_lacks_keys_and_has_others_lists_its_run(ledger) -> None:
    ledger.run(FIRST)
    file = ledger.folder.record_file(FIRST)
    file.parent.mkdir()
    file.write_text(json.dumps({"run_id": FIRST, "exit_code": 0, "later": {"key": 1}}))
    run = ledger.history().find("latest")
    assert run.state is RunState.COMPLETE
    assert [status.node for status in run.nodes] == list(NODES)
    # Neither the start nor the end is in the record; ML Metadata knows when nodes ran.
    first, *_, last = sorted(
        ledger.store.get_executions(), key=lambda one: one.create_time_since_epoch
    )
    assert run.started.timestamp() == first.create_time_since_epoch / 1000
    took = last.last_update_time_since_epoch - first.create_time_since_epoch
    assert run.seconds == pytest.approx(took / 1000)


def test_run_record_is_read_as_it_was_written(ledger) -> None:
    written = record.begin(FIRST, {"run": {"name": "x"}}, NODES, "make run", Path("/logs/1.log"), 7)
    written.write(ledger.folder.record_file(FIRST))
    assert record.read(ledger.folder, FIRST) == written
    assert (written.pid, written.host, written.nodes) == (7, socket.gethostname(), NODES)
    ended = written.ended(1, "Trainer", "the loss is not a number")
    ended.write(ledger.folder.record_file(FIRST))
    assert record.read_all(ledger.folder) == {FIRST: ended}
    assert (ended.exit_code, ended.failed_node, ended.cause) == (
        1, "Trainer", "the loss is not a number",
    )  # fmt: skip
    assert ended.started is not None
    assert ended.finished is not None
    assert ended.finished >= ended.started


def test_metrics_outlive_the_files(ledger) -> None:
    made = ledger.run(FIRST)
    summary = made.of("EvaluationSummary", "metrics")
    type_id = ledger.store.put_artifact_type(
        pb.ArtifactType(
            name="EvaluationMetrics",
            properties={"accuracy": pb.DOUBLE, "reasons": pb.STRING, "macro_f1": pb.DOUBLE},
        ),
        can_add_fields=True,
    )
    summary.type_id = type_id
    summary.properties["accuracy"].double_value = 0.625
    summary.properties["reasons"].string_value = "one\ntwo"
    ledger.store.put_artifacts([summary])
    shutil.rmtree(summary.uri)
    verdict = ledger.history().find("latest").verdict
    assert (verdict.accuracy, verdict.macro_f1, verdict.reasons) == (0.625, None, ("one", "two"))


def test_runs_are_found_by_any_prefix_that_only_one_has(ledger) -> None:
    for run_id in (FIRST, SECOND):
        ledger.run(run_id, until="Transform")
    history = ledger.history()
    assert history.find("latest").id == SECOND
    assert history.find(FIRST).id == FIRST
    assert history.find("2026-01-01").id == FIRST
    assert history.find("2026-01-02 10:00").id == SECOND
    with pytest.raises(UserError, match=r"2 runs' ids start with '2026'"):
        history.find("2026")
    for nothing in ("2027", ""):
        with pytest.raises(UserError, match=rf"no run's id starts with '{nothing}'"):
            history.find(nothing)


def test_latest_runs_come_first_and_no_more_than_asked_for(ledger) -> None:
    for run_id in (FIRST, SECOND, THIRD):
        ledger.run(run_id, until="Transform")
    assert [run.id for run in ledger.history().latest(2)] == [THIRD, SECOND]


def test_folder_without_runs_is_one_line_and_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metadata\.sqlite: there is no such database"):
        History(OutputFolder(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_usual_seconds_are_of_executions_that_did_the_work(ledger) -> None:
    first = ledger.run(FIRST)
    ledger.run(SECOND, model=first)
    usual = ledger.history().usual_seconds
    assert "Trainer" in usual
    assert "LatestBlessedModel" not in usual
    executions = {one.id: one for one in ledger.store.get_executions()}
    (ran,) = [
        one
        for one in executions.values()
        if one.type == "made.Trainer" and one.last_known_state == pb.Execution.COMPLETE
    ]
    taken = ran.last_update_time_since_epoch - ran.create_time_since_epoch
    assert usual["Trainer"] == taken / 1000


def test_report_is_the_page_of_the_node_that_makes_it(ledger) -> None:
    ledger.run(FIRST)
    assert ledger.history().find("latest").report is None
    page = ledger.artifact("RunReport", "report", "RunReport")
    ledger.execution(FIRST, "RunReport", pb.Execution.COMPLETE, outputs={"report": page})
    file = Path(page.uri) / "report.html"
    file.write_text("<html>")
    assert ledger.history().find("latest").report == file
    file.unlink()
    assert ledger.history().find("latest").report is None


def test_latest_report_is_found_without_reading_the_runs_before_it(
    ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run_id in (FIRST, SECOND, THIRD):
        ledger.run(run_id, until="ParquetExampleGen")
    assert ledger.history().latest_report() is None
    page = ledger.artifact("RunReport", "report", "RunReport")
    Path(page.uri, "report.html").touch()
    ledger.execution(SECOND, "RunReport", pb.Execution.COMPLETE, outputs={"report": page})
    read: list[str | None] = []
    lineage = MetadataStore.lineage

    def counted(store: MetadataStore, run_id: str | None = None) -> Lineage:
        read.append(run_id)
        return lineage(store, run_id)

    monkeypatch.setattr(MetadataStore, "lineage", counted)
    assert ledger.history().latest_report() == Path(page.uri, "report.html")
    assert read == [THIRD, SECOND]
