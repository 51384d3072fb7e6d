"""The wheel, installed in an empty folder: what is in it, and that its commands work."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

CONFIG = """
[run]
name = "wheel"
output_dir = "out"
[data]
parquet = "input/papers.parquet"
glove = "input/vectors.txt"
[training]
embedding_dim = 100
"""


def test_wheel_holds_every_file_of_the_packages_and_the_schema(
    installed_wheel: Any, repository: Path
) -> None:
    with zipfile.ZipFile(installed_wheel.wheel) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        schema = wheel.read("pipeline/schema/schema.pbtxt")
    files = {
        str(path.relative_to(repository))
        for package in ("components", "pipeline")
        for path in (repository / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    files |= {f"pipeline/schema/{path.name}" for path in (repository / "schema").iterdir()}
    assert names == files
    assert schema == (repository / "schema" / "schema.pbtxt").read_bytes()


def test_pipeline_commands_work_with_the_default_schema(installed_wheel: Any) -> None:
    assert "  runs " in installed_wheel.run("arxiv-pipeline", "--help").stdout.decode()
    (installed_wheel.work / "run.toml").write_text(CONFIG)
    sample = installed_wheel.run("arxiv-pipeline", "sample", "input", "--rows", "300")
    assert sample.returncode == 0, sample.stderr
    doctor = installed_wheel.run("arxiv-pipeline", "doctor", "--config", "run.toml")
    assert doctor.returncode == 0, doctor.stdout
    used = installed_wheel.environment / "lib/python3.10/site-packages/pipeline/schema/schema.pbtxt"
    assert re.search(f" ok +schema +{re.escape(str(used))}: 7 classes", doctor.stdout.decode())
