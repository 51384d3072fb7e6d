"""AnomalyGate: fails when the data break the schema, which ExampleValidator only records."""

import json
import logging
from pathlib import Path
from typing import Any

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.utils import io_utils

from components.contracts import features
from components.errors import UserError
from components.validation.anomalies import Finding, compare, describe, distances, merge

STATISTICS_ID = "statistics_id"
FINDINGS_FILE = "findings.json"
DISTANCES_FILE = "distances.json"
STATISTICS_FILE = "train_statistics.pb"
# As tfx.components.example_validator.executor names it; importing its constant warns.
_ANOMALIES_FILE = "SchemaDiff.pb"
_SHOWN = 3


class AcceptedData(types.Artifact):
    """Data that passed the gate.

    Holds the findings (warnings), the train split's statistics, and what the comparators measured:
    ``previous`` (uri of the data compared with, or None) and ``distances``.
    """

    TYPE_NAME = "AcceptedData"


class AnomalyGateSpec(ComponentSpec):
    """Inputs, outputs and parameters of AnomalyGate."""

    PARAMETERS = {  # noqa: RUF012
        "schema_file": ExecutionParameter(type=str),
        "validations_file": ExecutionParameter(type=str),
        "fingerprint": ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        "anomalies": ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        "statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "schema": ChannelParameter(type=standard_artifacts.Schema),
        "previous": ChannelParameter(type=AcceptedData, optional=True),
    }
    OUTPUTS = {"accepted": ChannelParameter(type=AcceptedData)}  # noqa: RUF012


class AnomalyGateExecutor(base_executor.BaseExecutor):
    """Raises UserError on any anomaly of severity ERROR; otherwise records what it saw."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Gates the data.

        Raises:
          UserError: naming the first anomalies by split and column, and where the rest is.
        """
        recorded = artifact_utils.get_single_instance(input_dict["anomalies"])
        statistics_artifact = artifact_utils.get_single_instance(input_dict["statistics"])
        schema = io_utils.SchemaReader().read(
            io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(input_dict["schema"]))
        )
        splits = artifact_utils.decode_split_names(statistics_artifact.split_names)
        statistics = {
            split: stats_artifact_utils.load_statistics(statistics_artifact, split).proto()
            for split in splits
        }
        previous = None
        if input_dict.get("previous"):
            accepted = artifact_utils.get_single_instance(input_dict["previous"])
            previous = tfdv.load_stats_binary(str(Path(accepted.uri) / STATISTICS_FILE))

        findings: list[Finding] = []
        for split in splits:
            path = Path(artifact_utils.get_split_uri([recorded], split)) / _ANOMALIES_FILE
            findings += describe(anomalies_pb2.Anomalies.FromString(path.read_bytes()), split)
        findings += compare(statistics, schema, previous)
        errors = [finding for finding in findings if finding.severity == "ERROR"]
        for finding in findings:
            logging.warning("data anomaly (%s): %s", finding.severity, finding)
        if errors:
            sentences = merge(errors)
            shown = "; ".join(sentences[:_SHOWN])
            hidden = len(sentences) - _SHOWN
            more = f" (and {hidden} more, in the log)" if hidden > 0 else ""
            files = f"{exec_properties['schema_file']} or {exec_properties['validations_file']}"
            raise UserError(
                f"the data break the reviewed schema: {shown}{more}. Mend the parquet, or review "
                f"and edit {files}."
            )

        output = artifact_utils.get_single_instance(output_dict["accepted"])
        folder = Path(output.uri)
        folder.mkdir(parents=True, exist_ok=True)
        rows = [finding.to_json() for finding in findings]
        (folder / FINDINGS_FILE).write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
        measured = {
            "previous": accepted.uri if previous is not None else None,
            "distances": [one.to_json() for one in distances(statistics, schema, previous)],
        }
        (folder / DISTANCES_FILE).write_text(
            json.dumps(measured, indent=2) + "\n", encoding="utf-8"
        )
        (folder / STATISTICS_FILE).write_bytes(statistics[features.TRAIN].SerializeToString())
        output.set_int_custom_property(STATISTICS_ID, statistics_artifact.id)


class AnomalyGate(base_component.BaseComponent):
    """Stops the run when the data break the schema or drift from the last accepted data.

    Args:
      anomalies: ExampleValidator's.
      statistics: StatisticsGen's.
      schema: the reviewed schema, with comparators.
      previous: AcceptedData of the last run on other data; may resolve to nothing.
      schema_file, validations_file: what to review, for the message.
      fingerprint: hash of the sources that the node uses; part of the cache key.
    """

    SPEC_CLASS = AnomalyGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(AnomalyGateExecutor)

    def __init__(
        self,
        anomalies: types.BaseChannel,
        statistics: types.BaseChannel,
        schema: types.BaseChannel,
        previous: types.BaseChannel,
        schema_file: str,
        validations_file: str,
        fingerprint: str,
    ) -> None:
        spec = AnomalyGateSpec(
            anomalies=anomalies,
            statistics=statistics,
            schema=schema,
            previous=previous,
            schema_file=schema_file,
            validations_file=validations_file,
            fingerprint=fingerprint,
            accepted=types.Channel(type=AcceptedData),
        )
        super().__init__(spec=spec)
