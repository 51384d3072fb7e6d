"""The executions that a page lists, from a metadata database that a test filled."""

from __future__ import annotations

from pathlib import Path

from ml_metadata.proto import metadata_store_pb2 as pb

from components.report.run_facts import executions_behind


def test_makers_and_the_finished_nodes_of_the_run_are_listed(book, tmp_path: Path) -> None:
    database = tmp_path / "m.sqlite"
    examples_by, (examples,) = book.ran("ParquetExampleGen", "one", {}, ["/ex"])
    book.ran("Trainer", "one", {"examples": examples}, ["/model"])
    proposed_by, _ = book.ran("SchemaGen", "two", {"statistics": examples}, ["/proposal"])
    book.ran("ParquetExampleGen", "two", {}, [examples], state=pb.Execution.CACHED)
    looked_by, _ = book.ran("LatestBlessedModel", "two", {}, [], kind="tfx.dsl.Resolver")
    book.ran("RunReport", "two", {"examples": examples}, [], state=pb.Execution.RUNNING)
    book.ran("Pusher", "two", {}, [], state=pb.Execution.FAILED)

    run, found = executions_behind(database, [examples])

    assert run == "two"
    assert [(one.node, one.run, one.id) for one in found] == [
        ("ParquetExampleGen", "one", examples_by),
        ("SchemaGen", "two", proposed_by),
        ("LatestBlessedModel", "two", looked_by),
    ]
    book.ran("RunReport", "three", {"examples": examples}, [], state=pb.Execution.RUNNING)
    assert executions_behind(database, [examples]) == ("three", found[:1])


def test_no_database_is_no_lineage(tmp_path: Path) -> None:
    assert executions_behind(tmp_path / "absent.sqlite", [1]) == ("", [])
    assert not (tmp_path / "absent.sqlite").exists()
