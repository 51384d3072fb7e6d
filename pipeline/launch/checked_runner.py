"""TFX's local runner, with a check that no node reads an artifact that was changed on the disk.

ML Metadata keeps the digest of every artifact as its node wrote it. Cached results come with it, so
one check before each node covers all of them: a damaged one stops the run and is not trained on.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from absl import logging
from tfx import types
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.portable import data_types, launcher
from tfx.proto.orchestration import execution_result_pb2, pipeline_pb2

from components.contracts import properties
from components.contracts.manifest import Manifest
from components.errors import UserError


class CheckedRunner(LocalDagRunner):  # type: ignore[misc]
    """Runs a pipeline's nodes one after the other, as TFX's runner does."""

    def run_with_ir(self, pipeline: pipeline_pb2.Pipeline) -> None:
        """Runs a compiled pipeline.

        Raises:
            UserError: an artifact that a node reads was changed after it was made.
        """
        deployment = runner_utils.extract_local_deployment_config(pipeline)
        kind = deployment.metadata_connection_config.WhichOneof("connection_config")
        connection = getattr(deployment.metadata_connection_config, kind)
        for one in pipeline.nodes:
            node = one.pipeline_node
            name = node.node_info.id
            # In TFX's words, which the display of a run waits for.
            logging.info("Component %s is running.", name)
            _CheckedLauncher(
                pipeline_node=node,
                mlmd_connection=metadata.Metadata(connection),
                pipeline_info=pipeline.pipeline_info,
                pipeline_runtime_spec=pipeline.runtime_spec,
                executor_spec=runner_utils.extract_executor_spec(deployment, name),
                custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, name),
            ).launch()
            logging.info("Component %s is finished.", name)


class _CheckedLauncher(launcher.Launcher):  # type: ignore[misc]
    def _run_executor(
        self, execution_info: data_types.ExecutionInfo
    ) -> execution_result_pb2.ExecutorOutput:
        for artifacts in execution_info.input_dict.values():
            check_unchanged(artifacts)
        output = super()._run_executor(execution_info)
        for listed in output.output_artifacts.values():
            for artifact in listed.artifacts:
                folder = Path(artifact.uri)
                # Not so the artifact of a plain value, or one on an object store.
                if folder.is_dir():
                    digest = Manifest.of(folder).digest
                    artifact.custom_properties[properties.CONTENT_DIGEST].string_value = digest
        return output


def check_unchanged(artifacts: Iterable[types.Artifact]) -> None:
    """Checks artifacts against the digests in ML Metadata.

    One without a digest is of an earlier release. One without a folder was removed, and is the
    node's business: some inputs are only looked up.

    Raises:
        UserError: one was changed after it was made.
    """
    for artifact in artifacts:
        digest = artifact.get_string_custom_property(properties.CONTENT_DIGEST)
        folder = Path(artifact.uri)
        if not digest or not folder.exists():
            continue
        try:
            found = Manifest.of(folder).digest
        except OSError as error:
            raise UserError(f"{error.filename}: cannot be read: {error.strerror}") from error
        if found != digest:
            raise UserError(
                f"{folder} was changed or damaged after it was made; remove that folder and run "
                "again: what is missing is made anew"
            )
