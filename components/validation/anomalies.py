"""Converts TFDV's anomalies to findings and sentences."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from components.contracts import features
from components.contracts.data_findings import Distance, Finding

# In a smaller split, the proportions of classes are coarser than the comparators' thresholds.
_MIN_SKEW_EXAMPLES = 200
# The comparators' anomalies of columns; ExampleValidator reports the others.
_COMPARATORS = (
    anomalies_pb2.AnomalyInfo.COMPARATOR_L_INFTY_HIGH,
    anomalies_pb2.AnomalyInfo.COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH,
    anomalies_pb2.AnomalyInfo.COMPARATOR_NORMALIZED_ABSOLUTE_DIFFERENCE_HIGH,
    anomalies_pb2.AnomalyInfo.COMPARATOR_LOW_NUM_EXAMPLES,
    anomalies_pb2.AnomalyInfo.COMPARATOR_HIGH_NUM_EXAMPLES,
)


def _words(reason: anomalies_pb2.AnomalyInfo.Reason) -> str:
    # TFDV has a custom validation's own sentence in the short description.
    custom = reason.type == anomalies_pb2.AnomalyInfo.CUSTOM_VALIDATION
    text = reason.short_description if custom else reason.description
    return " ".join(text.split()).rstrip(".")


def _of_columns(
    anomalies: anomalies_pb2.Anomalies, split: str, kinds: Collection[int] | None = None
) -> Iterator[Finding]:
    """Yields the anomalies of columns, of some kinds or all, in order of column."""
    for column, info in sorted(anomalies.anomaly_info.items()):
        severity = anomalies_pb2.AnomalyInfo.Severity.Name(info.severity)
        for reason in info.reason:
            if kinds is None or reason.type in kinds:
                yield Finding(split, column, severity, _words(reason))


def describe(anomalies: anomalies_pb2.Anomalies, split: str) -> list[Finding]:
    """Lists the anomalies of a split, one finding per reason, in order of column."""
    found = []
    if anomalies.data_missing:
        found.append(Finding(split, "(all)", "ERROR", "the split has no examples"))
    found += _of_columns(anomalies, split)
    for reason in anomalies.dataset_anomaly_info.reason:
        severity = anomalies_pb2.AnomalyInfo.Severity.Name(anomalies.dataset_anomaly_info.severity)
        found.append(Finding(split, "(all)", severity, _words(reason)))
    return found


def merge(findings: list[Finding]) -> list[str]:
    """Returns a sentence for each column and anomaly, with all its splits."""
    splits: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        splits.setdefault((finding.column, finding.words), []).append(finding.split)
    return [
        f"split {', '.join(names)}, column {column}: {words}"
        for (column, words), names in splits.items()
    ]


def _compared(
    statistics: Mapping[str, statistics_pb2.DatasetFeatureStatisticsList],
    schema: schema_pb2.Schema,
    previous: statistics_pb2.DatasetFeatureStatisticsList | None,
) -> Iterator[tuple[str, anomalies_pb2.Anomalies]]:
    """Compares each large enough split with train, then train with ``previous``."""
    train = statistics[features.TRAIN]
    for split, other in statistics.items():
        if split != features.TRAIN and other.datasets[0].num_examples >= _MIN_SKEW_EXAMPLES:
            yield split, tfdv.validate_statistics(train, schema, serving_statistics=other)
    if previous is not None:
        yield (
            features.TRAIN,
            tfdv.validate_statistics(train, schema, previous_statistics=previous),
        )


def measured(
    anomalies: anomalies_pb2.Anomalies, split: str
) -> tuple[list[Finding], list[Distance]]:
    """Returns a comparison's anomalies and all its distances.

    A distance that is not a number, which TFDV does not hold against the data, is a warning.
    """
    kind = "drift" if split == features.TRAIN else "skew"
    found, distances = [], []
    for info in anomalies.drift_skew_info:
        column = ".".join(info.path.step)
        for one in getattr(info, f"{kind}_measurements"):
            name = anomalies_pb2.DriftSkewInfo.Measurement.Type.Name(one.type)
            value = one.value if math.isfinite(one.value) else None
            distances.append(Distance(column, kind, split, name, value, one.threshold))
            if value is None:
                words = f"{kind} could not be measured: the distance ({name}) is not a number"
                found.append(Finding(split, column, "WARNING", words))
    for finding in _of_columns(anomalies, split, _COMPARATORS):
        words = finding.words.replace("training and serving", f"train and {split}")
        words = words.replace("current and previous", "these and the last accepted data")
        found.append(Finding(split, finding.column, finding.severity, words))
    return found, distances


def compare(
    statistics: Mapping[str, statistics_pb2.DatasetFeatureStatisticsList],
    schema: schema_pb2.Schema,
    previous: statistics_pb2.DatasetFeatureStatisticsList | None,
) -> tuple[list[Finding], list[Distance]]:
    """Runs the schema's comparators.

    Measures the skew against train of each other split with at least 200 examples, then the drift
    of train against ``previous``.

    Args:
        statistics: statistics of each split of this run.
        schema: schema, which may have ``skew_comparator`` and ``drift_comparator``.
        previous: statistics of the last accepted data's train split; None on a first run.
    """
    findings: list[Finding] = []
    distances: list[Distance] = []
    for split, anomalies in _compared(statistics, schema, previous):
        found, of_split = measured(anomalies, split)
        findings += found
        distances += of_split
    return findings, distances
