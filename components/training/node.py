"""The Trainer node: TFX's, with raw texts for the warm-up requests and golden predictions."""

from typing import Any

from tfx import types
from tfx.components.trainer import executor
from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto import trainer_pb2
from tfx.types import artifact_utils, standard_artifacts, standard_component_specs
from tfx.types.component_spec import ChannelParameter
from tfx.utils import io_utils, json_utils

from components.contracts import features

RAW_EXAMPLES = "raw_examples"
# Key of ``custom_config``: file patterns of the raw eval split.
RAW_FILES = "raw_files"


class TextTrainerSpec(standard_component_specs.TrainerSpec):
    """TFX's Trainer specification and the examples before Transform."""

    INPUTS = {  # noqa: RUF012
        **standard_component_specs.TrainerSpec.INPUTS,
        RAW_EXAMPLES: ChannelParameter(type=standard_artifacts.Examples),
    }


class TextTrainerExecutor(executor.GenericExecutor):  # type: ignore[misc]
    """TFX's executor, which also passes the raw eval split's location to ``run_fn``."""

    def _GetFnArgs(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> Any:
        arguments = super()._GetFnArgs(input_dict, output_dict, exec_properties)
        arguments.custom_config[RAW_FILES] = [
            io_utils.all_files_pattern(uri)
            for uri in artifact_utils.get_split_uris(input_dict[RAW_EXAMPLES], features.EVAL)
        ]
        return arguments


class TextTrainer(base_component.BaseComponent):
    """Trains on transformed examples, and exports a model with requests made of raw ones.

    Args:
        run_fn: dotted path of the training function.
        examples: transformed examples, with the splits train and eval.
        raw_examples: the same before Transform; the eval split provides real requests.
        transform_graph, schema: Transform's graph and the reviewed schema.
        custom_config: passed to ``run_fn``; part of the cache key.
    """

    SPEC_CLASS = TextTrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(TextTrainerExecutor)

    def __init__(
        self,
        run_fn: str,
        examples: types.BaseChannel,
        raw_examples: types.BaseChannel,
        transform_graph: types.BaseChannel,
        schema: types.BaseChannel,
        custom_config: dict[str, Any],
    ) -> None:
        spec = TextTrainerSpec(
            examples=examples,
            raw_examples=raw_examples,
            transform_graph=transform_graph,
            schema=schema,
            train_args=trainer_pb2.TrainArgs(splits=[features.TRAIN]),
            eval_args=trainer_pb2.EvalArgs(splits=[features.EVAL]),
            run_fn=run_fn,
            custom_config=json_utils.dumps(custom_config),
            model=types.Channel(type=standard_artifacts.Model),
            model_run=types.Channel(type=standard_artifacts.ModelRun),
        )
        super().__init__(spec=spec)
