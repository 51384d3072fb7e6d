"""AnomalyGate: fails if the data have anomalies, which ExampleValidator only records."""

import logging
from pathlib import Path

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import io_utils

from components import atomic
from components.contracts import artifact_files, features, properties
from components.contracts.data_findings import Distances, Finding, Findings
from components.contracts.ingestion_summary import IngestionSummary
from components.errors import UserError
from components.validation.anomalies import compare, describe, merge

# As in tfx.components.example_validator.executor, whose import warns.
_ANOMALIES_FILE = "SchemaDiff.pb"
_SHOWN = 3


def _unreadable_dates(examples: Path, columns: set[str]) -> str:
    summary = IngestionSummary.read(examples / artifact_files.INGESTION_SUMMARY)
    if not summary.unreadable_dates or summary.date_column not in columns:
        return ""
    return (
        f". Of {summary.rows_read:,} rows, {summary.unreadable_dates:,} have a date that cannot be "
        f"read, such as {summary.unreadable_date!r}: write dates as 2024-01-31"
    )


class AcceptedData(types.Artifact):
    """Data that passed the gate: `Findings`, `Distances` and the train split's statistics."""

    TYPE_NAME = "AcceptedData"


@component  # type: ignore[untyped-decorator]
def AnomalyGate(  # noqa: N802
    examples: InputArtifact[standard_artifacts.Examples],
    anomalies: InputArtifact[standard_artifacts.ExampleAnomalies],
    statistics: InputArtifact[standard_artifacts.ExampleStatistics],
    schema: InputArtifact[standard_artifacts.Schema],
    accepted: OutputArtifact[AcceptedData],
    schema_file: Parameter[str],
    validations_file: Parameter[str],
    fingerprint: Parameter[str],
    previous: InputArtifact[AcceptedData] = None,
) -> None:
    """Stops the run if the data violate the schema or drift from the last accepted data.

    Args:
        examples: ParquetExampleGen's; its counts tell which dates could not be read.
        anomalies: ExampleValidator's.
        statistics: StatisticsGen's.
        schema: the reviewed schema, with comparators.
        accepted: receives findings, distances and statistics.
        schema_file, validations_file: files to review, for the message.
        fingerprint: hash of the sources that the node uses; part of the cache key.
        previous: AcceptedData of the last run on other data; may resolve to nothing.

    Raises:
        UserError: the data have anomalies of severity ERROR; names the first ones by split and
            column.
    """
    del fingerprint
    expected = io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(schema.uri))
    splits = artifact_utils.decode_split_names(statistics.split_names)
    found = {
        split: stats_artifact_utils.load_statistics(statistics, split).proto() for split in splits
    }
    earlier = None
    if previous is not None:
        earlier = tfdv.load_stats_binary(str(Path(previous.uri) / artifact_files.TRAIN_STATISTICS))

    findings: list[Finding] = []
    for split in splits:
        path = Path(artifact_utils.get_split_uri([anomalies], split)) / _ANOMALIES_FILE
        findings += describe(anomalies_pb2.Anomalies.FromString(path.read_bytes()), split)
    compared, distances = compare(found, expected, earlier)
    findings += compared
    errors = [finding for finding in findings if finding.severity == "ERROR"]
    for finding in findings:
        logging.warning("data anomaly (%s): %s", finding.severity, finding)
    if errors:
        sentences = merge(errors)
        hidden = len(sentences) - _SHOWN
        more = f" (and {hidden} more, in the log)" if hidden > 0 else ""
        more += _unreadable_dates(Path(examples.uri), {finding.column for finding in errors})
        raise UserError(
            f"the data break the reviewed schema: {'; '.join(sentences[:_SHOWN])}{more}. Correct "
            f"the parquet, or review and edit {schema_file} or {validations_file}."
        )

    folder = Path(accepted.uri)
    Findings(tuple(findings)).write(folder / artifact_files.FINDINGS)
    Distances(previous=previous and previous.uri, distances=tuple(distances)).write(
        folder / artifact_files.DISTANCES
    )
    atomic.write_bytes(
        folder / artifact_files.TRAIN_STATISTICS, found[features.TRAIN].SerializeToString()
    )
    accepted.set_int_custom_property(properties.STATISTICS_ID, statistics.id)
