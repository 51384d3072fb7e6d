"""``arxiv-pipeline import``: a corpus from the files that people have."""

from __future__ import annotations

import shlex
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from components.errors import UserError, printable

if TYPE_CHECKING:
    from pipeline.corpora.row_source import Tally

EPILOG = """\b
Exit codes:
  0    the output is there, made now or before from the same file with the same options
  2    the file cannot be read, no row of it is left, or the output cannot be written
  130  stopped by Ctrl-C; the old output, if any, is unchanged

\b
Examples:
  arxiv-pipeline import arxiv-metadata-oai-snapshot.json --output papers.parquet
  arxiv-pipeline import archive.zip --output recent.parquet --from 2019-01-01 --limit 240000
  arxiv-pipeline import news.csv --output news.parquet --text title --text body --label topic
"""


def import_(
    source: Annotated[
        Path, typer.Argument(metavar="FILE", help="The dump, or a CSV or JSON-lines file.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Parquet file to write.")],
    text: Annotated[
        list[str], typer.Option(help="Column of text of a file of your own; may be repeated.")
    ] = [],  # noqa: B006
    label: Annotated[str, typer.Option(help="Its column of classes.")] = "",
    id_: Annotated[str, typer.Option("--id", help="Its column of ids, if it has one.")] = "",
    date_: Annotated[str, typer.Option("--date", help="Its column of dates, YYYY-MM-DD.")] = "",
    subjects: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Mapping of the dump's archives to subjects (TOML), instead of ours."),
    ] = None,
    first: Annotated[
        Optional[datetime],  # noqa: UP045
        typer.Option("--from", formats=["%Y-%m-%d"], help="Earliest date."),
    ] = None,
    last: Annotated[
        Optional[datetime],  # noqa: UP045
        typer.Option("--to", formats=["%Y-%m-%d"], help="Latest date."),
    ] = None,
    limit: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Rows of a sample that keeps the class shares."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws another sample.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
) -> None:
    """Make a parquet from arXiv's metadata dump, CSV or JSON lines.

    The dump has one JSON object a line (2.7 million papers, from Kaggle). The output has its
    columns, the primary category (the first of the categories) and the subject, by the reviewed
    mapping pipeline/corpora/arxiv_subjects.toml. Withdrawn papers, broken lines and all others that
    are left out are counted, by reason. Dates are those of update_date, as the pipeline uses it.

    With --text and --label, a CSV or JSON-lines file becomes a parquet with these columns, under
    their own names. The last line printed is the command that makes a configuration for it. Files
    may be plain, .gz, .xz or .zip.

    Memory hardly grows with the file. A stopped import starts again; a finished one is kept.
    """
    from rich.console import Console
    from rich.progress import Progress

    from components.contracts.columns import Columns
    from pipeline.corpora.paper_import import ImportRequest, run
    from pipeline.corpora.paper_rows import SUBJECTS_FILE

    own = bool(label)
    if own != bool(text) or ((id_ or date_) and not own):
        raise UserError("a file of your own needs --text and --label; --id and --date are optional")
    if own and (subjects or ((first or last) and not date_)):
        raise UserError("with --label, --from and --to need --date, and --subjects has no meaning")
    if first and last and first > last:
        raise UserError(f"--from {first:%Y-%m-%d} is after --to {last:%Y-%m-%d}")
    columns = None
    if own:
        columns = Columns.named(text=text, label=label, id=id_, date=date_, category="")
    request = ImportRequest(
        source, output, columns,
        subjects or SUBJECTS_FILE, first and first.date(), last and last.date(),
        limit, seed, overwrite,
    )  # fmt: skip
    console = Console(stderr=True)
    try:
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            size = source.stat().st_size if source.exists() else 0
            done = run(request, lambda raw: progress.wrap_file(raw, size, description="Importing"))
    except OSError as error:
        raise UserError(f"{error.filename or output}: {error.strerror or error}") from error
    if done is None:
        print(printable(f"{output}: is already there, from this file with these options"))
    else:
        _show(done, output)
    words = ["arxiv-pipeline", "init", str(output), "--output", str(output.with_suffix(""))]
    for option, names in (columns.by_role() if columns else {}).items():
        words += [word for name in names for word in (f"--{option}", name)]
    print(printable(f"Make a configuration: {shlex.join(words)}"))


def _show(done: Tally, output: Path) -> None:
    """Prints how rows in, rows out and rows left out add up."""
    from rich.markup import escape

    from pipeline.cli import shown

    table = shown.table("", "rows", "what", "first lines", right=("rows",))
    table.add_row(f"{done.rows:,}", "read", "")
    for reason, rows in done.left_out.items():
        lines = ", ".join(map(str, done.first_lines.get(reason, [])))
        table.add_row(f"- {rows:,}", f"left out: {reason}", lines)
    table.add_row(f"= {done.classes.total():,}", "imported", "")
    for name, rows in done.classes.most_common(30):
        table.add_row(f"{rows:,}", f"  {escape(printable(name))}", "")
    shown.console().print(table)
    classes = f"{len(done.classes):,} classes"
    print(printable(f"Imported {done.classes.total():,} rows of {classes}: {output}"))
