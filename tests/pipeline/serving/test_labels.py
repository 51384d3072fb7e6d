"""Labels: what is written, and what a running server would refuse."""

from __future__ import annotations

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2
from typer.testing import CliRunner

from components.errors import UserError
from pipeline.cli.main import app
from pipeline.serving.labels import assign, models_config


def entry(path):
    """The only model of a config file."""
    config = text_format.Parse(path.read_text(), model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    return model


def read(path):
    """Base path, labels and versions of a config file."""
    model = entry(path)
    return (
        model.base_path,
        dict(model.version_labels),
        list(model.model_version_policy.specific.versions),
    )


def test_canary_comes_is_promoted_and_another_follows(tmp_path, push_folder, saved_model):
    file = tmp_path / "new" / "models.config"
    saved_model(push_folder / "13")

    assign(push_folder, file, "arxiv", stable=5, canary=12)
    assert read(file) == ("/models/arxiv", {"stable": 5, "canary": 12}, [5, 12])
    assign(push_folder, file, "arxiv", stable=12, canary=None)
    assert read(file) == ("/models/arxiv", {"stable": 12}, [12])
    assign(push_folder, file, "arxiv", stable=12, canary=13)
    assert read(file)[1:] == ({"stable": 12, "canary": 13}, [12, 13])
    assert [path.name for path in file.parent.iterdir()] == ["models.config"]


def test_label_in_use_moves_to_a_loaded_version_only(tmp_path, push_folder):
    file = tmp_path / "models.config"
    assign(push_folder, file, "arxiv", stable=5, canary=None)
    before = file.read_text()

    with pytest.raises(UserError, match="assign it as canary first"):
        assign(push_folder, file, "arxiv", stable=12, canary=None)
    assert file.read_text() == before


def test_other_models_of_the_server_stay(tmp_path, push_folder):
    file = tmp_path / "models.config"
    other = 'name: "other" base_path: "/models/other" model_platform: "tensorflow"'
    own = 'name: "arxiv" base_path: "/m" model_version_policy { all {} }'
    own += ' version_labels { key: "stable" value: 5 } logging_config { sampling_config {} }'
    file.write_text(f"model_config_list {{ config {{ {other} }} config {{ {own} }} }}")

    # A label that stays where it is moves nowhere.
    assign(push_folder, file, "arxiv", stable=5, canary=12)

    written = text_format.Parse(file.read_text(), model_server_config_pb2.ModelServerConfig())
    first, second = written.model_config_list.config
    assert first == text_format.Parse(other, model_server_config_pb2.ModelConfig())
    assert (second.name, second.base_path) == ("arxiv", "/m")
    assert dict(second.version_labels) == {"stable": 5, "canary": 12}
    assert list(second.model_version_policy.specific.versions) == [5, 12]
    assert second.HasField("logging_config")


def test_shipped_file_takes_labels(tmp_path, push_folder):
    file = tmp_path / "models.config"
    file.write_text(models_config("arxiv", "/elsewhere", {}))

    assign(push_folder, file, "arxiv", stable=12, canary=None)

    assert read(file) == ("/elsewhere", {"stable": 12}, [12])


def test_configuration_names_the_folder_though_its_inputs_are_not_on_this_machine(
    tmp_path, push_folder
):
    config = tmp_path / "run.toml"
    config.write_text(
        f'[run]\nname = "made"\noutput_dir = "out"\nserving_dir = "{push_folder}"\n'
        '[data]\nparquet = "absent.parquet"\nglove = "absent.txt"\n'
    )
    file = tmp_path / "models.config"
    words = ["labels", str(file), "--stable", "5"]
    assert CliRunner().invoke(app, [*words, "-c", str(config)]).exit_code == 0
    assert read(file)[1:] == ({"stable": 5}, [5])


def test_output_folder_of_the_runs_names_the_push_folder(tmp_path, push_folder):
    file = tmp_path / "models.config"
    words = ["labels", str(file), "--stable", "12", "-o", str(push_folder.parent.parent)]

    assert CliRunner().invoke(app, words).exit_code == 0
    assert read(file)[1:] == ({"stable": 12}, [12])
    both = CliRunner().invoke(app, [*words, "--folder", str(push_folder)])
    assert isinstance(both.exception, UserError)
    assert "give one of them" in str(both.exception)


@pytest.mark.parametrize(
    ("key", "words", "name"),
    [
        ('model_name = "tickets"', ["-c"], "tickets"),
        ("", ["-c"], "arxiv"),
        ("", ["-o"], "arxiv"),
        ("", ["--folder"], "arxiv"),
        ("", ["--model-name", "reviews", "--folder"], "reviews"),
        ('model_name = "tickets"', ["--model-name", "reviews", "-c"], "reviews"),
    ],
)
def test_model_has_the_name_of_the_configuration_or_of_the_option(
    tmp_path, push_folder, key, words, name
):
    config, file = tmp_path / "run.toml", tmp_path / "models.config"
    config.write_text(
        f'[run]\nname = "made"\noutput_dir = "out"\nserving_dir = "{push_folder}"\n{key}\n'
    )
    places = {"-c": config, "-o": push_folder.parent.parent, "--folder": push_folder}
    command = ["labels", str(file), "--stable", "5", *words, str(places[words[-1]])]

    assert CliRunner().invoke(app, command).exit_code == 0
    assert (entry(file).name, entry(file).base_path) == (name, f"/models/{name}")


@pytest.mark.parametrize(("stable", "canary"), [(99, None), (5, 6)])
def test_version_without_a_model_is_refused(tmp_path, push_folder, stable, canary):
    with pytest.raises(UserError, match="which has 5, 12"):
        assign(push_folder, tmp_path / "models.config", "arxiv", stable, canary)


def test_file_that_is_something_else_is_refused(tmp_path, push_folder):
    file = tmp_path / "models.config"
    file.write_text("stable = 5\n")

    with pytest.raises(UserError, match="not a ModelServerConfig"):
        assign(push_folder, file, "arxiv", 5, None)
