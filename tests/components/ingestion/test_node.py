import pytest
from google.protobuf import struct_pb2
from tfx.proto import example_gen_pb2
from tfx.utils import proto_utils

from components.errors import UserError
from components.ingestion.node import ParquetExampleGen, output_config, split_path

SHARES = {"train": 0.64, "eval": 0.16, "test": 0.2}


@pytest.mark.parametrize(
    ("parquet", "expected"),
    [
        ("/data/papers.parquet", ("/data", "papers.parquet")),
        ("/data/2019/*.parquet", ("/data/2019", "*.parquet")),
        ("/data/*/part-?.parquet", ("/data", "*/part-?.parquet")),
        ("/data/spark.parquet/", ("/data", "spark.parquet")),
        ("/data/**/*.parquet", ("/data", "**/*.parquet")),
        ("gs://bucket/a/*.parquet", ("gs://bucket/a", "*.parquet")),
    ],
)
def test_the_folder_is_all_before_the_first_wildcard(
    parquet: str, expected: tuple[str, str]
) -> None:
    assert split_path(parquet) == expected


def test_a_relative_path_is_an_error() -> None:
    with pytest.raises(UserError, match=r"'papers\.parquet' is not an absolute path"):
        split_path("papers.parquet")


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"train": 0.8, "test": 0.2}, "got train, test; expected train, eval, test"),
        ({"train": 1.2, "eval": 0.1, "test": 0.1}, "train is 1.2; expected a share above 0"),
        ({"train": 1.0, "eval": 0.0, "test": 0.0}, "train is 1.0"),
        ({"train": 0.6, "eval": 0.1, "test": 0.1}, "they add up to 0.8; expected 1"),
        ({"train": float("nan"), "eval": 0.1, "test": 0.1}, "train is nan"),
    ],
)
def test_impossible_shares_are_named(shares: dict[str, float], message: str) -> None:
    with pytest.raises(UserError) as error:
        output_config(shares)
    assert message in str(error.value)


def test_shares_seed_and_fingerprint_are_in_the_execution_properties() -> None:
    node = ParquetExampleGen("/data/*.parquet", SHARES, fingerprint="0123abc", seed=7)
    output = example_gen_pb2.Output()
    proto_utils.json_to_proto(node.exec_properties["output_config"], output)
    assert [(part.name, part.hash_buckets) for part in output.split_config.splits] == [
        ("train", 640000),
        ("eval", 160000),
        ("test", 200000),
    ]
    custom = example_gen_pb2.CustomConfig()
    proto_utils.json_to_proto(node.exec_properties["custom_config"], custom)
    settings = struct_pb2.Struct()
    assert custom.custom_config.Unpack(settings)
    assert settings["fingerprint"] == "0123abc"
    assert settings["seed"] == 7
    assert node.id == "ParquetExampleGen"
