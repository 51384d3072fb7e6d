"""``arxiv-pipeline serve`` and ``labels``."""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn, Optional

import typer

from components.errors import UserError
from pipeline.cli.options import Config, OutputDir, locate
from pipeline.client.types import Options

SERVE_EPILOG = """\b
Exit codes:
  0    the model was served, until Ctrl-C or with --check until the first answer
  1    the server ended by itself; its log is named
  2    something is missing; one line says what
  143  stopped by SIGTERM

\b
Examples:
  arxiv-pipeline serve --config my.toml
  arxiv-pipeline serve --output-dir var/sample --check
  arxiv-pipeline serve --config my.toml --stable 1795363587 --canary 1795364831
"""
LABELS_EPILOG = """\b
Exit codes:
  0  written
  2  a version is not there, or a running server would refuse the file; one line says why

\b
Examples:
  arxiv-pipeline labels models.config --config my.toml --stable 1795363587
  arxiv-pipeline labels models.config --config my.toml --stable 1795363587 --canary 1795364831
"""


Folder = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="Push folder, instead of that of the configuration or of the runs."),
]


ModelName = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        help="The model's name on the server; by default that of the configuration or of the runs, "
        f"or with --folder {Options.model_name}."
    ),
]


def _served(
    folder: Path | None, config: Path | None, output_dir: Path | None, model_name: str | None
) -> tuple[Path, str]:
    """Returns the push folder, and the model's name on the server."""
    if folder is None:
        place = locate(config, output_dir)
        folder, default = place.serving_dir, place.model_name
    elif config is None and output_dir is None:
        default = Options.model_name
    else:
        raise UserError("--folder and --config or --output-dir: give one of them")
    return folder, Options(model_name=default if model_name is None else model_name).model_name


def serve(
    config: Config = None,
    output_dir: OutputDir = None,
    folder: Folder = None,
    model_name: ModelName = None,
    runtime: Annotated[
        str, typer.Option(help="native (tensorflow_model_server on PATH), docker or auto.")
    ] = "auto",
    stable: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Serve this version under the label stable."),
    ] = None,
    canary: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Serve this version under the label canary."),
    ] = None,
    grpc_port: Annotated[int, typer.Option(min=1, max=65535)] = 8500,
    rest_port: Annotated[int, typer.Option(min=1, max=65535)] = 8501,
    timeout: Annotated[float, typer.Option(help="Seconds until the model must be loaded.")] = 120.0,
    check: Annotated[bool, typer.Option("--check", help="Stop after the first answer.")] = False,
) -> None:
    """Serve the pushed model with TF Serving until Ctrl-C."""
    from pipeline.serving import serve as server

    if runtime not in ("auto", "native", "docker"):
        raise UserError(f"--runtime {runtime}: must be auto, native or docker")
    push_folder, name = _served(folder, config, output_dir, model_name)
    signal.signal(signal.SIGTERM, _leave)
    with (
        contextlib.suppress(KeyboardInterrupt),
        server.serving(
            push_folder,
            name,
            runtime=runtime,
            stable=stable,
            canary=canary,
            grpc_port=grpc_port,
            rest_port=rest_port,
            timeout=timeout,
            say=lambda line: typer.echo(line, err=True),
        ) as running,
    ):
        typer.echo(f"version {running.version} is AVAILABLE; it says {running.answer.label} of")
        typer.echo(f"  {server.EXAMPLE}")
        typer.echo(f"REST  {running.url}:predict")
        typer.echo(f"gRPC  127.0.0.1:{grpc_port}")
        if check:
            return
        typer.echo(f"Ctrl-C stops it; labels are in {running.config_file}")
        code = running.server.process.wait()
        typer.echo(f"the server ended with code {code} (log: {running.server.log_file})", err=True)
        raise typer.Exit(1)


def _leave(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    sys.exit(128 + number)


def labels(
    config_file: Annotated[
        Path, typer.Argument(help="The models.config of the server, or a new one for it.")
    ],
    stable: Annotated[int, typer.Option(help="Version that gets the label stable.")],
    canary: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Version that gets the label canary; without it, none has it."),
    ] = None,
    config: Config = None,
    output_dir: OutputDir = None,
    folder: Folder = None,
    model_name: ModelName = None,
    base_path: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="The push folder as the server sees it; by default, what the file has."),
    ] = None,
) -> None:
    """Assign the labels stable and canary to versions.

    TF Serving loads only versions with a label, and serves them under it, too.
    """
    from pipeline.serving.labels import assign

    push_folder, name = _served(folder, config, output_dir, model_name)
    assigned = assign(push_folder, config_file, name, stable, canary, base_path)
    listed = ", ".join(f"{label} {version}" for label, version in assigned.items())
    typer.echo(f"{config_file}: {listed}; a running server takes it within 30 s")
