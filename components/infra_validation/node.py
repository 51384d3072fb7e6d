"""The node that blesses infrastructure: whether an exported model can be served as it should be."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.infra_validation.budgets import InfraValidationSettings
from components.infra_validation.infra_executor import ServingValidatorExecutor


class ServingValidatorSpec(ComponentSpec):
    """Inputs, outputs and parameters of ServingValidator."""

    PARAMETERS = {  # noqa: RUF012
        "settings": ExecutionParameter(type=str),
        "fingerprint": ExecutionParameter(type=str),
    }
    INPUTS = {"model": ChannelParameter(type=standard_artifacts.Model)}  # noqa: RUF012
    OUTPUTS = {  # noqa: RUF012
        "blessing": ChannelParameter(type=standard_artifacts.InfraBlessing)
    }


class ServingValidator(base_component.BaseComponent):
    """Emits the InfraBlessing that Pusher takes.

    Args:
        model: the Trainer's.
        settings: budgets and tolerance.
        fingerprint: hash of the sources that the node uses; part of the cache key.
    """

    SPEC_CLASS = ServingValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(ServingValidatorExecutor)

    def __init__(
        self, model: types.BaseChannel, settings: InfraValidationSettings, fingerprint: str
    ) -> None:
        spec = ServingValidatorSpec(
            model=model,
            settings=settings.model_dump_json(),
            fingerprint=fingerprint,
            blessing=types.Channel(type=standard_artifacts.InfraBlessing),
        )
        super().__init__(spec=spec)
