"""Wires the nodes into the TFX pipeline."""

from __future__ import annotations

import json
from typing import Any

from tensorflow_data_validation.anomalies.proto import custom_validation_config_pb2
from tfx.components.evaluator.component import Evaluator
from tfx.components.example_validator.component import ExampleValidator
from tfx.components.schema_gen.component import SchemaGen
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.components.transform.component import Transform
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import trainer_pb2
from tfx.types import BaseChannel, Channel
from tfx.types.standard_artifacts import Model, PushedModel

from components.contracts import features, node_ids
from components.contracts.manifest import file_digest
from components.evaluation.node import EvaluationSummary
from components.infra_validation.node import ServingValidator
from components.ingestion.node import ParquetExampleGen
from components.model_card.node import TEMPLATE_FILE as CARD_TEMPLATE
from components.model_card.node import ModelCardWriter
from components.predictions.node import Predictions
from components.pushing.node import VersionedPusher
from components.report.node import TEMPLATE_FILE, RunReport
from components.resolvers import (
    LatestOtherDataStrategy,
    LatestOtherPushedModelStrategy,
    LatestPushStrategy,
)
from components.training.node import TextTrainer
from components.tuning.node import Tuner
from components.validation.node import AcceptedData, AnomalyGate
from components.validation.reviewed_files import parse, read_classes
from components.validation.reviewed_schema import ReviewedSchemaGen
from pipeline.config.pipeline_config import PipelineConfig
from pipeline.eval_config import make_eval_config
from pipeline.fingerprint import code_fingerprint

_PREPROCESSING = "components.transform.preprocessing"
_RUN_FN = "components.training.run_fn"
_TUNER_FN = "components.tuning.tuner_fn"
_TUNER = "components.tuning.node"


def create_pipeline(config: PipelineConfig) -> Pipeline:
    """Returns the pipeline; building it hashes the inputs and runs nothing.

    Raises:
        UserError: the schema or the validations file cannot be used.
    """
    columns = config.data.columns
    classes = read_classes(config.data.schema_file, columns.label)
    validations = parse(
        config.data.validations_file, custom_validation_config_pb2.CustomValidationConfig()
    )

    example_gen = ParquetExampleGen(
        parquet=str(config.data.parquet),
        shares=config.data.splits.as_dict(),
        seed=config.data.splits.seed,
        columns=columns,
        fingerprint=code_fingerprint("components.ingestion.examples_executor"),
    )
    statistics_gen = StatisticsGen(examples=example_gen.outputs["examples"])
    statistics = statistics_gen.outputs["statistics"]
    # The inferred schema helps whoever reviews the schema; no node reads it.
    schema_gen = SchemaGen(statistics=statistics, infer_feature_shape=True)
    schema_import = ReviewedSchemaGen(
        schema_file=str(config.data.schema_file),
        fingerprint=code_fingerprint(
            "components.validation.reviewed_schema", files=[config.data.schema_file]
        ),
    ).with_id(node_ids.IMPORT_SCHEMA_GEN)
    schema = schema_import.outputs["schema"]
    example_validator = ExampleValidator(
        statistics=statistics, schema=schema, custom_validation_config=validations
    )
    previous_data = Resolver(
        strategy_class=LatestOtherDataStrategy,
        accepted=Channel(type=AcceptedData),
        statistics=statistics,
    ).with_id(node_ids.LATEST_ACCEPTED_DATA)
    gate = AnomalyGate(
        examples=example_gen.outputs["examples"],
        anomalies=example_validator.outputs["anomalies"],
        statistics=statistics,
        schema=schema,
        previous=previous_data.outputs["accepted"],
        schema_file=str(config.data.schema_file),
        validations_file=str(config.data.validations_file),
        fingerprint=code_fingerprint("components.validation.node"),
    )

    transform = Transform(
        examples=example_gen.outputs["examples"],
        schema=schema,
        preprocessing_fn=f"{_PREPROCESSING}.preprocessing_fn",
        disable_statistics=True,
        custom_config={
            **config.transform.model_dump(),
            "classes": classes,
            "columns": columns.model_dump(mode="json"),
            "fingerprint": code_fingerprint(_PREPROCESSING),
        },
    )
    transform.add_upstream_node(gate)

    trainer = TextTrainer(
        run_fn=f"{_RUN_FN}.run_fn",
        examples=transform.outputs["transformed_examples"],
        raw_examples=example_gen.outputs["examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema,
        custom_config={
            **_training(config, classes),
            "checkpoint_dir": str(config.folder.checkpoint_dir),
            "fingerprint": code_fingerprint(_RUN_FN),
        },
    ).with_id(node_ids.TRAINER)
    model = trainer.outputs["model"]

    baseline = Resolver(
        strategy_class=LatestOtherPushedModelStrategy,
        model=Channel(type=Model),
        pushed=Channel(type=PushedModel),
        candidate=model,
    ).with_id(node_ids.LATEST_BLESSED_MODEL)
    evaluator = Evaluator(
        examples=example_gen.outputs["examples"],
        example_splits=[features.TEST],
        model=model,
        baseline_model=baseline.outputs["model"],
        schema=schema,
        eval_config=make_eval_config(
            config.evaluation,
            classes,
            code_fingerprint("components.evaluation.tfma_metrics"),
            columns,
        ),
    )
    summary = EvaluationSummary(
        evaluation=evaluator.outputs["evaluation"],
        blessing=evaluator.outputs["blessing"],
        classes=classes,
        fingerprint=code_fingerprint("components.evaluation.node"),
    )
    infra_validator = ServingValidator(
        model=model,
        settings=config.infra_validation.model_dump_json(),
        fingerprint=code_fingerprint(
            "components.infra_validation.node", "components.infra_validation.probe"
        ),
    ).with_id(node_ids.INFRA_VALIDATOR)
    card = ModelCardWriter(
        examples=example_gen.outputs["examples"],
        model=model,
        metrics=summary.outputs["metrics"],
        infra_blessing=infra_validator.outputs["blessing"],
        pipeline_name=config.name,
        description=config.data.description,
        fingerprint=code_fingerprint("components.model_card.node", files=[CARD_TEMPLATE]),
    ).with_id(node_ids.MODEL_CARD)
    served = Resolver(
        strategy_class=LatestPushStrategy,
        pushed=Channel(type=PushedModel),
        rolled_back=Channel(type=PushedModel),
        model=model,
    ).with_id(node_ids.LATEST_PUSH)
    pusher = VersionedPusher(
        model=model,
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=infra_validator.outputs["blessing"],
        model_card=card.outputs["card"],
        served=served.outputs["pushed"],
        rolled_back=served.outputs["rolled_back"],
        folder=str(config.serving_dir),
        owner=config.run.owner.to_json(),
        fingerprint=code_fingerprint("components.pushing.node"),
    ).with_id(node_ids.PUSHER)

    # After the Pusher: a failure here cannot keep a blessed model from being pushed.
    predictions = Predictions(
        examples=example_gen.outputs["examples"],
        model=model,
        baseline_model=baseline.outputs["model"],
        split=features.TEST,
        names=columns.model_dump_json(),
        fingerprint=code_fingerprint("components.predictions.node"),
    )
    predictions.add_upstream_node(pusher)
    report = RunReport(
        examples=example_gen.outputs["examples"],
        accepted=gate.outputs["accepted"],
        model=model,
        metrics=summary.outputs["metrics"],
        predictions=predictions.outputs["predictions"],
        infra_blessing=infra_validator.outputs["blessing"],
        pushed=pusher.outputs["pushed_model"],
        pipeline=config.name,
        config=json.dumps(config.model_dump(mode="json", exclude_none=True)),
        metadata_file=str(config.folder.metadata_file),
        fingerprint=code_fingerprint("components.report.node", files=[TEMPLATE_FILE]),
    )
    # A search may take hours and no node reads its result, which is for whoever edits the
    # configuration. So it comes last.
    searches = [_tuner(config, classes, transform, schema)] if config.tuning.enabled else []
    for search in searches:
        search.add_upstream_node(report)

    return Pipeline(
        pipeline_name=config.name,
        pipeline_root=str(config.folder.pipeline_root),
        components=[
            example_gen,
            statistics_gen,
            schema_gen,
            schema_import,
            example_validator,
            previous_data,
            gate,
            transform,
            trainer,
            baseline,
            evaluator,
            summary,
            infra_validator,
            card,
            served,
            pusher,
            predictions,
            report,
            *searches,
        ],
        enable_cache=True,
        metadata_connection_config=sqlite_metadata_connection_config(
            str(config.folder.metadata_file)
        ),
        beam_pipeline_args=list(config.run.beam_args),
    )


def _training(config: PipelineConfig, classes: list[str]) -> dict[str, Any]:
    """Returns what a training depends on besides its data and its code."""
    glove = config.data.glove
    return {
        "model": config.model.model_dump(mode="json"),
        "training": config.training.model_dump(mode="json"),
        "classes": classes,
        "columns": config.data.columns.model_dump(mode="json"),
        "glove": str(glove or ""),
        "glove_sha256": file_digest(glove) if glove else "",
    }


def _tuner(
    config: PipelineConfig, classes: list[str], transform: Transform, schema: BaseChannel
) -> Tuner:
    return Tuner(
        tuner_fn=f"{_TUNER_FN}.tuner_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema,
        train_args=trainer_pb2.TrainArgs(splits=[features.TRAIN]),
        eval_args=trainer_pb2.EvalArgs(splits=[features.EVAL]),
        custom_config={
            **_training(config, classes),
            "tuning": config.tuning.model_dump(mode="json"),
            "tuning_dir": str(config.folder.tuning_dir),
            "fingerprint": code_fingerprint(_TUNER),
        },
    )
