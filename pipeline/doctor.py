"""Checks for what would stop a run and how to fix it, without importing TensorFlow or TFX."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from components import model_server
from components.contracts.columns import ARXIV, Columns
from components.errors import UserError, listed
from components.input_files import find_files
from components.pushing.owner import check_owner
from components.pushing.versions import numbered
from components.scoring.saved_model import defect
from pipeline import environment
from pipeline.config.pipeline_config import CONFIG_VARIABLE, DataSettings, PipelineConfig

_ROOT = Path(__file__).resolve().parent.parent
_DISTRIBUTION = "arxiv-subject-classifier"
# The extras of pyproject.toml that a run needs; "" stands for the base dependencies.
_EXTRAS = ("", "parquet", "local", "batch", "pipeline")
_GIB = 1 << 30
# A run on 39,440 papers writes less than LOW_SPACE (examples, transformed examples, models).
LOW_SPACE = 5 * _GIB
NO_SPACE = 1 * _GIB
# Bytes of row groups, uncompressed. 240,000 papers have 224 MiB, decoded in 1.4 s.
MOST_DECODED = _GIB // 4

_LOCKED = re.compile(r"^(?P<name>[A-Za-z0-9][\w.-]*)(\[[^\]]*\])?==(?P<version>[^\s;\\]+)")


class Health(str, Enum):
    """Result of a check; the values are the words shown."""

    FINE = "ok"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """What one check found; ``fix`` says what to do about it, and is empty if nothing."""

    subject: str
    health: Health
    text: str
    fix: str = ""


def examine(
    config: PipelineConfig | None, mistake: str = "", root: Path = _ROOT
) -> Iterator[Finding]:
    """Runs every check; those of inputs and folders need a configuration.

    ``config`` is None if it cannot be used, for the reason ``mistake``; ``root`` is the project's
    folder, with the lock file.
    """
    yield check_python(sys.version_info[:2])
    yield from check_versions(root)
    yield check_gpu(os.environ)
    yield check_model_server()
    yield check_temporary_folder()
    if config is None:
        fix = f"mend it; or name another one with --config or {CONFIG_VARIABLE}"
        yield Finding("configuration", Health.BROKEN, mistake, fix)
        return
    yield Finding("configuration", Health.FINE, f"{config.name}, into {config.run.output_dir}")
    yield check_disk(config.run.output_dir)
    yield check_writable("output folder", "run.output_dir", config.run.output_dir)
    yield check_writable("serving folder", "run.serving_dir", config.serving_dir)
    yield check_pushed_models(config)
    yield check_glove(config.data.glove, config.training.embedding_dim)
    yield check_parquet(config.data.parquet, config.data.columns)
    yield check_schema(config.data.schema_file, config.data.columns.label)
    yield check_classes(config.data)
    yield check_validations(config.data.validations_file)


def check_temporary_folder() -> Finding:
    """Checks that temporary files can be written."""
    try:
        return Finding("temporary folder", Health.FINE, environment.temporary_folder())
    except UserError as error:
        text, _, fix = str(error).rpartition("; ")
        return Finding("temporary folder", Health.BROKEN, text, fix)


def check_python(version: tuple[int, ...]) -> Finding:
    """Checks Python's major and minor version."""
    text = "Python " + ".".join(map(str, version))
    if version[:2] == (3, 10):
        return Finding("Python", Health.FINE, text)
    fix = "TFX 1.16.0 needs Python 3.10: install it, then run make clean and make env"
    return Finding("Python", Health.BROKEN, text, fix)


def check_versions(root: Path) -> Iterator[Finding]:
    """Checks the installed packages against the project's pins and against the lock file."""
    fix = "run make env"
    try:
        needed = importlib.metadata.requires(_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        text = f"{_DISTRIBUTION} is not installed, so its pins are not known"
        yield Finding("packages", Health.BROKEN, text, fix)
        return
    fine = Finding("packages", Health.FINE, "every pin of the project holds")
    wrong = list(unmet(needed))
    yield Finding("packages", Health.BROKEN, _few(wrong), fix) if wrong else fine
    lock = root / "requirements.lock"
    if lock.is_file():
        fine = Finding("lock file", Health.FINE, "every package as locked")
        other = list(unlocked(lock.read_text(encoding="utf-8")))
        yield Finding("lock file", Health.WARNING, _few(other), fix) if other else fine


def unmet(requirements: list[str]) -> Iterator[str]:
    """Yields a message for each requirement of the pipeline that the environment does not meet."""
    for text in requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        marker = requirement.marker
        if marker is not None and not any(marker.evaluate({"extra": one}) for one in _EXTRAS):
            continue
        installed = _installed(requirement.name)
        if installed is None:
            yield f"{requirement.name} is not installed"
        elif not requirement.specifier.contains(installed, prereleases=True):
            yield f"{requirement.name} is {installed}, not {requirement.specifier}"


def unlocked(lock: str) -> Iterator[str]:
    """Yields a message for each package whose installed version differs from a lock file's."""
    for line in lock.splitlines():
        found = _LOCKED.match(line)
        if not found:
            continue
        marker = line.partition(";")[2].rstrip(" \\").strip()
        if marker and not Requirement(f"{found['name']}; {marker}").marker.evaluate():  # type: ignore[union-attr]
            continue
        installed = _installed(found["name"])
        # "+local" labels are builds of the same release.
        if installed is None or installed.partition("+")[0] != found["version"].partition("+")[0]:
            yield f"{found['name']} is {installed or 'not installed'}, not {found['version']}"


def check_gpu(environ: Mapping[str, str], proc: Path = Path("/proc/driver/nvidia")) -> Finding:
    """Checks whether an NVIDIA GPU can be used, by what its driver shows; none is fine, too."""
    gpus = proc / "gpus"
    count = len(list(gpus.iterdir())) if gpus.is_dir() else 0
    if not count and not (proc / "version").is_file():
        return Finding("GPU", Health.FINE, "none; training runs on the CPU")
    text = f"{count or 'an unknown number of'} NVIDIA GPU{'' if count == 1 else 's'}"
    hidden = environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        text += f", hidden by CUDA_VISIBLE_DEVICES={hidden}"
        return Finding("GPU", Health.WARNING, text, "unset CUDA_VISIBLE_DEVICES")
    if _installed("nvidia-cudnn-cu12") is None:
        text += "; TensorFlow's CUDA libraries are not installed, so training runs on the CPU"
        return Finding("GPU", Health.WARNING, text, "run make gpu")
    return Finding("GPU", Health.FINE, f"{text}, CUDA libraries installed")


def check_model_server() -> Finding:
    """Reports which TF Serving is available here; a run does not need one."""
    subject = "TF Serving"
    try:
        found = model_server.find()
    except model_server.NoServerError as error:
        return Finding(
            subject,
            Health.FINE,
            f"none: {error}; before a push TensorFlow's own runtime is asked",
            f"for serve, and to ask the real server before a push: install {model_server.BINARY} "
            "or start Docker",
        )
    return Finding(subject, Health.FINE, "by Docker" if found.in_docker else found.program)


def check_disk(folder: Path) -> Finding:
    """Checks the free space where a folder is, or would be created."""
    free = shutil.disk_usage(_existing(folder)).free
    text = f"{free / _GIB:.1f} GiB free for {folder}"
    fix = "make space, name another run.output_dir, or see what arxiv-pipeline gc would remove"
    if free < LOW_SPACE:
        health = Health.BROKEN if free < NO_SPACE else Health.WARNING
        return Finding("disk", health, text, fix)
    return Finding("disk", Health.FINE, text)


def check_writable(subject: str, key: str, folder: Path) -> Finding:
    """Checks that a folder can be written to, or created; leaves nothing behind."""
    nearest = _existing(folder)
    try:
        if not nearest.is_dir():
            raise NotADirectoryError(20, f"{nearest} is a file")
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=nearest):
            pass
    except OSError as error:
        fix = f"mend the permissions of {nearest}, or name another folder as {key}"
        return Finding(
            subject, Health.BROKEN, f"{folder}: cannot be written to: {error.strerror}", fix
        )
    made = "" if folder.is_dir() else ", which a run makes"
    return Finding(subject, Health.FINE, f"{folder}{made}")


def check_pushed_models(config: PipelineConfig) -> Finding:
    """Checks whose the serving folder is, and its versions against their manifests."""
    subject, folder = "pushed models", config.serving_dir
    try:
        check_owner(folder, config.run.owner)
        versions = numbered(folder)
    except UserError as error:
        return Finding(subject, Health.BROKEN, str(error))
    found = {number: defect(path, contents=True) for number, path in versions.items()}
    wrong = [f"version {number}: {problem}" for number, problem in found.items() if problem]
    if wrong:
        fix = f"remove the folder from {folder}, or see arxiv-pipeline versions rollback"
        return Finding(subject, Health.WARNING, _few(wrong), fix)
    return Finding(subject, Health.FINE, f"{len(versions) or 'no'} versions, whole")


def check_glove(file: Path | None, dimension: int) -> Finding:
    """Checks the format and dimension of the word vectors by their first line."""
    if file is None:
        fix = "arxiv-pipeline glove fetch gets some; name them as data.glove"
        return Finding("GloVe file", Health.WARNING, "none: vectors start from random ones", fix)
    from components.model.word_vectors import check_first_row

    try:
        check_first_row(file, dimension)
    except UserError as error:
        fix = "name GloVe vectors as data.glove; arxiv-pipeline glove fetch gets the real ones"
        return Finding("GloVe file", Health.BROKEN, str(error), fix)
    return Finding("GloVe file", Health.FINE, f"{file}: {dimension} numbers a word")


def check_parquet(pattern: Path, columns: Columns = ARXIV) -> Finding:
    """Checks that each file of the corpus has the columns a run reads, and decodes some of them.

    Decodes the first row group of each file, and further ones up to ``MOST_DECODED`` in all.
    """
    from components.arrow import open_parquet
    from components.ingestion.columns import check_schema

    fix = "mend the file, or name others as data.parquet"
    names = [*columns.required, *columns.optional]
    rows = decoded = groups = size = 0
    try:
        files = find_files(str(pattern))
        for name in files:
            with open_parquet(name) as file:
                check_schema(file.schema_arrow, name, columns)
                rows += file.metadata.num_rows
                groups += file.num_row_groups
                for group in range(file.num_row_groups):
                    size += file.metadata.row_group(group).total_byte_size
                    if group and size > MOST_DECODED:
                        break
                    decoded += 1
                    for _ in file.iter_batches(4096, [group], names):
                        pass
    except UserError as error:
        return Finding("parquet", Health.BROKEN, str(error), fix)
    if not rows:
        return Finding("parquet", Health.BROKEN, f"{pattern}: no rows in it", fix)
    text = f"{pattern}: {rows:,} rows in {len(files)} file{'s' if len(files) > 1 else ''}"
    text += f", every column there, {decoded:,} of {groups:,} row groups decoded"
    return Finding("parquet", Health.FINE, text)


def check_schema(file: Path, label: str = ARXIV.label) -> Finding:
    """Checks that the reviewed schema can be parsed and lists the classes."""
    from components.validation.reviewed_files import read_classes

    try:
        classes = read_classes(file, label)
    except UserError as error:
        fix = "mend the file, or name another as data.schema_file"
        return Finding("schema", Health.BROKEN, str(error), fix)
    return Finding("schema", Health.FINE, f"{file}: {len(classes)} classes: {', '.join(classes)}")


def check_classes(data: DataSettings) -> Finding:
    """Compares the labels of the corpus with the classes of the reviewed schema."""
    from components.arrow import open_parquet, pc
    from components.ingestion.columns import LABEL, canonical, check_schema, with_partitions
    from components.validation.reviewed_files import read_classes

    label, labels = data.columns.label, set()
    try:
        classes = read_classes(data.schema_file, label)
        for name in find_files(str(data.parquet)):
            with open_parquet(name) as file:
                check_schema(file.schema_arrow, name, data.columns)
                for batch in file.iter_batches(columns=[label]):
                    batch = with_partitions(batch, name, [label])
                    found = canonical(batch, data.columns).batch.column(LABEL)
                    labels.update(pc.unique(found).drop_null().to_pylist())
    except UserError as error:
        return Finding("classes", Health.BROKEN, str(error), "see the findings above")
    unknown = sorted(labels - set(classes))
    missing = [name for name in classes if name not in labels]
    if unknown:
        text = f"column {label!r} has labels that the schema lacks: {listed(unknown)}"
        fix = f"add them to the classes in {data.schema_file}, or remove the rows"
        return Finding("classes", Health.BROKEN, text, fix)
    if missing:
        text = f"no row of column {label!r} has these classes of the schema: {listed(missing)}"
        fix = f"remove them from {data.schema_file}, or add rows"
        return Finding("classes", Health.WARNING, text, fix)
    return Finding("classes", Health.FINE, f"{len(classes)}, the same in the data and the schema")


def check_validations(file: Path) -> Finding:
    """Checks that the file of checks on statistics can be parsed; does not run their SQL."""
    from components.validation.reviewed_files import no_validations, parse

    try:
        found = parse(file, no_validations())
    except UserError as error:
        fix = "mend the file, or name another as data.validations_file"
        return Finding("checks", Health.BROKEN, str(error), fix)
    groups = [*found.feature_validations, *found.feature_pair_validations]  # type: ignore[attr-defined]
    count = sum(len(group.validations) for group in groups)
    text = f"{file}: {count} check{'' if count == 1 else 's'} on the statistics"
    return Finding("checks", Health.FINE, text)


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _existing(path: Path) -> Path:
    """Returns the path or its nearest ancestor that exists."""
    return next(one for one in (path, *path.parents) if one.exists())


def _few(clauses: list[str]) -> str:
    more = len(clauses) - 3
    return "; ".join(clauses[:3]) + (f"; and {more} more" if more > 0 else "")
