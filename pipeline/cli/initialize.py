"""``arxiv-pipeline init``: a first configuration from a data file."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from components.errors import UserError, printable

if TYPE_CHECKING:
    from pipeline.corpora.initialize import Initialized

EPILOG = """\b
Exit codes:
  0  the folder is there; the last line printed is the command that trains
  2  the data cannot be used, a column cannot be told, or the folder exists; one line says why

\b
Examples:
  arxiv-pipeline init reviews.parquet --output reviews
  arxiv-pipeline init news.csv --output news --text title --text description --label topic
  arxiv-pipeline init 'papers/**/*.parquet' --output papers --glove var/glove/glove.6B.100d.txt
"""
_MOST_CLASSES = 30


def init(
    data: Annotated[
        str,
        typer.Argument(help="Parquet, CSV or JSON lines; or a folder or quoted glob of parquet."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to make.")],
    text: Annotated[
        list[str], typer.Option(help="Column of the text; several are joined in their order.")
    ] = [],  # noqa: B006
    label: Annotated[str, typer.Option(help="Column of the class.")] = "",
    id_: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--id", help='Column that names a row; "" for none.'),
    ] = None,
    date: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help='Column of dates; "" for none.'),
    ] = None,
    category: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help='Column of a finer label; "" for none.'),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the pipeline and the model.")] = "",
    description: Annotated[
        str, typer.Option(help="What the texts are, for the model card and the report.")
    ] = "",
    glove: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="GloVe vectors; without any, the model starts from random ones."),
    ] = None,
) -> None:
    """Make a configuration and a schema for a corpus of your own.

    Finds the columns of the text, the label, ids and dates, unless options name them; counts the
    classes and the lengths; and writes a folder with pipeline.toml, schema.pbtxt and
    validations.pbtxt: classes, thresholds above the majority class, vocabulary and sequence length
    from the data. Review them; the command that trains is printed. CSV, JSON lines and arXiv's
    metadata dump are converted to a parquet in the folder.
    """
    from pipeline import environment
    from pipeline.corpora.initialize import InitRequest, initialize

    environment.prepare(quiet=True)
    if glove and not glove.is_file():
        raise UserError(f"--glove: there is no file {glove}")
    request = InitRequest(
        data, output, name, description, glove, tuple(text), label, id_, date, category
    )
    _show(initialize(request))


def _show(made: Initialized) -> None:
    from rich.markup import escape

    from pipeline.cli import shown

    found, columns = made.found, made.columns
    roles = [
        (role, " + ".join(names) if names else shown.NOTHING)
        for role, names in {
            "text": columns.text, "label": (columns.label,), "id": (columns.id,),
            "date": (columns.date,), "category": (columns.category,),
        }.items()
    ]  # fmt: skip
    rows = [(role, escape(printable(value)) or shown.NOTHING) for role, value in roles]
    rows += [
        ("rows", f"{found.rows:,}, of which {found.kept:,} have a text and a label"),
        ("words", f"{found.words[0]:,} per text (median), 95 % up to {found.words[1]:,}"),
        ("classes", f"{len(found.classes)}; always guessing the largest scores "
                    f"{found.majority:.3f}"),
    ]  # fmt: skip
    shown.console().print(shown.pairs("Found", rows))
    table = shown.table("", "class", "rows", "share", right=("rows", "share"))
    largest = sorted(found.classes.items(), key=lambda one: -one[1])
    for label, count in largest[:_MOST_CLASSES]:
        table.add_row(escape(printable(label)), f"{count:,}", f"{count / found.kept:.1%}")
    if len(largest) > _MOST_CLASSES:
        table.add_row(f"and {len(largest) - _MOST_CLASSES} more", "", "")
    shown.console().print(table)
    for note in made.notes:
        print(printable(f"note: {note}"))
    print(printable(f"Wrote {made.config.parent}: review {made.config.name} and schema.pbtxt"))
    print(printable(f"Train: arxiv-pipeline run --config {shlex.quote(str(made.config))}"))
