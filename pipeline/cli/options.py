"""Options that several commands share, and the folders they resolve to.

Has no slow imports, since ``--help`` and completion wait for it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from components.errors import UserError
from pipeline.runs.layout import OutputFolder

if TYPE_CHECKING:
    from components.pushing.owner import Owner
    from pipeline.config.pipeline_config import RunSettings
    from pipeline.runs.history import History

CONFIG_HELP = "TOML file; by default the one that ARXIV_PIPELINE_CONFIG names."

Config = Annotated[Optional[Path], typer.Option("--config", "-c", help=CONFIG_HELP)]  # noqa: UP045
OutputDir = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--output-dir",
        "-o",
        help="Folder that runs wrote into, instead of the configuration's run.output_dir.",
        file_okay=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@dataclass(frozen=True)
class Place:
    """Where runs write; ``settings`` are None without a configuration."""

    folder: OutputFolder
    settings: RunSettings | None = None

    @property
    def serving_dir(self) -> Path:
        """TF Serving's model folder: the configured one or, without one, the latest run's.

        Raises:
            UserError: it cannot be determined.
        """
        if self.settings is not None:
            return self.settings.model_folder
        root, run = self.folder.serving_root, self._latest_run
        models = [one for one in root.iterdir() if one.is_dir()] if root.is_dir() else []
        if run.get("serving_dir"):
            return Path(run["serving_dir"])
        if run.get("name"):
            return root / str(run["name"])
        if len(models) == 1:
            return models[0]
        raise UserError(
            f"{self.folder.path} does not tell where its models are served; name the configuration "
            "with --config"
        )

    @property
    def model_name(self) -> str:
        """The model's name on TF Serving, from where :attr:`serving_dir` is; may be the default."""
        if self.settings is not None:
            return self.settings.model_name
        from pipeline.client.types import Options

        return str(self._latest_run.get("model_name", Options.model_name))

    @property
    def _latest_run(self) -> dict[str, Any]:
        """The table ``[run]`` of the latest run; empty if there is none."""
        from pipeline.runs import record

        try:
            return dict(record.latest_configuration(self.folder).get("run", {}))
        except OSError as error:
            raise UserError(f"{self.folder.path}: cannot be read: {error.strerror}") from error

    @property
    def owner(self) -> Owner:
        """The pipeline that may change that folder."""
        from components.pushing.owner import Owner

        if self.settings is not None:
            return self.settings.owner
        return Owner(output_dir=os.path.realpath(self.folder.path))

    def history(self) -> History:
        """Opens the runs' history.

        Raises:
            UserError: there is no ML Metadata database, or it cannot be read.
        """
        from pipeline.runs.history import History

        return History(self.folder)


def locate(config: Path | None, output_dir: Path | None) -> Place:
    """Returns where runs write, from the options or the environment.

    Raises:
        UserError: both options or neither name it, or the configuration cannot be read.
    """
    if output_dir is not None:
        if config is not None:
            raise UserError("--config and --output-dir: give one of them")
        return Place(OutputFolder(output_dir.expanduser().absolute()))
    from pipeline.config.pipeline_config import load_run_settings

    settings = load_run_settings(config)
    return Place(OutputFolder(settings.output_dir), settings)


def complete_run(context: typer.Context, incomplete: str) -> list[str]:
    """Completes a run's id in the shell; offers nothing if the runs cannot be read."""
    from pipeline.runs.history import LATEST

    try:
        place = locate(context.params.get("config"), context.params.get("output_dir"))
        ids = [LATEST, *reversed(place.history().ids)]
    except UserError:
        return []
    # Bash splits words at colons, so only a prefix without one can be completed.
    return [one for one in ids if one.startswith(incomplete)]


_NAMED_BY = "id, a unique prefix of it, or 'latest'."


def _run_argument(metavar: str, which: str) -> Any:
    return typer.Argument(
        metavar=metavar, help=f"{which} run's {_NAMED_BY}", autocompletion=complete_run
    )


RunId = Annotated[str, _run_argument("RUN", "The")]
FirstRun = Annotated[str, _run_argument("A", "The first")]
SecondRun = Annotated[str, _run_argument("B", "The second")]
