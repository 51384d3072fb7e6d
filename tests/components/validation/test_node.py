"""The gate's executor over artifacts on disk, as ExampleValidator and StatisticsGen write them."""

import json
from pathlib import Path

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.types import standard_artifacts

from components.contracts.artifact_files import (
    DISTANCES,
    FINDINGS,
    INGESTION_SUMMARY,
    TRAIN_STATISTICS,
)
from components.contracts.ingestion_summary import IngestionSummary
from components.contracts.properties import STATISTICS_ID
from components.errors import UserError
from components.validation.node import AcceptedData, AnomalyGate

SCHEMA = (Path(__file__).parents[3] / "schema" / "schema.pbtxt").read_text()
SPLITS = ("train", "eval", "test")
NO_ROWS = IngestionSummary()


def labelled(share_of_math: float) -> pd.DataFrame:
    n_math = round(100 * share_of_math)
    return pd.DataFrame({"final_category": ["math"] * n_math + ["cs"] * (100 - n_math)})


def gate(
    folder: Path,
    anomalies: dict[str, anomalies_pb2.Anomalies],
    *,
    math=0.5,
    previous=None,
    summary=NO_ROWS,
):
    examples = standard_artifacts.Examples()
    recorded = standard_artifacts.ExampleAnomalies()
    statistics = standard_artifacts.ExampleStatistics()
    schema = standard_artifacts.Schema()
    accepted = AcceptedData()
    for name, artifact in [
        ("examples", examples),
        ("anomalies", recorded),
        ("statistics", statistics),
        ("schema", schema),
        ("accepted", accepted),
    ]:
        artifact.uri = str(folder / name)
        Path(artifact.uri).mkdir()
    summary.write(Path(examples.uri) / INGESTION_SUMMARY)
    statistics.id = 7
    for artifact in (recorded, statistics):
        artifact.split_names = json.dumps(SPLITS)
    stats = tfdv.generate_statistics_from_dataframe(labelled(math))
    for split in SPLITS:
        for artifact, name, content in [
            (recorded, "SchemaDiff.pb", anomalies.get(split, anomalies_pb2.Anomalies())),
            (statistics, "FeatureStats.pb", stats),
        ]:
            path = Path(artifact.uri) / f"Split-{split}" / name
            path.parent.mkdir()
            path.write_bytes(content.SerializeToString())
    (Path(schema.uri) / "schema.pbtxt").write_text(SCHEMA)
    AnomalyGate.EXECUTOR_SPEC.executor_class().Do(
        {
            "examples": [examples],
            "anomalies": [recorded],
            "statistics": [statistics],
            "schema": [schema],
            "previous": [previous] if previous else [],
        },
        {"accepted": [accepted]},
        {
            "schema_file": "/s/schema.pbtxt",
            "validations_file": "/s/checks.pbtxt",
            "fingerprint": "f00d",
        },
    )
    return accepted


def anomaly(severity: int, words: str, column: str = "abstract") -> anomalies_pb2.Anomalies:
    result = anomalies_pb2.Anomalies()
    result.anomaly_info[column].severity = severity
    result.anomaly_info[column].reason.add(description=words)
    return result


def test_clean_data_are_accepted_with_their_statistics(tmp_path: Path) -> None:
    accepted = gate(tmp_path, {})
    assert json.loads((Path(accepted.uri) / FINDINGS).read_text()) == []
    assert accepted.get_int_custom_property(STATISTICS_ID) == 7
    loaded = tfdv.load_stats_binary(str(Path(accepted.uri) / TRAIN_STATISTICS))
    assert loaded.datasets[0].num_examples == 100


def test_an_error_stops_the_run_in_words(tmp_path: Path) -> None:
    bad = {"test": anomaly(anomalies_pb2.AnomalyInfo.ERROR, "Column is completely missing")}
    with pytest.raises(UserError) as caught:
        gate(tmp_path, bad)
    line = str(caught.value)
    assert "split test, column abstract: Column is completely missing" in line
    assert "/s/schema.pbtxt or /s/checks.pbtxt" in line
    assert "\n" not in line
    assert not (tmp_path / "accepted" / FINDINGS).exists()


@pytest.mark.parametrize(
    ("column", "unreadable", "told"),
    [("update_date", 90, True), ("update_date", 0, False), ("abstract", 90, False)],
)
def test_dates_that_cannot_be_read_are_named_where_years_are_wanting(
    column: str, unreadable: int, told: bool, tmp_path: Path
) -> None:
    bad = {"train": anomaly(anomalies_pb2.AnomalyInfo.ERROR, "Column dropped", column)}
    summary = IngestionSummary(
        rows_read=1200, unreadable_dates=unreadable, unreadable_date="31/12/2007"
    )
    with pytest.raises(UserError) as caught:
        gate(tmp_path, bad, summary=summary)
    words = (
        "Of 1,200 rows, 90 have a date that cannot be read, such as '31/12/2007': write dates as "
        "2024-01-31. Correct the parquet, or review"
    )
    assert (words in str(caught.value)) is told


def test_a_warning_is_recorded_and_passes(tmp_path: Path) -> None:
    odd = {"train": anomaly(anomalies_pb2.AnomalyInfo.WARNING, "odd")}
    accepted = gate(tmp_path, odd)
    (row,) = json.loads((Path(accepted.uri) / FINDINGS).read_text())
    assert row == {"split": "train", "column": "abstract", "severity": "WARNING", "words": "odd"}


def test_drift_from_the_last_accepted_data_stops_the_run(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "same").mkdir()
    (tmp_path / "other").mkdir()
    first = gate(tmp_path / "first", {}, math=0.5)
    same = gate(tmp_path / "same", {}, math=0.52, previous=first)
    measured = json.loads((Path(same.uri) / DISTANCES).read_text())
    assert measured["previous"] == first.uri
    (drift,) = (one for one in measured["distances"] if one["kind"] == "drift")
    assert drift["value"] == pytest.approx(0.02)
    assert (drift["column"], drift["measure"]) == ("final_category", "L_INFTY")
    assert drift["threshold"] == pytest.approx(0.1)
    with pytest.raises(UserError, match="last accepted data"):
        gate(tmp_path / "other", {}, math=0.8, previous=first)
