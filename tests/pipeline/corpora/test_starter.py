from pathlib import Path

import pytest
import tomli
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.contracts.columns import Columns
from components.errors import UserError
from components.validation.reviewed_files import no_validations, parse, read_classes
from pipeline.corpora import starter
from pipeline.corpora.profile import Profile

NAMES = {"Soins, santé": 600, 'naïve "art"': 250, "日本語": 100, "R&D\\x": 50}
FOUND = Profile(
    rows=1010,
    without_text=6,
    without_label=4,
    classes=NAMES,
    padded_labels=0,
    similar_labels=[],
    duplicate_texts=100,
    repeated_ids=0,
    without_words=0,
    mean_bytes=400.0,
    words=(60, 130, 900),
    vocabulary=4321,
    with_id=1.0,
    with_date=0.5,
    unreadable_dates=0,
)
COLUMNS = Columns(text=("head", "body"), label="the topic", id="uid", date="day", category="")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    starter.write_starter(
        tmp_path,
        name="news",
        description="news",
        parquet="data.parquet",
        glove=None,
        columns=COLUMNS,
        found=FOUND,
    )
    return tmp_path


def test_classes_keep_their_names_and_order_in_the_schema(folder: Path) -> None:
    assert read_classes(folder / starter.SCHEMA_FILE, "the topic") == list(NAMES)
    schema = schema_pb2.Schema()
    text_format.Parse((folder / starter.SCHEMA_FILE).read_text("utf-8"), schema)
    features = {feature.name: feature for feature in schema.feature}
    assert list(features) == ["head_body", "the topic", "uid", "day"]
    assert features["day"].presence.min_fraction == pytest.approx(0.45)
    assert features["the topic"].drift_comparator.infinity_norm.threshold == pytest.approx(0.1)
    assert features["the topic"].skew_comparator.infinity_norm.threshold == pytest.approx(0.02)


def test_checks_allow_a_fifth_to_five_times_the_length(folder: Path) -> None:
    checks = parse(folder / starter.VALIDATIONS_FILE, no_validations())
    sql = [one.sql_expression for group in checks.feature_validations for one in group.validations]
    assert sql == [
        "IFNULL(feature.string_stats.avg_length >= 80, TRUE)",
        "IFNULL(feature.string_stats.avg_length <= 2000, TRUE)",
        "IFNULL(feature.string_stats.unique >= 0.81 * "
        "feature.string_stats.common_stats.num_non_missing, TRUE)",
        "IFNULL(feature.string_stats.unique >= 2, TRUE)",
    ]


def test_configuration_has_sizes_from_the_data_and_thresholds_above_the_majority(
    folder: Path,
) -> None:
    written = tomli.loads((folder / starter.CONFIG_FILE).read_text("utf-8"))
    assert written["transform"] == {"vocabulary_size": 5000, "sequence_length": 160}
    assert written["evaluation"] == {
        "min_accuracy": 0.64,
        "min_macro_f1": 0.27,
        "max_cross_entropy": 1.03,
    }
    assert written["data"]["columns"] == {
        "text": ["head", "body"],
        "label": "the topic",
        "id": "uid",
        "date": "day",
        "category": "",
    }
    assert "glove" not in written["data"]
    assert written["run"] == {"name": "news", "output_dir": "output", "model_name": "news"}


def test_an_existing_folder_is_kept(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists; name another folder with --output"):
        starter.new_folder(tmp_path)
