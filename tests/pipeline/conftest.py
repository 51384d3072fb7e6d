"""A metadata database of made-up runs, laid out as TFX lays one out, with folders and records."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from components.metadata_store import MetadataStore
from pipeline.runs.history import History
from pipeline.runs.layout import OutputFolder
from pipeline.runs.record import RunRecord

NODES = (
    "ParquetExampleGen",
    "Transform",
    "Trainer",
    "LatestBlessedModel",
    "Evaluator",
    "EvaluationSummary",
    "Pusher",
)


@dataclass
class Made:
    """What a made-up run put out: {node: {output: artifact}}."""

    id: str
    outputs: dict[str, dict[str, pb.Artifact]] = field(default_factory=dict)

    def of(self, node: str, key: str) -> pb.Artifact:
        return self.outputs[node][key]


class Ledger:
    """Writes made-up runs into an output folder."""

    def __init__(self, output_dir: Path) -> None:
        self.output_dir = output_dir
        output_dir.mkdir(parents=True, exist_ok=True)
        self.folder = OutputFolder(output_dir)
        self.database = self.folder.metadata_file
        self.root = self.folder.pipeline_root
        self.serving = self.folder.serving_root / "made"
        self.reader = MetadataStore(self.database, create=True)
        self.store: mlmd.MetadataStore = self.reader.connection
        self._types: dict[tuple[str, str], int] = {}
        self._folders = 0

    def history(self) -> History:
        return History(self.folder)

    def record(self, run_id: str, **values: Any) -> None:
        values = {"run_id": run_id, "started": f"{run_id}+00:00", "nodes": NODES, **values}
        RunRecord.model_validate(values).write(self.folder)

    def run(
        self,
        run_id: str,
        *,
        data: Made | None = None,
        model: Made | None = None,
        blessed: bool = True,
        baseline: pb.Artifact | None = None,
        accuracy: float = 0.8,
        slices: dict[str, float] | None = None,
        until: str = "",
        ending: int = pb.Execution.COMPLETE,
        rows: int = 100,
        fingerprint: str = "f0",
        push: bool = True,
        served: pb.Artifact | None = None,
    ) -> Made:
        """Makes a run; nodes before what ``data`` and ``model`` hold are cached from these runs.

        ``until`` names the node that ends with ``ending``; nothing runs after it.
        """
        made = Made(run_id)

        def node(
            name: str,
            inputs: dict[str, pb.Artifact],
            outputs: dict[str, tuple[str, dict[str, int | float | str]]],
            cached: Made | None = None,
        ) -> bool:
            state = ending if name == until else pb.Execution.COMPLETE
            if cached is not None:
                state = pb.Execution.CACHED
            if state == pb.Execution.CACHED and cached is not None:
                made.outputs[name] = cached.outputs[name]
            elif state == pb.Execution.COMPLETE:
                made.outputs[name] = {
                    key: self._artifact(name, key, kind, values)
                    for key, (kind, values) in outputs.items()
                }
            self.execution(run_id, name, state, inputs, made.outputs.get(name, {}), fingerprint)
            return name != until

        old = data or model
        examples: dict[str, int | float | str] = {"rows_read": rows, "input_fingerprint": f"{rows}"}
        if not node("ParquetExampleGen", {}, {"examples": ("Examples", examples)}, old):
            return made
        read = made.of("ParquetExampleGen", "examples")
        if not node(
            "Transform",
            {"examples": read},
            {"transformed_examples": ("Examples", {}), "updated_analyzer_cache": ("Cache", {})},
            old,
        ):
            return made
        transformed = made.of("Transform", "transformed_examples")
        if not node(
            "Trainer",
            {"examples": transformed},
            {"model": ("Model", {}), "model_run": ("ModelRun", {})},
            model,
        ):
            return made
        self.execution(run_id, "LatestBlessedModel", pb.Execution.COMPLETE)
        trained = made.of("Trainer", "model")
        against = {"baseline_model": baseline} if baseline is not None else {}
        if not node(
            "Evaluator",
            {"examples": read, "model": trained, **against},
            {
                "evaluation": ("ModelEvaluation", {}),
                "blessing": ("ModelBlessing", {"blessed": int(blessed)}),
            },
        ):
            return made
        judged = {
            "evaluation": made.of("Evaluator", "evaluation"),
            "blessing": made.of("Evaluator", "blessing"),
        }
        if not node("EvaluationSummary", judged, {"metrics": ("EvaluationMetrics", {})}):
            return made
        reasons = ["accuracy reaches it" if blessed else "accuracy is below the threshold"]
        metrics = {
            "overall": {
                "examples": 20,
                "accuracy": accuracy,
                "macro_f1": accuracy / 2,
                "cross_entropy": 1 - accuracy,
                "per_class": {"cs": {"f1": accuracy}},
            },
            "slices": [
                {"feature": "year", "value": value, "accuracy": score, "macro_f1": None}
                for value, score in (slices or {}).items()
            ],
            "reasons": reasons,
        }
        summary = made.of("EvaluationSummary", "metrics")
        (Path(summary.uri) / "metrics.json").write_text(json.dumps(metrics))
        version = self.serving / str(1000 + summary.id)
        pushed: dict[str, int | float | str] = {"pushed": int(blessed and push)}
        if pushed["pushed"]:
            pushed["pushed_destination"] = str(version)
            version.mkdir(parents=True)
        before = {"served": served} if served is not None else {}
        node(
            "Pusher",
            {"model": trained, "model_blessing": judged["blessing"], **before},
            {"pushed_model": ("PushedModel", pushed)},
        )
        return made

    def execution(
        self,
        run_id: str,
        node: str,
        state: int,
        inputs: dict[str, pb.Artifact] | None = None,
        outputs: dict[str, pb.Artifact] | None = None,
        fingerprint: str = "",
    ) -> None:
        """Writes one execution; new artifacts among its outputs get their ids."""
        kind = "tfx.Resolver" if node.startswith("Latest") else f"made.{node}"
        execution = pb.Execution(type_id=self._type("execution", kind), last_known_state=state)
        if fingerprint:
            execution.custom_properties["fingerprint"].string_value = fingerprint
        links = [
            (artifact, self._event(key, way))
            for artifacts, way in ((inputs, pb.Event.INPUT), (outputs, pb.Event.OUTPUT))
            for key, artifact in (artifacts or {}).items()
        ]
        contexts = [
            pb.Context(type_id=self._type("context", kind), name=name)
            for kind, name in (
                ("pipeline", "made"), ("pipeline_run", run_id), ("node", f"made.{node}"),
            )
        ]  # fmt: skip
        _, numbers, _ = self.store.put_execution(
            execution, links, contexts, reuse_context_if_already_exist=True
        )
        for (artifact, _), number in zip(links, numbers, strict=True):
            artifact.id = number

    def artifact(self, node: str, key: str, kind: str, **values: int | float | str) -> pb.Artifact:
        """Makes an artifact with its folder; an execution has yet to put it out."""
        return self._artifact(node, key, kind, values)

    def _artifact(
        self, node: str, key: str, kind: str, values: Mapping[str, int | float | str]
    ) -> pb.Artifact:
        self._folders += 1
        folder = self.root / node / key / str(self._folders)
        folder.mkdir(parents=True)
        (folder / "file").write_text("x" * 100)
        artifact = pb.Artifact(
            type_id=self._type("artifact", kind), uri=str(folder), state=pb.Artifact.LIVE
        )
        for name, value in values.items():
            if isinstance(value, str):
                artifact.custom_properties[name].string_value = value
            else:
                artifact.custom_properties[name].int_value = int(value)
        return artifact

    def _type(self, what: str, name: str) -> int:
        """The id of a type, put once: each transaction waits for the disk."""
        if (what, name) not in self._types:
            put = getattr(self.store, f"put_{what}_type")
            message = getattr(pb, f"{what.capitalize()}Type")
            self._types[what, name] = put(message(name=name))
        return self._types[what, name]

    @staticmethod
    def _event(key: str, way: int) -> pb.Event:
        steps = [pb.Event.Path.Step(key=key), pb.Event.Path.Step(index=0)]
        return pb.Event(type=way, path=pb.Event.Path(steps=steps))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """An empty ledger."""
    return Ledger(tmp_path / "out")


@pytest.fixture
def new_ledger() -> Callable[[Path], Ledger]:
    """Makes ledgers elsewhere."""
    return Ledger
