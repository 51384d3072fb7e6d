"""ImportSchemaGen that runs again when the schema changes; the stock one keys on its path."""

from tfx import types
from tfx.components.schema_gen.import_schema_gen import executor
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter


class ReviewedSchemaSpec(ComponentSpec):
    """ImportSchemaGen's specification and the content's hash."""

    PARAMETERS = {  # noqa: RUF012
        "schema_file": ExecutionParameter(type=str),
        "fingerprint": ExecutionParameter(type=str),
    }
    INPUTS: dict[str, ChannelParameter] = {}  # noqa: RUF012
    OUTPUTS = {"schema": ChannelParameter(type=standard_artifacts.Schema)}  # noqa: RUF012


class ReviewedSchemaGen(base_component.BaseComponent):
    """Brings the reviewed schema file into the pipeline, by the stock executor.

    Args:
      schema_file: path of a text-format ``Schema``.
      fingerprint: hash of the file's content; part of the cache key.
    """

    SPEC_CLASS = ReviewedSchemaSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, schema_file: str, fingerprint: str) -> None:
        spec = ReviewedSchemaSpec(
            schema_file=schema_file,
            fingerprint=fingerprint,
            schema=types.Channel(type=standard_artifacts.Schema),
        )
        super().__init__(spec=spec)
