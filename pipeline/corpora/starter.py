"""Writes a first configuration, a schema to review and checks on statistics for a corpus."""

from __future__ import annotations

import math
import os
import uuid
from pathlib import Path
from typing import Any

import tomlkit
from google.protobuf import text_format
from google.protobuf.message import Message
from tensorflow_metadata.proto.v0 import schema_pb2

from components.contracts.columns import Columns
from components.errors import UserError
from components.validation.reviewed_files import no_validations
from pipeline.corpora.profile import Profile

CONFIG_FILE = "pipeline.toml"
SCHEMA_FILE = "schema.pbtxt"
VALIDATIONS_FILE = "validations.pbtxt"

# A model must gain this share of what separates the majority class from a perfect score.
_GAIN = 0.1
# How far a later corpus may lie from this one: mean length by a factor, shares by a share.
_LENGTH_FACTOR = 5
_SHARE_FACTOR = 0.9
_DRIFT = 0.10
_SKEW = 0.02

_SCHEMA_COMMENT = """\
# Proposed from the data; review it. The values of {label} are the classes, in the order of the
# scores. A later corpus that breaks the schema stops at AnomalyGate.

"""
_VALIDATIONS_COMMENT = """\
# Proposed from the data; review it. SQL over TFDV's statistics of a split, with lengths in bytes:
# an ERROR stops the run at AnomalyGate, a WARNING is recorded.

"""
_CONFIG_COMMENT = """\
Written by `arxiv-pipeline init`. Paths start from this file's folder. Every other key has its
default; docs/configuration.md lists them.
"""


def write_starter(
    folder: Path,
    *,
    name: str,
    description: str,
    parquet: str,
    glove: Path | None,
    columns: Columns,
    found: Profile,
) -> Path:
    """Writes the three files into a new folder, all or none; returns the configuration's path.

    Args:
        folder: must not exist, or be empty but for the converted corpus.
        name: of the pipeline.
        description: what the texts are, for the model card and the report.
        parquet: the corpus, relative to the folder or absolute; may be a glob.
        glove: word vectors; None for random ones.
        columns, found: what is in the corpus.

    Raises:
        UserError: the folder cannot be written.
    """
    texts = {
        SCHEMA_FILE: _SCHEMA_COMMENT.format(label=repr(columns.label))
        + _text(_schema(columns, found)),
        VALIDATIONS_FILE: _VALIDATIONS_COMMENT + _text(_validations(columns, found)),
        CONFIG_FILE: _config(name, description, parquet, glove, columns, found),
    }
    for file, content in texts.items():
        (folder / file).write_text(content, encoding="utf-8")
    return folder / CONFIG_FILE


def _text(message: Message) -> str:
    return str(text_format.MessageToString(message, as_utf8=True))


def _schema(columns: Columns, found: Profile) -> schema_pb2.Schema:
    schema = schema_pb2.Schema(default_environment=["TRAINING", "SERVING"])

    def feature(name: str) -> schema_pb2.Feature:
        return schema.feature.add(name=name, type=schema_pb2.BYTES)

    def always(one: schema_pb2.Feature) -> schema_pb2.Feature:
        one.presence.min_fraction, one.presence.min_count = 1.0, 1
        one.shape.dim.add(size=1)
        return one

    def sometimes(name: str, share: float) -> None:
        one = feature(name)
        if share:
            one.presence.min_fraction = round(share * _SHARE_FACTOR, 2)
        one.value_count.min, one.value_count.max = 0, 1
        one.not_in_environment.append("SERVING")

    always(feature(columns.feature))
    label = always(feature(columns.label))
    label.domain = "classes"
    label.not_in_environment.append("SERVING")
    label.drift_comparator.infinity_norm.threshold = _DRIFT
    label.skew_comparator.infinity_norm.threshold = max(_SKEW, round(20 / found.kept, 2))
    if columns.id:
        sometimes(columns.id, found.with_id)
    if columns.date:
        sometimes(columns.date, found.with_date)
    if columns.category:
        sometimes(columns.category, 0)
    schema.string_domain.add(name="classes", value=list(found.classes))
    return schema


def _validations(columns: Columns, found: Profile) -> Any:
    checks = no_validations()
    text, label = columns.feature, columns.label
    low = math.floor(found.mean_bytes / _LENGTH_FACTOR)
    high = math.ceil(found.mean_bytes * _LENGTH_FACTOR)
    unique = math.floor(100 * _SHARE_FACTOR * (1 - found.duplicate_texts / found.kept)) / 100
    strings = "feature.string_stats"
    for name, sql, severity, description in (
        (text, f"{strings}.avg_length >= {low}", "ERROR",
         f"{text} has fewer than {low:,} bytes on average: is this the text column?"),
        (text, f"{strings}.avg_length <= {high}", "ERROR",
         f"{text} has more than {high:,} bytes on average: is this the text column?"),
        (text, f"{strings}.unique >= {unique} * {strings}.common_stats.num_non_missing", "WARNING",
         f"more texts of {text} repeat another one than before"),
        (label, f"{strings}.unique >= 2", "ERROR", "fewer than two classes: nothing to tell apart"),
    ):  # fmt: skip
        one = checks.feature_validations.add()
        one.feature_path.step.append(name)
        one.validations.add(
            sql_expression=f"IFNULL({sql}, TRUE)", severity=severity, description=description
        )
    return checks


def _config(
    name: str,
    description: str,
    parquet: str,
    glove: Path | None,
    columns: Columns,
    found: Profile,
) -> str:
    classes = len(found.classes)
    majority_f1 = 2 * found.majority / (1 + found.majority) / classes
    used: dict[str, dict[str, object]] = {
        "run": {"name": name, "output_dir": "output", "model_name": name},
        "data": {
            "parquet": parquet,
            **({"glove": str(glove)} if glove else {}),
            "schema_file": SCHEMA_FILE,
            "validations_file": VALIDATIONS_FILE,
            "description": description,
            "columns": columns.model_dump(mode="json"),
        },
        "transform": {
            "vocabulary_size": vocabulary_size(found),
            "sequence_length": sequence_length(found),
        },
        "evaluation": {
            "min_accuracy": _above(found.majority),
            "min_macro_f1": _above(majority_f1),
            "max_cross_entropy": max(round(found.entropy, 2), 0.01),
        },
    }
    document = tomlkit.document()
    for line in _CONFIG_COMMENT.splitlines():
        document.add(tomlkit.comment(line))
    document.add(tomlkit.nl())
    for table, keys in used.items():
        document.add(table, tomlkit.item(keys))
    notes = {
        "min_accuracy": f"always guessing the largest class reaches {found.majority:.3f}",
        "min_macro_f1": f"and {majority_f1:.3f}",
        "max_cross_entropy": "guessing by the classes' shares, in nats",
    }
    for key, note in notes.items():
        document["evaluation"][key].comment(note)  # type: ignore[index, union-attr]
    return tomlkit.dumps(document)


def vocabulary_size(found: Profile) -> int:
    """Returns the number of tokens: words of two texts or more, 1,000 to 40,000."""
    return min(max(1000, math.ceil(found.vocabulary / 1000) * 1000), 40_000)


def sequence_length(found: Profile) -> int:
    """Returns the words kept of a text: 95 % of the texts are whole, 32 to 512 words."""
    return min(max(32, math.ceil(found.words[1] / 32) * 32), 512)


def _above(chance: float) -> float:
    """Returns a threshold a little above a baseline's score, rounded up to .01 but below 1."""
    wanted = chance + _GAIN * (1 - chance)
    return min(math.ceil(100 * wanted - 1e-9) / 100, round((1 + wanted) / 2, 4))


def new_folder(folder: Path) -> Path:
    """Creates a scratch folder beside the target, to be renamed to it.

    Raises:
        UserError: the target exists, or its parent cannot be written.
    """
    if os.path.lexists(folder):
        raise UserError(f"{folder} exists; name another folder with --output, or move it away")
    try:
        scratch = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
        scratch.mkdir(parents=True)
        return scratch
    except OSError as error:
        raise UserError(f"{folder}: cannot be created: {error.strerror}") from None
