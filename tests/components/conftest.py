"""A small learnable corpus, transformed by the real Transform code, and the Trainer's arguments."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from google.protobuf import text_format
from ml_metadata.proto import metadata_store_pb2 as pb
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io
from tfx.components.trainer.fn_args_utils import DataAccessor, FnArgs
from tfx.components.util import tfxio_utils
from tfx.types import standard_artifacts
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder
from tfx_bsl.public import tfxio
from tfx_bsl.tfxio import tensor_representation_util

from components.arrow import pa
from components.contracts import features
from components.contracts.columns import ARXIV
from components.metadata_store import MetadataStore
from components.model.model_settings import ModelSettings
from components.training.training_settings import PhaseSettings, TrainingSettings
from components.transform.preprocessing import preprocessing_fn

CLASSES = ["bio", "cs", "econ", "engineering", "math", "physics", "stat"]
LENGTH = 24
WIDTH = 8
_SHARES = (0.1, 0.3, 0.1, 0.1, 0.2, 0.1, 0.1)

SMALL_MODEL = ModelSettings(
    lstm_units=6, dense_units=8, wide_ngrams=256, embedding_dropout=0.1, dense_dropout=0.2
)
SMALL_TRAINING = TrainingSettings(
    phase1=PhaseSettings(epochs=2, learning_rate=0.01, patience=2),
    phase2=PhaseSettings(epochs=2, learning_rate=0.01, patience=2),
    batch_size=32,
    embedding_dim=WIDTH,
    length_buckets=(8, 16),
)


def make_rows(count: int, seed: int) -> list[dict[str, str]]:
    """Papers whose class shows in some of their words."""
    random = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        label = str(random.choice(CLASSES, p=_SHARES))
        words = [
            f"{label}term{random.integers(9)}"
            if random.random() < 0.3
            else f"word{random.integers(60)}"
            for _ in range(random.integers(2, 40))
        ]
        rows.append(
            {
                features.ABSTRACT: " ".join(words).title() + " $x^2$.",
                features.LABEL: label,
                features.ID: f"{seed}.{index}",
                features.DATE: "2019-01-02",
                features.CATEGORY: f"{label}.{'AB'[index % 2]}" if index % 9 else label,
            }
        )
    return rows


def serialize(row: dict[str, str]) -> bytes:
    """A raw tf.Example of string columns."""
    example = tf.train.Example()
    for name, value in row.items():
        example.features.feature[name].bytes_list.value.append(value.encode())
    return example.SerializeToString()


@dataclass(frozen=True)
class Workbench:
    """What the Trainer node gets: a transform graph, transformed and raw splits, a GloVe file."""

    folder: Path
    graph: Path
    examples: Any
    rows: dict[str, list[dict[str, str]]]
    glove: Path

    def fn_args(
        self,
        into: Path,
        model: ModelSettings = SMALL_MODEL,
        training: TrainingSettings = SMALL_TRAINING,
    ) -> FnArgs:
        """Arguments of a run that writes below ``into``."""
        return FnArgs(
            train_files=[str(self.folder / "examples" / "Split-train" / "*")],
            eval_files=[str(self.folder / "examples" / "Split-eval" / "*")],
            transform_output=str(self.graph),
            transform_graph_path=str(self.graph),
            data_accessor=DataAccessor(
                tf_dataset_factory=tfxio_utils.get_tf_dataset_factory_from_artifact(
                    [self.examples], []
                ),
                record_batch_factory=None,
                data_view_decode_fn=None,
            ),
            serving_model_dir=str(into / "Format-Serving"),
            model_run_dir=str(into / "model_run"),
            custom_config={
                "model": model.model_dump(mode="json"),
                "training": training.model_dump(mode="json"),
                "classes": CLASSES,
                "glove": str(self.glove),
                "glove_sha256": hashlib.sha256(self.glove.read_bytes()).hexdigest(),
                "checkpoint_dir": str(into / "checkpoints"),
                "raw_files": [str(self.folder / "raw" / "Split-eval" / "*")],
                "fingerprint": "0" * 16,
            },
        )


@pytest.fixture(scope="session")
def workbench(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Workbench:
    """Transforms 600 papers once."""
    folder = tmp_path_factory.mktemp("workbench")
    rows = {features.TRAIN: make_rows(480, 1), features.EVAL: make_rows(120, 2)}
    schema = text_format.Parse(
        (repository / "schema" / "schema.pbtxt").read_text(), schema_pb2.Schema()
    )
    config = {"vocabulary_size": 110, "sequence_length": LENGTH, "classes": CLASSES}
    batches = {
        split: pa.RecordBatch.from_pydict(
            {
                name: pa.array(
                    [[row[name].encode()] if name in row else None for row in rows[split]]
                )
                for name in (*ARXIV.required, *ARXIV.optional)
            }
        )
        for split in rows
    }
    adapter = tfxio.TensorAdapterConfig(
        batches[features.TRAIN].schema,
        tensor_representation_util.InferTensorRepresentationsFromSchema(schema),
    )
    with beam.Pipeline() as pipeline, tft_beam.Context(temp_dir=tempfile.mkdtemp(dir=folder)):
        train = (pipeline | "train" >> beam.Create([batches[features.TRAIN]]), adapter)
        transformed, graph = train | tft_beam.AnalyzeAndTransformDataset(
            lambda inputs: preprocessing_fn(inputs, config), output_record_batches=True
        )
        evaluation = (pipeline | "eval" >> beam.Create([batches[features.EVAL]]), adapter)
        transformed_eval = (evaluation, graph) | tft_beam.TransformDataset(
            output_record_batches=True
        )
        graph | tft_beam.WriteTransformFn(str(folder / "graph"))
        for split, (data, metadata) in (
            (features.TRAIN, transformed),
            (features.EVAL, transformed_eval),
        ):
            encoder = RecordBatchToExamplesEncoder(metadata.schema)
            _ = (
                data
                | f"encode {split}" >> beam.FlatMapTuple(lambda b, _, e=encoder: e.encode(b))
                | f"write {split}"
                >> beam.io.WriteToTFRecord(
                    str(folder / "examples" / f"Split-{split}" / "part"), file_name_suffix=".gz"
                )
            )
    raw = folder / "raw" / "Split-eval"
    raw.mkdir(parents=True)
    for shard in range(2):
        options = tf.io.TFRecordOptions(compression_type="GZIP")
        with tf.io.TFRecordWriter(str(raw / f"part-{shard}.gz"), options) as writer:
            for row in rows[features.EVAL][shard::2]:
                writer.write(serialize(row))
    metadata_io.write_metadata(
        dataset_metadata.DatasetMetadata(schema), str(folder / "graph" / "metadata")
    )
    examples = standard_artifacts.Examples()
    examples.uri = str(folder / "examples")
    examples.split_names = '["train", "eval"]'
    vocabulary = tft.TFTransformOutput(str(folder / "graph")).vocabulary_by_name(
        features.VOCABULARY
    )
    random = np.random.default_rng(0)
    glove = folder / "glove.txt"
    glove.write_text(
        "".join(
            f"{word.decode()} {' '.join(f'{x:.4f}' for x in random.normal(size=WIDTH))}\n"
            for word in vocabulary[:-10]
        )
    )
    return Workbench(folder, folder / "graph", examples, rows, glove)


class Book:
    """Writes executions as TFX does."""

    def __init__(self, database: Path) -> None:
        self.reader = MetadataStore(database, create=True)
        self.store = self.reader.connection
        self.types = {
            name: self.store.put_context_type(pb.ContextType(name=name))
            for name in ("pipeline_run", "node")
        }
        self.artifact = self.store.put_artifact_type(pb.ArtifactType(name="Model"))

    def ran(
        self,
        node: str,
        run: str,
        inputs: dict[str, int],
        outputs: list[int | str],
        *,
        state: int = pb.Execution.COMPLETE,
        kind: str = "Trainer",
        output_event: int = pb.Event.OUTPUT,
        **properties: str,
    ) -> tuple[int, list[int]]:
        """Records an execution; an output is the uri of a new artifact or the id of an old one."""
        type_id = self.store.put_execution_type(pb.ExecutionType(name=kind))
        execution = pb.Execution(type_id=type_id, last_known_state=state)
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
            event.path.steps.add().index = 0
            pairs.append((artifact, event))
        for output in outputs:
            artifact = pb.Artifact(type_id=self.artifact, uri=str(output), state=pb.Artifact.LIVE)
            if isinstance(output, int):
                (artifact,) = self.store.get_artifacts_by_id([output])
            pairs.append((artifact, pb.Event(type=output_event)))
        number, artifacts, _ = self.store.put_execution(
            execution, pairs, contexts, reuse_context_if_already_exist=True
        )
        return number, list(artifacts)[len(inputs) :]


@pytest.fixture(scope="session")
def new_book() -> type[Book]:
    """Makes metadata databases elsewhere."""
    return Book


@pytest.fixture
def book(tmp_path: Path) -> Book:
    """An empty metadata database that executions can be written into."""
    return Book(tmp_path / "m.sqlite")
