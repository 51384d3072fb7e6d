"""The run's configuration: one TOML file, validated once into typed, frozen objects.

Only these models have the defaults; `pipeline.config.reference` generates `real.toml` and the
reference page from them. Only this module reads a user's setting from the environment. It imports
neither TensorFlow nor TFX, so that a mistake is reported at once.
"""

from __future__ import annotations

import math
import os
import re
import unicodedata
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tomli
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from components.contracts import features
from components.contracts.columns import Columns
from components.errors import UserError
from components.evaluation.evaluation_settings import EvaluationSettings
from components.infra_validation.budgets import InfraValidationSettings
from components.input_files import find_files
from components.model.model_settings import ModelSettings
from components.pushing.owner import Owner
from components.settings import BASIC, Settings, declared_keys, is_group
from components.training.training_settings import TrainingSettings, check_settings
from components.tuning.tuning_settings import TuningSettings, check_tuning
from pipeline.runs.layout import OutputFolder

_PATTERN = frozenset("*?[]{}\\")
_Kind = TypeVar("_Kind", bound=Settings)
CONFIG_VARIABLE = "ARXIV_PIPELINE_CONFIG"
# A link to the top-level folder; the wheel holds the files.
_SCHEMA = (Path(__file__).resolve().parents[1] / "schema").resolve()


def _absolute(value: Any, info: ValidationInfo) -> Any:
    """Resolves a path relative to the folder of the configuration file, and expands ``~``."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str):
        raise ValueError("should be a path in quotes")
    if not value:
        raise ValueError("must not be empty")
    if _has_control_character(value):
        raise ValueError("must not hold a line break or another control character")
    base = (info.context or {}).get("base", Path.cwd())
    return Path(os.path.normpath(base / _expanded(Path(value))))


def _has_control_character(text: str) -> bool:
    # Control characters, lone surrogates, line and paragraph separators.
    return any(unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") for one in text)


def _literal(path: Path) -> Path:
    """Refuses a folder whose path TFX or Beam would read as a pattern."""
    found = sorted(_PATTERN.intersection(str(path)))
    if found or _has_control_character(str(path)):
        raise ValueError(
            f"{path} holds {' '.join(found) or 'a control character'}, which TFX would not take "
            "as part of a name; name another folder"
        )
    return path


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(f"there is no home folder for {path.parts[0]}; write it out") from None


def _existing_file(path: Path) -> Path:
    try:
        found = path.is_file()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    if not found:
        raise ValueError(f"there is no file {path}")
    return path


def _existing_match(path: Path) -> Path:
    find_files(str(path))
    return path


AnyPath = Annotated[Path, BeforeValidator(_absolute), AfterValidator(_literal)]
ExistingFile = Annotated[Path, BeforeValidator(_absolute), AfterValidator(_existing_file)]
ExistingPattern = Annotated[Path, BeforeValidator(_absolute), AfterValidator(_existing_match)]
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]


class RunSettings(Settings):
    """Names of the pipeline and its model, and the folders that its runs write to."""

    name: Name = Field(json_schema_extra=BASIC)
    """Pipeline name in the TFX CLI and in ML Metadata; models are only compared within one name."""
    output_dir: AnyPath = Field(json_schema_extra=BASIC)
    """Folder for everything that a run writes (artifacts, metadata.sqlite, checkpoints, logs)."""
    serving_dir: AnyPath | None = Field(None, examples=["/srv/models/arxiv"])
    """TF Serving's model base path, with one numbered folder per pushed version; by default
    `<output_dir>/serving/<name>`."""
    model_name: Name = "arxiv"
    """The model's name on TF Serving, as in `/v1/models/<name>:predict`."""
    lock_wait_seconds: float = Field(3600.0, ge=0)
    """How long a second run of the same output_dir waits for the first one before it gives up (exit
    code 4), in seconds."""
    beam_args: tuple[str, ...] = ()
    """Beam's pipeline options for Flink, Spark or Dataflow, part of the cache key; an empty list is
    the in-process DirectRunner, and with any option TFX packs itself up first, which takes seconds
    per node."""

    @property
    def model_folder(self) -> Path:
        """TF Serving's model base path: numeric version folders."""
        return self.serving_dir or OutputFolder(self.output_dir).serving_root / self.name

    @property
    def owner(self) -> Owner:
        """This pipeline, as the owner of its model folder."""
        return Owner(pipeline=self.name, output_dir=os.path.realpath(self.output_dir))


class SplitSettings(Settings):
    """Shares of the papers in each split: stratified by class, and the same on every run."""

    train: Share = 0.64
    """Share of the train split; the three add up to 1."""
    eval: Share = 0.16
    """Share of the eval split."""
    test: Share = 0.20
    """Share of the test split."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seed of the splits; models are only compared within one."""

    @model_validator(mode="after")
    def _adds_up(self) -> SplitSettings:
        for name, share in self.as_dict().items():
            if share == 0.0:
                raise ValueError(f"the {name} share is 0; every split needs papers")
        total = math.fsum(self.as_dict().values())
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"train, eval and test add up to {total:g}, not to 1")
        return self

    def as_dict(self) -> dict[str, float]:
        """Returns {split name: share}, without the seed."""
        return {name: getattr(self, name) for name in features.SPLITS}


class DataSettings(Settings):
    """The inputs of a run."""

    parquet: ExistingPattern = Field(json_schema_extra=BASIC)
    """Parquet file, folder of files, or glob (`**` crosses folders), with the columns that
    data.columns names."""
    glove: ExistingFile | None = Field(None, json_schema_extra=BASIC)
    """GloVe vectors as .txt, .txt.gz, .txt.xz or .zip (`make glove` fetches glove.6B.100d); by
    default, the vectors start from random ones."""
    description: str = "abstracts of arXiv papers"
    """What the texts are, for the model card and the report."""
    schema_file: ExistingFile = Field(_SCHEMA / "schema.pbtxt", examples=["schema.pbtxt"])
    """Reviewed schema, whose class list is the order of the scores."""
    validations_file: ExistingFile = Field(
        _SCHEMA / "validations.pbtxt", examples=["validations.pbtxt"]
    )
    """Reviewed SQL checks on the statistics."""
    columns: Columns = Columns()
    splits: SplitSettings = SplitSettings()


class TransformSettings(Settings):
    """From text to token ids."""

    vocabulary_size: int = Field(40_000, ge=3, le=10_000_000)
    """Number of tokens, padding and the unknown token (OOV) included."""
    sequence_length: int = Field(256, ge=1, le=4096, json_schema_extra=BASIC)
    """Words kept from the start of an abstract."""


class PipelineConfig(Settings):
    """A whole, checked configuration; every path in it is absolute."""

    run: RunSettings
    data: DataSettings
    transform: TransformSettings = TransformSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    tuning: TuningSettings = TuningSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    infra_validation: InfraValidationSettings = InfraValidationSettings()

    @model_validator(mode="after")
    def _fits_together(self) -> PipelineConfig:
        check_settings(self.model, self.training)
        if self.tuning.enabled:
            check_tuning(self.model, self.training, self.tuning)
        return self

    @property
    def name(self) -> str:
        return self.run.name

    @property
    def folder(self) -> OutputFolder:
        return OutputFolder(self.run.output_dir)

    @property
    def serving_dir(self) -> Path:
        return self.run.model_folder


def _suggestion(place: Sequence[str]) -> str:
    """Suggests the most similar key of the same table, or else the same key in other tables."""
    *tables, wrong = place
    group: Any = PipelineConfig
    for name in tables:
        group = group.model_fields[name].annotation if is_group(group) else None
    siblings = list(group.model_fields) if is_group(group) else []
    near = [".".join([*tables, key]) for key in get_close_matches(wrong, siblings, n=1)]
    near = near or [key for key in declared_keys(PipelineConfig) if key.split(".")[-1] == wrong]
    if near:
        return f"did you mean {' or '.join(near)}?"
    return "docs/configuration.md lists the known ones"


def _one_line(error: ValidationError, table: str) -> str:
    first = error.errors()[0]
    place = [*([table] if table else []), *map(str, first["loc"])]
    key = ".".join(place)
    kind = first["type"]
    if kind == "extra_forbidden":
        text = f"{key}: unknown key; {_suggestion(place)}"
    elif kind == "missing":
        text = f"{key}: this key is required"
    else:
        message = re.sub(r"^(Value error, |Input )", "", first["msg"])
        if kind == "tuple_type":
            message = "should be a list"
        shown = repr(first["input"])
        if isinstance(first["input"], BaseModel | dict):
            # Constraints between tables have no key; their messages name the keys.
            text = f"{key}: {message}" if key else message
        else:
            text = f"{key} = {shown if len(shown) <= 80 else shown[:77] + '...'}: {message}"
    more = error.error_count() - 1
    return " ".join(text.split()) + (f" (and {more} more)" if more else "")


def load_config(path: Path | None = None) -> PipelineConfig:
    """Reads and checks a configuration.

    Args:
        path: TOML file; None takes the file that ``ARXIV_PIPELINE_CONFIG`` names. Relative paths
            in the file start from its own folder.

    Raises:
        UserError: one line naming the file, the key, the value and what is allowed.
    """
    return _checked(PipelineConfig, *_read(path))


def load_run_settings(path: Path | None = None) -> RunSettings:
    """Does as :func:`load_config` with ``[run]`` alone, to inspect runs whose inputs are gone."""
    path, content = _read(path)
    return _checked(RunSettings, path, content.get("run", {}), "run")


def _checked(kind: type[_Kind], path: Path, content: Any, table: str = "") -> _Kind:
    try:
        return kind.model_validate(content, context={"base": path.parent})
    except ValidationError as error:
        raise UserError(f"configuration {path}: {_one_line(error, table)}") from None


def _read(path: Path | None) -> tuple[Path, dict[str, Any]]:
    if path is None:
        named = os.environ.get(CONFIG_VARIABLE, "")
        if not named:
            raise UserError(
                f"no configuration: set {CONFIG_VARIABLE} to a TOML file, "
                "such as pipeline/config/sample.toml"
            )
        path = Path(named)
    try:
        path = _expanded(path).absolute()
    except ValueError as error:
        raise UserError(f"configuration {path}: {error}") from None
    try:
        return path, tomli.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"configuration {path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"configuration {path}: cannot be read: {error}") from None
    except tomli.TOMLDecodeError as error:
        raise UserError(f"configuration {path}: not valid TOML: {error}") from None
