"""The ParquetExampleGen node."""

import glob
import posixpath
from collections.abc import Mapping
from pathlib import Path

from google.protobuf import struct_pb2
from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2

from components.contracts import features
from components.errors import UserError
from components.ingestion.cache_key_driver import ContentDriver
from components.ingestion.examples_executor import SEED, Executor

# TFX has integer shares; a millionth is fine enough for any corpus.
_SHARE_UNITS = 1_000_000


def split_path(parquet: str) -> tuple[str, str]:
    """Splits a path into the deepest folder without wildcards and the rest.

    Raises:
        UserError: the path is neither absolute nor a URL such as ``gs://bucket/*.parquet``.
    """
    if not (Path(parquet).is_absolute() or "://" in parquet):
        raise UserError(
            f"parquet: {parquet!r} is not an absolute path. Give one, or a glob of files."
        )
    base, pattern = posixpath.split(parquet.rstrip("/"))
    while glob.has_magic(base):
        base, last = posixpath.split(base)
        pattern = posixpath.join(last, pattern)
    return base, pattern


def output_config(shares: Mapping[str, float]) -> example_gen_pb2.Output:
    """Converts the shares of the splits to TFX's output config.

    Raises:
        UserError: a split is missing or unknown, a share is not above 0, or the sum is not 1.
    """
    if set(shares) != set(features.SPLITS):
        raise UserError(
            f"shares: got {', '.join(shares) or 'none'}; expected {', '.join(features.SPLITS)}."
        )
    for split, share in shares.items():
        if not 1 / _SHARE_UNITS <= share < 1:
            raise UserError(f"shares: {split} is {share}; expected a share above 0 and below 1.")
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise UserError(f"shares: they add up to {sum(shares.values()):g}; expected 1.")
    return example_gen_pb2.Output(
        split_config=example_gen_pb2.SplitConfig(
            splits=[
                example_gen_pb2.SplitConfig.Split(
                    name=split, hash_buckets=round(shares[split] * _SHARE_UNITS)
                )
                for split in features.SPLITS
            ]
        )
    )


class ParquetExampleGen(FileBasedExampleGen):  # type: ignore[misc]
    """Reads parquet files of papers into the splits train, eval and test as tf.Examples.

    Examples have the features ``features.RAW_COLUMNS`` as bytes; those that a row lacks are
    omitted. Splits are stratified by label, share no cleaned text and depend only on the rows. The
    artifact's folder also has ``ingestion.json`` (see `IngestionSummary`), whose counts are also
    custom properties of the artifact.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
    DRIVER_CLASS = ContentDriver

    def __init__(self, parquet: str, shares: Mapping[str, float], fingerprint: str, seed: int = 0):
        """Configures the node without accessing any file.

        Args:
            parquet: absolute path of a file or folder, or a glob.
            shares: share of the rows for each of ``features.SPLITS``; above 0, adding up to 1.
            fingerprint: hash of the code that this node uses; part of the cache key.
            seed: not negative; changes the splits.

        Raises:
            UserError: the path or the shares are invalid.
        """
        base, pattern = split_path(parquet)
        settings = struct_pb2.Struct()
        settings.update({"fingerprint": fingerprint, SEED: seed})
        custom_config = example_gen_pb2.CustomConfig()
        custom_config.custom_config.Pack(settings)
        super().__init__(
            input_base=base,
            input_config=example_gen_pb2.Input(
                splits=[example_gen_pb2.Input.Split(name="papers", pattern=pattern)]
            ),
            output_config=output_config(shares),
            custom_config=custom_config,
        )
