"""The Pusher node: TFX's with increasing versions, which takes rollbacks into account."""

import json

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.model_card.artifact import ModelCard
from components.pushing.owner import Owner
from components.pushing.push_executor import VersionedPusherExecutor


class VersionedPusherSpec(ComponentSpec):
    """TFX's Pusher specification, with the model card and earlier pushes."""

    PARAMETERS = {  # noqa: RUF012
        "push_destination": ExecutionParameter(type=pusher_pb2.PushDestination),
        "custom_config": ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        "model": ChannelParameter(type=standard_artifacts.Model),
        "model_blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
        "infra_blessing": ChannelParameter(type=standard_artifacts.InfraBlessing),
        "model_card": ChannelParameter(type=ModelCard),
        "served": ChannelParameter(type=standard_artifacts.PushedModel, optional=True),
        "rolled_back": ChannelParameter(type=standard_artifacts.PushedModel, optional=True),
    }
    OUTPUTS = {  # noqa: RUF012
        "pushed_model": ChannelParameter(type=standard_artifacts.PushedModel)
    }


class VersionedPusher(base_component.BaseComponent):
    """Pushes a blessed model to a local folder under a new version.

    Args:
        model: the Trainer's.
        model_blessing: the Evaluator's.
        infra_blessing: the ServingValidator's.
        model_card: copied into the version's ``assets.extra``.
        served: the push that was served before ``model``; may resolve to nothing. Part of the cache
            key: if another model was served since, the same model is pushed again.
        rolled_back: the last push of ``model`` if it was rolled back, else nothing. Such a model is
            not pushed.
        folder: local folder of the numeric version folders.
        owner: the pipeline, which must own that folder or be the first to push into it.
        fingerprint: hash of the sources that the node uses; part of the cache key.
    """

    SPEC_CLASS = VersionedPusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(VersionedPusherExecutor)

    def __init__(
        self,
        model: types.BaseChannel,
        model_blessing: types.BaseChannel,
        infra_blessing: types.BaseChannel,
        model_card: types.BaseChannel,
        served: types.BaseChannel,
        rolled_back: types.BaseChannel,
        folder: str,
        owner: Owner,
        fingerprint: str,
    ) -> None:
        filesystem = pusher_pb2.PushDestination.Filesystem(base_directory=folder)
        spec = VersionedPusherSpec(
            model=model,
            model_blessing=model_blessing,
            infra_blessing=infra_blessing,
            model_card=model_card,
            served=served,
            rolled_back=rolled_back,
            push_destination=pusher_pb2.PushDestination(filesystem=filesystem),
            custom_config=json.dumps({"fingerprint": fingerprint, "owner": owner.model_dump()}),
            pushed_model=types.Channel(type=standard_artifacts.PushedModel),
        )
        super().__init__(spec=spec)
