import json
import subprocess
import sys
from pathlib import Path

import pytest
import tomli

from components.errors import UserError
from pipeline.config.pipeline_config import (
    CONFIG_VARIABLE,
    PipelineConfig,
    load_config,
    load_run_settings,
)

CONFIGS = Path(__file__).parents[3] / "pipeline" / "config"

MINIMAL = """
[run]
name = "arxiv"
output_dir = "out"
[data]
parquet = "papers/*.parquet"
glove = "glove.txt"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "a.parquet").touch()
    (tmp_path / "glove.txt").touch()
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def message(folder: Path, text: str) -> str:
    with pytest.raises(UserError) as caught:
        load_config(write(folder, text))
    line = str(caught.value)
    assert "\n" not in line
    assert str(folder / "run.toml") in line
    return line


def test_relative_paths_start_from_the_files_folder(folder: Path, monkeypatch) -> None:
    monkeypatch.chdir("/")
    config = load_config(write(folder, MINIMAL))
    assert config.data.parquet == folder / "papers" / "*.parquet"
    assert config.data.glove == folder / "glove.txt"
    assert config.folder.metadata_file == folder / "out" / "metadata.sqlite"
    assert config.serving_dir == folder / "out" / "serving" / "arxiv"
    assert config.data.splits.as_dict() == {"train": 0.64, "eval": 0.16, "test": 0.20}


def test_reads_the_file_that_the_variable_names(folder: Path, monkeypatch) -> None:
    monkeypatch.setenv(CONFIG_VARIABLE, str(write(folder, MINIMAL)))
    assert load_config().name == "arxiv"


def test_unset_variable_names_the_variable(monkeypatch) -> None:
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    with pytest.raises(UserError, match=CONFIG_VARIABLE):
        load_config()


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[datas]\nx = 1", "datas: unknown key; did you mean data?"),
        (
            "[training]\nbatchsize = 64",
            "training.batchsize: unknown key; did you mean training.batch_size?",
        ),
        (
            "[training.phase2]\nmin_accuracy = 0.5",
            "training.phase2.min_accuracy: unknown key; did you mean evaluation.min_accuracy?",
        ),
        (
            "[model]\nepochs = 3",
            "did you mean training.phase1.epochs or training.phase2.epochs or tuning.epochs?",
        ),
        ("[model]\nembedding_pooling = []", "model.embedding_pooling: unknown key"),
        ('[training]\nmissing_words = "zeros"', "training.missing_words: unknown key"),
        ("[model]\nzzz = 3", "model.zzz: unknown key; docs/configuration.md lists the known ones"),
        (
            "[tuning.space]\n'model.lstm_units' = {lowest = 3}",
            "tuning.space.model.lstm_units.lowest: unknown key; docs/configuration.md",
        ),
    ],
)
def test_unknown_key_suggests_a_known_one(folder: Path, text: str, hint: str) -> None:
    assert hint in message(folder, MINIMAL + text)


def test_unknown_key_among_the_run_settings_alone_suggests_a_known_one(folder: Path) -> None:
    path = write(folder, MINIMAL.replace("[data]", "outputdir = 1\n[data]"))
    with pytest.raises(
        UserError, match=r"run\.outputdir: unknown key; did you mean run\.output_dir\?"
    ):
        load_run_settings(path)


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("[data]", "[data]\nparket = 1", ("data.parket", "unknown key")),
        ("[run]", "[rum]\nx = 1\n[run]", ("rum", "unknown key")),
        ('name = "arxiv"', "name = 3", ("run.name = 3", "string")),
        ('name = "arxiv"', 'name = "My Run"', ("run.name = 'My Run'", "pattern")),
        ('output_dir = "out"', "", ("run.output_dir", "required")),
        ("glove.txt", "missing.txt", ("data.glove", "there is no file", "missing.txt")),
        ("papers/*.parquet", "none/*.parquet", ("data.parquet", "no file matches")),
        (
            "[data]",
            "[data.splits]\ntrain = 1.5\n[data]",
            ("data.splits.train = 1.5", "less than or"),
        ),
        ("[data]", "[data.splits]\nseed = -1\n[data]", ("data.splits.seed = -1", "or equal to 0")),
        ("[data]", "[data.splits]\ntrain = 0.7\n[data]", ("data.splits", "add up to 1.06")),
        (
            "[data]",
            "[data.splits]\ntrain = 0.8\neval = 0.2\ntest = 0\n[data]",
            ("data.splits", "test", "0"),
        ),
        ("[data]", "[training.phase1]\nepochs = 0\n[data]", ("training.phase1.epochs = 0", "1")),
        (
            "[data]",
            '[model]\narchitecture = "bert"\n[data]',
            ("model.architecture = 'bert'", "notebook"),
        ),
        (
            "[data]",
            "[evaluation]\nmin_accuracy = 2.0\n[data]",
            ("evaluation.min_accuracy = 2.0", "1"),
        ),
        (
            "[data]",
            "[transform]\nvocabulary_size = 'many'\n[data]",
            ("transform.vocabulary_size = 'many'", "integer"),
        ),
        ("[run]", "[run", ("not valid TOML", "line 2")),
        ("[data]", "[training]\nbatch_size = true\n[data]", ("training.batch_size = True", "int")),
        ("[data]", "[training]\nbatch_size = '64'\n[data]", ("training.batch_size = '64'", "int")),
        ("[data]", "[training]\nbatch_size = 64.0\n[data]", ("training.batch_size = 64.0", "int")),
        (
            "[data]",
            "[training]\nfit_temperature = 'yes'\n[data]",
            ("training.fit_temperature = 'yes'", "boolean"),
        ),
        (
            "[data]",
            "[training]\nfit_temperature = 1\n[data]",
            ("training.fit_temperature = 1", "boolean"),
        ),
        ("[data]", "[training]\nlength_buckets = 8\n[data]", ("length_buckets = 8", "a list")),
        ("[data]", "[model]\nwide_scale = true\n[data]", ("model.wide_scale = True", "number")),
        (
            "[data]",
            "[transform]\nsequence_length = 9.0\n[data]",
            ("transform.sequence_length = 9.0", "integer"),
        ),
        ("[data]", "lock_wait_seconds = '9'\n[data]", ("run.lock_wait_seconds = '9'", "number")),
        ("[data]", "beam_args = [1]\n[data]", ("run.beam_args.0 = 1", "string")),
        ('"out"', "3", ("run.output_dir = 3", "path")),
        ('"out"', '"a\\u0000b"', ("run.output_dir = ", "control character")),
        ('"out"', '"a\\nb"', ("run.output_dir = ", "control character")),
        ('"out"', '"a\\u2028b"', ("run.output_dir = ", "control character")),
        ('"out"', '"a\\u001b[2Jb"', ("run.output_dir = ", "control character")),
        ('"out"', '"runs-*"', ("run.output_dir = ", "holds *", "name another folder")),
        ('"out"', '"[old]"', ("run.output_dir = ", "holds [ ]")),
        ('"out"', '"what?"', ("run.output_dir = ", "holds ?")),
        ('"out"', "'a\\b'", ("run.output_dir = ", "holds \\")),
        ("[data]", 'serving_dir = "{a,b}"\n[data]', ("run.serving_dir = ", "holds { }")),
        ('"glove.txt"', '"glove\\n.txt"', ("data.glove = ", "control character")),
        ('"glove.txt"', f'"{"g" * 300}"', ("data.glove = ", "cannot be read", "too long")),
        (
            '"glove.txt"',
            '"~nosuchuser/v.txt"',
            ("data.glove = '~nosuchuser/v.txt'", "no home folder for ~nosuchuser"),
        ),
        (
            "[data]",
            '[model]\narchitecture = "notebook"\n[data]',
            (": training.length_buckets = [32, 48,", "set it to []"),
        ),
        (
            "[data]",
            "[tuning]\nenabled = true\n[tuning.space]\n'model.lstm' = {low = 1, high = 2}\n[data]",
            ('tuning.space."model.lstm"', "no such key in [model] or [training]"),
        ),
        (
            "[data]",
            "[tuning.space]\n'model.lstm_units' = {low = 3, high = 2}\n[data]",
            ("tuning.space.model.lstm_units: low = 3 is not below high = 2",),
        ),
        (
            "[data]",
            '[model]\narchitecture = "notebook"\n[data]',
            (": training.length_buckets = [32, ", "reads its padding", "set it to []"),
        ),
    ],
)
def test_a_mistake_is_one_line_with_key_value_and_what_is_allowed(
    folder: Path, old: str, new: str, parts: tuple[str, ...]
) -> None:
    line = message(folder, MINIMAL.replace(old, new, 1))
    for part in parts:
        assert part in line


@pytest.mark.parametrize("name", ["a b", "données", "\u00a0\u3000", "100 %", "$HOME", "a'b\"c"])
def test_unusual_names_of_folders_are_taken(folder: Path, name: str) -> None:
    (folder / name).mkdir()
    config = load_config(write(folder / name, MINIMAL.replace("papers", "../papers").replace(
        '"glove', '"../glove'
    )))  # fmt: skip
    assert config.run.output_dir == folder / name / "out"


def test_folder_of_the_configuration_counts_as_part_of_the_path(folder: Path) -> None:
    (folder / "[x]").mkdir()
    line = message(folder / "[x]", MINIMAL)
    assert f"run.output_dir = 'out': {folder}/[x]/out holds [ ], which" in line


def test_home_of_nobody_in_the_configurations_own_path_is_one_line() -> None:
    with pytest.raises(UserError, match=r"^configuration ~nosuchuser/a\.toml: there is no home"):
        load_config(Path("~nosuchuser/a.toml"))


def test_configuration_survives_json(folder: Path) -> None:
    config = load_config(write(folder, MINIMAL + "[training]\nlength_buckets = [8, 16]\n"))
    assert config.training.length_buckets == (8, 16)
    through_json = json.loads(json.dumps(config.model_dump(mode="json")))
    assert PipelineConfig.model_validate(through_json) == config


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.toml: there is no such file"):
        load_config(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("shipped", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_configurations_are_valid(shipped: Path, tmp_path: Path) -> None:
    """Inputs aside, which `make` puts in place."""
    text = shipped.read_text(encoding="utf-8")
    for key in ("parquet", "glove"):
        value = tomli.loads(text)["data"][key]
        (tmp_path / key).touch()
        text = text.replace(f'"{value}"', f'"{tmp_path / key}"')
    assert load_config(write(tmp_path, text)).name.startswith("arxiv")


def test_configuration_is_read_without_tensorflow() -> None:
    code = (
        "import sys, pipeline.config.pipeline_config; "
        "sys.exit(bool({'tensorflow', 'tfx'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
