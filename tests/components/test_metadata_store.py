"""What is read of ML Metadata: runs, nodes, what was made from what, and by which sources."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from components.errors import UserError
from components.metadata_store import Execution, MetadataStore, State

HASH = "ab" * 32


def ids(executions: list[Execution]) -> list[int]:
    return [one.id for one in executions]


def test_execution_has_its_node_run_state_and_links(book) -> None:
    _, (examples,) = book.ran("real.ExampleGen", "one", {}, ["/ex"])
    number, (model,) = book.ran("Trainer", "two", {"examples": examples}, ["/model"])
    (trainer,) = book.reader.lineage("two").executions
    assert (trainer.id, trainer.node, trainer.run, trainer.state) == (
        number, "Trainer", "two", State.RAN,
    )  # fmt: skip
    (taken,), (made,) = trainer.inputs, trainer.outputs
    assert (taken.key, taken.artifact.id, taken.artifact.uri) == ("examples", examples, "/ex")
    assert (made.key, made.artifact.id, made.artifact.type) == ("", model, "Model")
    assert 0 <= trainer.seconds < 60
    assert trainer.updated == trainer.started + trainer.seconds
    # The pipeline's name has no dot, a node's id may.
    assert book.reader.lineage("one").executions[0].node == "real.ExampleGen"


def test_one_run_reads_the_same_as_the_whole_database(book) -> None:
    _, (examples,) = book.ran("ExampleGen", "one", {}, ["/ex"])
    for run in ("two", "three"):
        book.ran("ExampleGen", run, {}, [examples], state=pb.Execution.CACHED)
        book.ran("Trainer", run, {"examples": examples}, [f"/model-{run}"])
    book.ran("Trainer", "two", {"examples": examples}, ["/model-again"])
    whole = book.reader.lineage()
    for run in ("one", "two", "three"):
        assert book.reader.lineage(run).latest(run) == whole.latest(run)
    assert whole.latest("two")["Trainer"].put_out[0].uri == "/model-again"
    assert whole.latest("four") == book.reader.lineage("four").latest("four") == {}
    assert book.reader.run_ids() == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("state", "kind", "expected", "left_running"),
    [
        (pb.Execution.COMPLETE, "Trainer", State.RAN, False),
        (pb.Execution.CACHED, "Trainer", State.CACHED, False),
        (pb.Execution.FAILED, "Trainer", State.FAILED, False),
        (pb.Execution.CANCELED, "Trainer", State.UNFINISHED, False),
        (pb.Execution.RUNNING, "Trainer", State.UNFINISHED, True),
        (pb.Execution.NEW, "Trainer", State.UNFINISHED, True),
        (pb.Execution.COMPLETE, "tfx.dsl.Resolver", State.RESOLVED, False),
        (pb.Execution.FAILED, "tfx.dsl.Resolver", State.FAILED, False),
    ],
)
def test_states(book, state: int, kind: str, expected: State, left_running: bool) -> None:
    book.ran("Node", "one", {}, [], state=state, kind=kind)
    (found,) = book.reader.lineage().executions
    assert (found.state, found.left_running) == (expected, left_running)
    assert found.state.complete == (expected in (State.RAN, State.CACHED, State.RESOLVED))


def test_makers_are_found_through_others_and_through_the_cache(book) -> None:
    examples_by, (examples,) = book.ran("ExampleGen", "one", {}, ["/ex"])
    model_by, (model,) = book.ran("Trainer", "one", {"examples": examples}, ["/model"])
    book.ran("Unrelated", "one", {"examples": examples}, ["/other"])
    book.ran("ExampleGen", "two", {}, [examples], state=pb.Execution.CACHED)
    metrics_by, (metrics,) = book.ran("Summary", "two", {"model": model}, ["/metrics"])
    lineage = book.reader.lineage()
    assert ids(lineage.makers([metrics])) == [examples_by, model_by, metrics_by]
    assert ids(lineage.makers([model])) == [examples_by, model_by]
    assert lineage.descendants([model]) == {metrics}
    assert metrics in lineage.descendants([examples])
    assert lineage.descendants([metrics]) == set()


def test_what_a_run_is_compared_with_is_followed_neither_way(book) -> None:
    _, (earlier, data) = book.ran("Trainer", "one", {}, ["/earlier", "/data"])
    _, (pushed,) = book.ran("Pusher", "one", {"model": earlier}, ["/pushed"])
    trainer, (model,) = book.ran("Trainer", "two", {}, ["/model"])
    _, (rejected,) = book.ran("Pusher", "between", {"model": model}, ["/rejected"])
    inputs = {
        "model": model, "baseline_model": earlier, "served": pushed, "rolled_back": rejected,
        "previous": data,
    }  # fmt: skip
    pusher, (again,) = book.ran("Pusher", "two", inputs, ["/pushed-too"])
    lineage = book.reader.lineage()
    assert ids(lineage.makers([again])) == [trainer, pusher]
    assert lineage.descendants([earlier, data]) == {pushed}


def test_resolver_makes_nothing_of_what_it_looked_up(book) -> None:
    maker, (model,) = book.ran("Trainer", "one", {}, ["/model"])
    book.ran(
        "Latest", "two", {}, [model], kind="tfx.Resolver", output_event=pb.Event.INTERNAL_OUTPUT
    )
    lineage = book.reader.lineage()
    assert lineage.latest("two")["Latest"].outputs == ()
    assert ids(lineage.sources[model]) == [maker]


def test_artifact_has_its_numbers_and_strings(book) -> None:
    _, (number,) = book.ran("ExampleGen", "one", {}, ["/ex"])
    (message,) = book.store.get_artifacts_by_id([number])
    message.custom_properties["rows"].int_value = 7
    message.custom_properties["name"].string_value = "x"
    message.custom_properties["tfx_version"].string_value = "1.16.0"
    message.custom_properties["nested"].struct_value.update({"a": 1})
    book.store.put_artifacts([message])
    (artifact,) = book.reader.lineage().artifacts.values()
    assert artifact.properties == {"rows": 7, "name": "x"}
    assert (artifact.state, artifact.alive) == ("LIVE", True)


def test_deleted_artifacts_are_marked_and_not_alive(book) -> None:
    _, (first, second) = book.ran("Trainer", "one", {}, ["/a", "/b"])
    book.reader.mark_deleted([first])
    book.reader.mark_deleted([])
    states = {one.id: (one.state, one.alive) for one in book.reader.lineage().artifacts.values()}
    assert states == {first: ("DELETED", False), second: ("LIVE", True)}


def test_left_running_executions_are_cancelled_once(book) -> None:
    running, _ = book.ran("Trainer", "one", {}, [], state=pb.Execution.RUNNING)
    failed, _ = book.ran("Trainer", "two", {}, [], state=pb.Execution.FAILED)
    assert [book.reader.cancel_unfinished() for _ in range(2)] == [1, 0]
    states = {one.id: one.last_known_state for one in book.store.get_executions()}
    assert states == {running: pb.Execution.CANCELED, failed: pb.Execution.FAILED}


def test_error_that_tfx_recorded_is_read(book) -> None:
    for result in ('{"resultMessage": "ValueError: x", "code": 1}', "{}", "no JSON"):
        book.ran("A", "one", {}, [], state=pb.Execution.FAILED, __execution_result__=result)
    book.ran("A", "one", {}, [], state=pb.Execution.FAILED)
    errors = [one.error for one in book.reader.lineage().executions]
    assert errors == ["ValueError: x", "", "", ""]


def test_absent_and_broken_databases_are_one_line(tmp_path: Path) -> None:
    file = tmp_path / "m.sqlite"
    with pytest.raises(UserError, match=r"m\.sqlite: there is no such database"):
        MetadataStore(file)
    assert not file.exists()
    file.write_text("no database, but long enough to be read as one" * 100)
    with pytest.raises(UserError, match=r"is not a readable ML Metadata database: [^\n]*; move"):
        MetadataStore(file)


@pytest.mark.parametrize("seed", range(40))
def test_damage_anywhere_is_read_over_or_one_line(
    whole: bytes, tmp_path: Path, seed: int, capfd: pytest.CaptureFixture[str]
) -> None:
    chance, damaged = random.Random(seed), bytearray(whole)
    if seed % 4 == 0:
        del damaged[chance.randrange(4096, len(damaged)) :]
    for _ in range(chance.choice((1, 3, 20)) if seed % 4 else 0):
        start, length = chance.randrange(100, len(damaged)), chance.choice((1, 8, 200, 4096))
        damaged[start : start + length] = chance.randbytes(len(damaged[start : start + length]))
    file = tmp_path / "m.sqlite"
    file.write_bytes(damaged)
    try:
        store = MetadataStore(file)
        found = store.lineage()
        _ = [(one.error, one.fingerprint, one.put_out, one.state) for one in found.executions]
        _ = [one.properties for one in found.artifacts.values()]
        _ = [store.lineage(run_id) for run_id in store.run_ids()]
    except UserError as error:
        line = str(error)
        assert re.fullmatch(rf"{file} is not a readable ML Metadata database: \S.*", line), line
        assert line.endswith("; move it away to start anew")
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def whole(new_book, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database with some pages of executions and artifacts."""
    file = tmp_path_factory.mktemp("whole") / "m.sqlite"
    book = new_book(file)
    for run_id in "AB":
        for node in "abcdefghij":
            book.ran(run_id, node, {}, [f"/{node}"], __execution_result__='{"resultMessage": "x"}')
    return file.read_bytes()


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"fingerprint": HASH}, HASH),
        ({"custom_config": json.dumps({"fingerprint": HASH})}, HASH),
        ({"eval_config": json.dumps({"a": [json.dumps({"b": {"fingerprint": HASH}})]})}, HASH),
        ({"custom_config": json.dumps({"c": json.dumps(json.dumps({"fingerprint": HASH}))})}, HASH),
        ({"input_fingerprint": HASH, "fingerprint": ""}, ""),
        ({"custom_config": json.dumps({"input_fingerprint": HASH})}, ""),
        ({"module_path": "/somewhere"}, ""),
    ],
)
def test_hash_of_the_sources_is_found_however_deep(
    properties: dict[str, str], expected: str
) -> None:
    for table in ("properties", "custom_properties"):
        message = pb.Execution()
        for name, value in properties.items():
            getattr(message, table)[name].string_value = value
        assert Execution(1, "Trainer", "one", (), (), message).fingerprint == expected
