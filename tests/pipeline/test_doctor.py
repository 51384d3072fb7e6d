"""What doctor promises: it names what is broken and the way to mend it, and changes nothing."""

import gzip
import os
import re
import shutil
import tempfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from components.arrow import pa, pq
from components.contracts.artifact_files import MANIFEST
from components.contracts.manifest import Manifest
from components.pushing.owner import OWNER_FILE, Owner
from pipeline import doctor
from pipeline.config.pipeline_config import PipelineConfig, load_config
from pipeline.doctor import Health

COLUMNS = {
    name: pa.array(["cs", "math"]) for name in ("id", "abstract", "final_category", "update_date")
}


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """A configuration whose inputs are there and small."""
    pq.write_table(pa.table(COLUMNS), tmp_path / "papers.parquet")
    (tmp_path / "vectors.txt").write_text("word " + " ".join(["0.5"] * 100) + "\n")
    file = tmp_path / "run.toml"
    file.write_text(
        '[run]\nname = "x"\noutput_dir = "out"\n'
        '[data]\nparquet = "papers.parquet"\nglove = "vectors.txt"\n'
    )
    return file


@pytest.fixture
def config(config_file: Path) -> PipelineConfig:
    return load_config(config_file)


def test_sound_setup_has_nothing_broken_and_is_left_as_it_was(
    config: PipelineConfig, tmp_path: Path, repository: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    findings = {found.subject: found for found in doctor.examine(config, root=repository)}
    assert [one for one in findings.values() if one.health is Health.BROKEN] == []
    assert "2 rows in 1 file" in findings["parquet"].text
    assert "100 numbers a word" in findings["GloVe file"].text
    assert "7 classes: bio, cs, econ" in findings["schema"].text
    assert re.search(r"validations\.pbtxt: [1-9]\d* checks", findings["checks"].text)
    assert findings["output folder"].text.endswith("out, which a run makes")
    assert sorted(tmp_path.rglob("*")) == before


def test_mistake_in_the_configuration_is_a_finding_among_the_others(repository: Path) -> None:
    findings = list(doctor.examine(None, "training.seed = 'x': wrong", repository))
    assert findings[-1].subject == "configuration"
    assert findings[-1].health is Health.BROKEN
    assert findings[-1].text == "training.seed = 'x': wrong"
    assert "--config" in findings[-1].fix
    assert {"Python", "packages", "GPU"} <= {one.subject for one in findings}


@pytest.mark.parametrize("version", [(3, 9), (3, 11), (3, 12)])
def test_other_python_is_broken(version: tuple[int, int]) -> None:
    found = doctor.check_python(version)
    assert found.health is Health.BROKEN
    assert "3.10" in found.fix


def test_requirements_are_met_missed_or_of_no_concern_here() -> None:
    assert list(doctor.unmet(["numpy>=1", "protobuf", "nowhere ; extra == 'gpu'"])) == []
    assert list(doctor.unmet(["no-such-package>=1"])) == ["no-such-package is not installed"]
    (clause,) = doctor.unmet(["numpy<1"])
    assert clause.startswith("numpy is 1.")
    assert clause.endswith("not <1")


def test_lock_is_compared_package_by_package() -> None:
    numpy = __import__("numpy").__version__
    lock = f"# header\nnumpy=={numpy} \\\n    --hash=sha256:00\npandas==0.1 \\\n    --hash=x\n"
    lock += "no-such-package==2\npywin32==1 ; sys_platform == 'win32' \\\n"
    (pandas, absent) = doctor.unlocked(lock)
    assert pandas.startswith("pandas is ")
    assert pandas.endswith(", not 0.1")
    assert absent == "no-such-package is not installed, not 2"


def test_lock_that_does_not_hold_is_a_warning_and_pins_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "requirements.lock").write_text("numpy==0.1\n")
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda _: ["numpy>=1"])
    pins, lock = doctor.check_versions(tmp_path)
    assert (pins.health, lock.health, lock.fix) == (Health.FINE, Health.WARNING, "run make env")
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda _: ["numpy==0.1"])
    pins, _ = doctor.check_versions(tmp_path)
    assert (pins.health, pins.fix) == (Health.BROKEN, "run make env")


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    """What the driver of a machine with one GPU shows under /proc."""
    (tmp_path / "nvidia" / "gpus" / "0000:01:00.0").mkdir(parents=True)
    (tmp_path / "nvidia" / "version").touch()
    return tmp_path / "nvidia"


def test_gpu_is_missing_hidden_unused_or_ready(
    driver: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = doctor.check_gpu({}, tmp_path / "absent")
    assert (none.health, none.text) == (Health.FINE, "none; training runs on the CPU")
    hidden = doctor.check_gpu({"CUDA_VISIBLE_DEVICES": "-1"}, driver)
    assert (hidden.health, hidden.fix) == (Health.WARNING, "unset CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(doctor, "_installed", lambda _: None)
    unused = doctor.check_gpu({"CUDA_VISIBLE_DEVICES": "0"}, driver)
    assert (unused.health, unused.fix) == (Health.WARNING, "run make gpu")
    monkeypatch.setattr(doctor, "_installed", lambda _: "9.1")
    assert doctor.check_gpu({}, driver).health is Health.FINE


def test_temporary_folder_is_named_or_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = doctor.check_temporary_folder()
    assert (fine.health, fine.text) == (Health.FINE, tempfile.gettempdir())

    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    broken = doctor.check_temporary_folder()
    assert (broken.health, broken.fix) == (
        Health.BROKEN, "set TMPDIR to one that can"
    )  # fmt: skip
    assert "no temporary folder can be written to" in broken.text


@pytest.mark.parametrize(
    ("free", "health"),
    [
        (doctor.NO_SPACE - 1, Health.BROKEN),
        (doctor.LOW_SPACE - 1, Health.WARNING),
        (doctor.LOW_SPACE, Health.FINE),
    ],
)
def test_full_disk_is_found_where_the_folder_would_be(
    free: int, health: Health, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def usage(path: Path) -> object:
        asked.append(path)
        return namedtuple("usage", "free")(free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert doctor.check_disk(tmp_path / "a" / "b").health is health
    assert asked == [tmp_path]


def test_folder_that_cannot_be_written_is_broken(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = doctor.check_writable("output folder", "run.output_dir", tmp_path / "file" / "out")
    assert found.health is Health.BROKEN
    assert "cannot be written to" in found.text
    assert "run.output_dir" in found.fix
    proc = doctor.check_writable("serving folder", "run.serving_dir", Path("/proc/models"))
    assert proc.health is Health.BROKEN


@pytest.mark.parametrize(
    ("change", "health", "text"),
    [
        (Path.exists, Health.FINE, "2 versions, whole"),
        (
            lambda folder: (folder / "2" / "assets" / "vocabulary").write_text("teh\nof\n"),
            Health.WARNING,
            "version 2: assets/vocabulary was changed after the push",
        ),
        (lambda folder: (folder / "3").mkdir(), Health.WARNING, "version 3: no saved_model.pb"),
        (
            lambda folder: Owner(pipeline="other", output_dir="/o").write(folder / OWNER_FILE),
            Health.BROKEN,
            "belongs to the pipeline other with the output folder /o",
        ),
        (
            lambda folder: (folder / OWNER_FILE).write_text("{"),
            Health.BROKEN,
            "whose folder it is cannot be told",
        ),
    ],
)
def test_pushed_models_are_compared_with_their_manifests(
    config: PipelineConfig,
    saved_model: Callable[..., Path],
    change: Callable[[Path], object],
    health: Health,
    text: str,
) -> None:
    for number in ("1", "2"):
        path = saved_model(config.serving_dir / number)
        Manifest.of(path).write(path / MANIFEST)
    change(config.serving_dir)
    found = doctor.check_pushed_models(config)
    assert found.health is health
    assert text in found.text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"word 1 2 3\n", "3 numbers after the word, 100 expected"),
        (b"", "is empty"),
        (b"400000 100\n", "word2vec header"),
        (b"\0\1\2\n", "binary data"),
    ],
)
def test_vectors_that_cannot_be_used_are_broken(content: bytes, text: str, tmp_path: Path) -> None:
    file = tmp_path / "vectors.txt"
    file.write_bytes(content)
    found = doctor.check_glove(file, 100)
    assert (found.health, text in found.text) == (Health.BROKEN, True)
    assert "glove fetch" in found.fix


def test_damaged_archive_of_vectors_is_broken(tmp_path: Path) -> None:
    file = tmp_path / "vectors.txt.gz"
    whole = gzip.compress(("word " + " ".join(["0.5"] * 100) + "\n").encode() * 100)
    file.write_bytes(whole)
    assert doctor.check_glove(file, 100).health is Health.FINE
    file.write_bytes(b"PK" + whole[10:])
    assert doctor.check_glove(file, 100).health is Health.BROKEN


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda table: table.drop(["abstract"]), "no column 'abstract'; it has"),
        (lambda table: table.set_column(1, "abstract", pa.array([1.5, 2.5])), "has type double"),
        (lambda table: table.slice(0, 0), "no rows"),
    ],
)
def test_parquet_that_cannot_be_read_is_broken(change, text: str, tmp_path: Path) -> None:
    pq.write_table(change(pa.table(COLUMNS)), tmp_path / "a.parquet")
    found = doctor.check_parquet(tmp_path / "a.parquet")
    assert (found.health, text in found.text) == (Health.BROKEN, True), found
    assert found.fix


def test_every_file_of_a_glob_is_looked_at(tmp_path: Path) -> None:
    assert "no file matches" in doctor.check_parquet(tmp_path / "*.parquet").text
    for name in ("a", "b"):
        pq.write_table(pa.table(COLUMNS), tmp_path / f"{name}.parquet")
    assert "4 rows in 2 files" in doctor.check_parquet(tmp_path / "*.parquet").text
    (tmp_path / "b.parquet").write_text("no parquet")
    found = doctor.check_parquet(tmp_path / "*.parquet")
    assert found.health is Health.BROKEN
    assert os.fspath(tmp_path / "b.parquet") in found.text


def test_row_groups_are_decoded_up_to_a_bound_and_the_first_of_each_file_always(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        pq.write_table(pa.table(COLUMNS), tmp_path / f"{name}.parquet", row_group_size=1)
    files = tmp_path / "*.parquet"
    assert doctor.check_parquet(files).text.endswith(", 4 of 4 row groups decoded")
    monkeypatch.setattr(doctor, "MOST_DECODED", 1)
    assert doctor.check_parquet(files).text.endswith(", 2 of 4 row groups decoded")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('feature { nam: "abstract" }', "not a valid Schema: 1:11"),
        ('feature { name: "abstract" }', "final_category needs a string_domain"),
        ("\x00", "not a valid Schema"),
    ],
)
def test_schema_that_cannot_be_used_is_broken(content: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "schema.pbtxt"
    file.write_text(content)
    found = doctor.check_schema(file)
    assert (found.health, text in found.text) == (Health.BROKEN, True), found
    assert os.fspath(file) in found.text
    assert "data.schema_file" in found.fix
    assert "cannot be read" in doctor.check_schema(tmp_path / "absent").text


def test_checks_on_statistics_are_counted_or_broken(tmp_path: Path) -> None:
    file = tmp_path / "checks.pbtxt"
    file.write_text(
        'feature_validations { validations { sql_expression: "TRUE" } validations {} }\n'
        "feature_pair_validations { validations {} }\n"
    )
    found = doctor.check_validations(file)
    assert (found.health, found.text) == (Health.FINE, f"{file}: 3 checks on the statistics")
    file.write_text("feature_validations { validations { sql: 1 } }")
    found = doctor.check_validations(file)
    assert found.health is Health.BROKEN
    assert f"{file}: not a valid CustomValidationConfig: 1:37" in found.text
    assert "data.validations_file" in found.fix


def test_model_server_is_found_or_told_how_to_get_and_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    none = doctor.check_model_server()
    assert none.health is Health.FINE
    assert "docker is not on PATH" in none.text
    assert "install tensorflow_model_server or start Docker" in none.fix
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho Cannot connect to the daemon >&2; exit 1\n")
    docker.chmod(0o755)
    assert "no Docker engine answers (Cannot connect" in doctor.check_model_server().text
    docker.write_text("#!/bin/sh\necho 27.1\n")
    assert (doctor.check_model_server().text, doctor.check_model_server().fix) == ("by Docker", "")
    binary = tmp_path / "tensorflow_model_server"
    binary.touch(mode=0o755)
    assert doctor.check_model_server().text == os.fspath(binary)


@pytest.mark.parametrize(
    ("labels", "health", "text"),
    [
        (["cs", "math "], Health.WARNING, "has these classes of the schema: 'bio', 'econ', 'eng"),
        (["cs", "mathematics"], Health.BROKEN, "labels that the schema lacks: 'mathematics'"),
        ([None, None], Health.WARNING, "'bio', 'cs', 'econ', 'engineering', 'math'"),
        (
            ["bio", "cs", "econ", "engineering", "math", "physics", "stat"],
            Health.FINE,
            "7, the same in the data and the schema",
        ),
    ],
)
def test_labels_are_compared_with_the_classes_of_the_schema(
    config: PipelineConfig, labels: list[str], health: Health, text: str
) -> None:
    rows = {name: pa.array(["x"] * len(labels)) for name in COLUMNS}
    rows["final_category"] = pa.array(labels, pa.string())
    pq.write_table(pa.table(rows), config.data.parquet)
    found = doctor.check_classes(config.data)
    assert (found.health, text in found.text) == (health, True), found
