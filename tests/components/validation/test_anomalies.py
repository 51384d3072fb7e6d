import math
from pathlib import Path

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_data_validation.anomalies.proto import custom_validation_config_pb2
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2

from components.contracts.data_findings import Distances
from components.validation.anomalies import Finding, compare, describe, measured, merge

SCHEMA_DIR = Path(__file__).parents[3] / "schema"
SCHEMA = text_format.Parse((SCHEMA_DIR / "schema.pbtxt").read_text(), schema_pb2.Schema())
VALIDATIONS = text_format.Parse(
    (SCHEMA_DIR / "validations.pbtxt").read_text(),
    custom_validation_config_pb2.CustomValidationConfig(),
)
CLASSES = [value for domain in SCHEMA.string_domain for value in domain.value]


def papers(n: int = 210, **columns: object) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "abstract": [f"{i} " + "word " * 60 for i in range(n)],
            "final_category": [CLASSES[i % 7] for i in range(n)],
            "id": [str(i) for i in range(n)],
            "update_date": ["2019-01-01"] * n,
        }
    )
    return frame.assign(**columns)


def statistics(frame: pd.DataFrame):
    # The index would be reported as a column of its own.
    result = tfdv.generate_statistics_from_dataframe(frame)
    kept = [f for f in result.datasets[0].features if "__index" not in str(f.path)]
    del result.datasets[0].features[:]
    result.datasets[0].features.extend(kept)
    return result


def findings(frame: pd.DataFrame) -> list[Finding]:
    # A validation of a column that is not there is an error of TFDV's; ingestion stops before.
    checked = VALIDATIONS if "abstract" in frame else None
    anomalies = tfdv.validate_statistics(
        statistics(frame), SCHEMA, custom_validation_config=checked
    )
    return describe(anomalies, "eval")


def test_good_data_have_no_findings() -> None:
    assert findings(papers()) == []


def test_missing_column() -> None:
    (found,) = findings(papers().drop(columns="abstract"))
    assert str(found) == "split eval, column abstract: Column is completely missing"
    assert found.severity == "ERROR"


def test_unknown_class() -> None:
    labels = ["zoology" if i % 7 == 0 else "cs" for i in range(210)]
    (found,) = findings(papers(final_category=labels))
    assert found.column == "final_category"
    assert "zoology" in found.words


def test_wrong_type() -> None:
    found = findings(papers(final_category=list(range(210))))
    assert any("Expected data of type: BYTES but got INT" in f.words for f in found)


def test_empty_split() -> None:
    (found,) = findings(papers(0))
    assert str(found) == "split eval, column (all): the split has no examples"


def test_short_abstracts_speak_in_the_validations_words() -> None:
    (found,) = findings(papers(abstract=[f"t{i}" for i in range(210)]))
    assert found.words.startswith("abstracts are shorter than 200 bytes on average")


def test_repeated_abstracts_warn() -> None:
    (found,) = findings(papers(abstract=["word " * 60] * 210))
    assert (found.severity, found.column) == ("WARNING", "abstract")


def test_one_class_is_an_error() -> None:
    (found,) = findings(papers(final_category=["cs"] * 210))
    assert found.words.startswith("fewer than two classes")


@pytest.mark.parametrize(("share", "drifts"), [(0.05, False), (0.30, True)])
def test_drift_against_the_last_accepted_data(share: float, drifts: bool) -> None:
    now = papers(final_category=["cs" if i < 210 * share else CLASSES[i % 7] for i in range(210)])
    found, _ = compare({"train": statistics(now)}, SCHEMA, statistics(papers()))
    assert [(f.split, f.column, f.severity) for f in found] == (
        [("train", "final_category", "ERROR")] if drifts else []
    )
    if drifts:
        assert "between these and the last accepted data" in found[0].words


def test_skew_between_splits_names_the_split() -> None:
    other = papers(final_category=["cs"] * 105 + ["math"] * 105)
    splits = {
        "train": statistics(papers()),
        "eval": statistics(papers()),
        "test": statistics(other),
    }
    found, _ = compare(splits, SCHEMA, None)
    assert [(f.split, f.column) for f in found] == [("test", "final_category")]
    assert "between train and test" in found[0].words


def test_comparisons_do_not_repeat_what_the_validator_says() -> None:
    bad = statistics(papers().drop(columns="abstract"))
    assert compare({"train": bad, "eval": bad}, SCHEMA, bad)[0] == []


def test_dataset_anomalies_are_reported() -> None:
    anomalies = anomalies_pb2.Anomalies()
    anomalies.dataset_anomaly_info.severity = anomalies_pb2.AnomalyInfo.ERROR
    anomalies.dataset_anomaly_info.reason.add(description="too  few\nexamples.")
    (found,) = describe(anomalies, "train")
    assert str(found) == "split train, column (all): too few examples"


def test_a_small_split_is_not_called_skewed() -> None:
    tiny = statistics(papers(30, final_category=["cs"] * 15 + ["math"] * 15))
    assert compare({"train": statistics(papers()), "eval": tiny}, SCHEMA, None) == ([], [])


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(("split", "kind"), [("train", "drift"), ("eval", "skew")])
def test_distance_that_is_not_a_number_is_a_warning_and_can_be_written(
    tmp_path: Path, value: float, split: str, kind: str
) -> None:
    anomalies = anomalies_pb2.Anomalies()
    info = anomalies.drift_skew_info.add()
    info.path.step.append("final_category")
    getattr(info, f"{kind}_measurements").add(type=2, value=value, threshold=0.1)

    found, distances = measured(anomalies, split)

    assert [str(one) for one in found] == [
        f"split {split}, column final_category: {kind} could not be measured: the distance "
        "(JENSEN_SHANNON_DIVERGENCE) is not a number"
    ]
    assert found[0].severity == "WARNING"
    written = Distances(distances=tuple(distances))
    written.write(tmp_path / "distances.json")
    assert Distances.read(tmp_path / "distances.json") == written
    assert written.distances[0].value is None


def test_the_same_anomaly_of_several_splits_is_one_sentence() -> None:
    found = [
        Finding("train", "abstract", "ERROR", "short"),
        Finding("eval", "abstract", "ERROR", "short"),
        Finding("eval", "id", "ERROR", "missing"),
    ]
    assert merge(found) == [
        "split train, eval, column abstract: short",
        "split eval, column id: missing",
    ]
