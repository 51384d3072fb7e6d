"""ImportSchemaGen that runs again when the schema's content changes; TFX's depends on its path."""

from pathlib import Path

from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import io_utils


@component  # type: ignore[untyped-decorator]
def ReviewedSchemaGen(  # noqa: N802
    schema: OutputArtifact[standard_artifacts.Schema],
    schema_file: Parameter[str],
    fingerprint: Parameter[str],
) -> None:
    """Imports the reviewed schema file into the pipeline.

    Args:
        schema: receives the file.
        schema_file: path of a text-format ``Schema``.
        fingerprint: hash of the file's content; part of the cache key.
    """
    del fingerprint
    io_utils.SchemaReader().read(schema_file)
    # The name in TFX's own nodes.
    io_utils.copy_file(schema_file, str(Path(schema.uri) / "schema.pbtxt"))
