"""The generated files are fresh, whole and true to the models."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tomli

from components.settings import declared_keys, flat
from pipeline.config import reference
from pipeline.config.pipeline_config import PipelineConfig, RunSettings

KEYS = [key for table in reference.tables() for key in table.keys]
# A commented-out key, but not a sentence of a description.
COMMENTED = re.compile(r'^# (?=[a-z_0-9.]+(\."[^"]+")? = )', re.MULTILINE)


def real() -> str:
    return reference.REAL_CONFIG.read_text(encoding="utf-8")


def test_generated_files_are_fresh() -> None:
    for path, text in reference.generated().items():
        assert text == path.read_text(encoding="utf-8"), f"{path} is stale: make docs writes it"


def test_stale_file_is_named_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"REAL_CONFIG": tmp_path / "real.toml", "PAGE": tmp_path / "docs" / "configuration.md"}
    for name, path in files.items():
        monkeypatch.setattr(reference, name, path)
    monkeypatch.setattr("sys.argv", ["reference", "--write"])
    assert reference.main() == 0
    monkeypatch.setattr("sys.argv", ["reference"])
    assert reference.main() == 0
    files["PAGE"].write_text("old", encoding="utf-8")
    assert reference.main() == 1
    assert capsys.readouterr().err == f"{files['PAGE']} is stale: `make docs` writes it\n"


def test_real_configuration_sets_the_basic_keys_alone() -> None:
    basic = [key.name for key in KEYS if key.basic]
    assert list(flat(tomli.loads(real()))) == basic
    assert len(basic) <= 12
    assert {key.name for key in KEYS if key.required} < set(basic)


def test_commented_lines_of_the_real_configuration_are_every_other_key_with_its_default() -> None:
    shown = tomli.loads(COMMENTED.sub("", real()))
    space = shown["tuning"].pop("space")
    assert set(flat(shown)) == {key.name for key in KEYS} - {"tuning.space"}

    files = dict.fromkeys(("parquet", "glove", "schema_file", "validations_file"), __file__)
    required = {"run": shown["run"], "data": files}
    found = PipelineConfig.model_validate({
        **shown, "data": {**shown["data"], **files}, "tuning": {**shown["tuning"], "space": space}
    })  # fmt: skip
    strict = {"evaluation": {"min_accuracy", "min_macro_f1", "max_cross_entropy"}}
    assert found.model_dump(exclude=strict) == (
        PipelineConfig.model_validate(required).model_dump(exclude=strict)
    )
    assert found.run.lock_wait_seconds == RunSettings.model_fields["lock_wait_seconds"].default
    assert found.run.beam_args == RunSettings.model_fields["beam_args"].default


@pytest.fixture(scope="module")
def page() -> str:
    return reference.generated()[reference.PAGE]


def test_page_has_one_row_for_each_key(page: str) -> None:
    rows = re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == set(declared_keys(PipelineConfig))


@pytest.mark.parametrize(
    "row",
    [
        "| `training.batch_size` | integer | `128` | ≥ 1, ≤ 65536 |",
        "| `training.phase2.epochs` | integer | `4` | ≥ 1, ≤ 1000 |",
        "| `model.dense_dropout` | number | `0.2` | ≥ 0, < 1 |",
        "| `evaluation.max_cross_entropy` | number | `1.0` | > 0 |",
        '| `model.lstm_pooling` | list of strings | `["max", "mean", "attention"]` '
        '| `"max"`, `"mean"`, `"attention"` |',
        "| `data.parquet` | path | required |  |",
        "| `run.serving_dir` | path | unset |  |",
        '| `data.schema_file` | path | `"schema/schema.pbtxt"` |  |',
        "| `tuning.enabled` | boolean | `false` |  |",
    ],
)
def test_row_gives_type_default_and_allowed_range(row: str, page: str) -> None:
    assert row in page


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_description_is_one_sentence(key: reference.Key) -> None:
    assert re.fullmatch(r"[A-Z].*\.", key.description)
    assert ". " not in key.description
