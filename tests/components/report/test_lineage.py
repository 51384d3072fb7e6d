"""What made an artifact, out of a metadata database that a test filled."""

from __future__ import annotations

import json
from pathlib import Path

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from components import provenance
from components.report import lineage

HASH = "ab" * 32


class Book:
    """Writes executions as TFX does."""

    def __init__(self, database: Path) -> None:
        config = pb.ConnectionConfig()
        config.sqlite.filename_uri = str(database)
        config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self.store = mlmd.MetadataStore(config)
        self.types = {
            name: self.store.put_context_type(pb.ContextType(name=name))
            for name in ("pipeline_run", "node")
        }
        self.artifact = self.store.put_artifact_type(pb.ArtifactType(name="Model"))
        self.execution = self.store.put_execution_type(pb.ExecutionType(name="Trainer"))

    def ran(
        self,
        node: str,
        run: str,
        inputs: dict[str, int],
        outputs: list[int | str],
        **properties: str,
    ) -> tuple[int, list[int]]:
        """Records an execution; an output is the uri of a new artifact or the id of an old one."""
        execution = pb.Execution(type_id=self.execution)
        for name, value in properties.items():
            execution.custom_properties[name].string_value = value
        contexts = [
            pb.Context(type_id=self.types["pipeline_run"], name=run),
            pb.Context(type_id=self.types["node"], name=f"arxiv.{node}"),
        ]
        pairs = []
        for name, number in inputs.items():
            (artifact,) = self.store.get_artifacts_by_id([number])
            event = pb.Event(type=pb.Event.INPUT)
            event.path.steps.add().key = name
            pairs.append((artifact, event))
        for output in outputs:
            artifact = pb.Artifact(type_id=self.artifact, uri=str(output))
            if isinstance(output, int):
                (artifact,) = self.store.get_artifacts_by_id([output])
            pairs.append((artifact, pb.Event(type=pb.Event.OUTPUT)))
        number, artifacts, _ = self.store.put_execution(
            execution, pairs, contexts, reuse_context_if_already_exist=True
        )
        return number, list(artifacts)[len(inputs) :]


def test_makers_are_found_through_others_and_through_the_cache(tmp_path: Path) -> None:
    book = Book(tmp_path / "m.sqlite")
    examples_by, (examples,) = book.ran("ParquetExampleGen", "one", {}, ["/ex"], fingerprint=HASH)
    custom = json.dumps({"custom_config": json.dumps({"fingerprint": "cd" * 32})})
    model_by, (model,) = book.ran(
        "Trainer", "one", {"examples": examples}, ["/model"], custom_config=custom
    )
    book.ran("Unrelated", "one", {"examples": examples}, ["/other"])
    # The second run found the examples in the cache.
    book.ran("ParquetExampleGen", "two", {}, [examples])
    metrics_by, (metrics,) = book.ran("EvaluationSummary", "two", {"model": model}, ["/metrics"])

    found = lineage.trace(tmp_path / "m.sqlite", [metrics])

    assert [(one.node, one.run, one.execution) for one in found] == [
        ("ParquetExampleGen", "one", examples_by),
        ("Trainer", "one", model_by),
        ("EvaluationSummary", "two", metrics_by),
    ]
    assert [one.fingerprint for one in found] == [HASH, "cd" * 32, ""]
    assert [one.outputs for one in found] == [
        (lineage.ArtifactRecord(examples, "Model", "/ex"),),
        (lineage.ArtifactRecord(model, "Model", "/model"),),
        (lineage.ArtifactRecord(metrics, "Model", "/metrics"),),
    ]
    assert all(0 <= one.seconds < 60 for one in found)


def test_what_a_run_is_compared_with_is_not_followed(tmp_path: Path) -> None:
    book = Book(tmp_path / "m.sqlite")
    _, (earlier,) = book.ran("Trainer", "one", {}, ["/earlier"])
    _, (pushed,) = book.ran("Pusher", "one", {"model": earlier}, ["/pushed"])
    _, (model,) = book.ran("Trainer", "two", {}, ["/model"])
    _, (rejected,) = book.ran("Pusher", "one and a half", {"model": model}, ["/rejected"])
    inputs = {
        "model": model, "baseline_model": earlier, "served": pushed, "rolled_back": rejected
    }  # fmt: skip
    _, (again,) = book.ran("Pusher", "two", inputs, ["/pushed-too"])

    found = lineage.trace(tmp_path / "m.sqlite", [again])

    assert [(one.node, one.run) for one in found] == [("Trainer", "two"), ("Pusher", "two")]


def test_other_nodes_of_the_run_are_listed_as_far_as_they_are_complete(tmp_path: Path) -> None:
    book = Book(tmp_path / "m.sqlite")
    examples_by, (examples,) = book.ran("ParquetExampleGen", "one", {}, ["/ex"])
    proposed_by, _ = book.ran("SchemaGen", "two", {"statistics": examples}, ["/proposal"])
    cached_by, _ = book.ran("ParquetExampleGen", "two", {}, [examples])
    report_by, _ = book.ran("RunReport", "two", {"examples": examples}, ["/report"])
    book.ran("Trainer", "one", {"examples": examples}, ["/model"])
    states = {
        proposed_by: pb.Execution.COMPLETE,
        cached_by: pb.Execution.CACHED,
        report_by: pb.Execution.RUNNING,
    }
    executions = book.store.get_executions_by_id(list(states))
    for execution in executions:
        execution.last_known_state = states[execution.id]
    book.store.put_executions(executions)

    found = lineage.trace(tmp_path / "m.sqlite", [examples], "two")

    assert [(one.node, one.run, one.execution) for one in found] == [
        ("ParquetExampleGen", "one", examples_by),
        ("SchemaGen", "two", proposed_by),
    ]
    assert lineage.trace(tmp_path / "m.sqlite", [examples], "three") == found[:1]


def test_no_database_is_no_lineage(tmp_path: Path) -> None:
    assert lineage.trace(tmp_path / "absent.sqlite", [1]) == []
    assert not (tmp_path / "absent.sqlite").exists()


@pytest.mark.parametrize(
    ("commit", "expected"),
    [
        ("ab" * 20, lineage.Code("ab" * 20, False)),
        ("ab" * 20 + "-dirty", lineage.Code("ab" * 20, True)),
        (None, lineage.Code("", False)),
    ],
)
def test_code_is_the_checkouts(
    commit: str | None, expected: lineage.Code, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "commit", lambda: commit)
    assert lineage.code() == expected
