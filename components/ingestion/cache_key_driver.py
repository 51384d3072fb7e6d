"""ParquetExampleGen's driver, whose cache key depends on the files' content."""

from __future__ import annotations

import hashlib
import posixpath
from typing import Any

from tfx.components.example_gen import driver, utils
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import standard_component_specs
from tfx.utils import proto_utils

_CHUNK = 1 << 22


def content_fingerprint(pattern: str) -> str:
    """Returns a hex SHA-256 of the names and contents of the files that match a glob."""
    digest = hashlib.sha256()
    for path in sorted(path for path in fileio.glob(pattern) if not fileio.isdir(path)):
        with fileio.open(path, "rb") as file:
            part = hashlib.sha256()
            while chunk := file.read(_CHUNK):
                part.update(chunk)
        digest.update(path.encode() + b"\0" + part.digest())
    return digest.hexdigest()


class ContentDriver(driver.FileBasedDriver):  # type: ignore[misc]
    """Identifies input files by their content.

    TFX compares sizes and modification times in seconds. It misses an edit that keeps both, and
    runs again when a file was only touched.
    """

    def resolve_exec_properties(
        self, exec_properties: dict[str, Any], pipeline_info: Any, component_info: Any
    ) -> dict[str, Any]:
        resolved = super().resolve_exec_properties(exec_properties, pipeline_info, component_info)
        inputs = example_gen_pb2.Input()
        proto_utils.json_to_proto(resolved[standard_component_specs.INPUT_CONFIG_KEY], inputs)
        base = resolved[standard_component_specs.INPUT_BASE_KEY]
        resolved[utils.FINGERPRINT_PROPERTY_NAME] = content_fingerprint(
            posixpath.join(base, inputs.splits[0].pattern)
        )
        return dict(resolved)
