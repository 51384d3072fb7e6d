"""``arxiv-classify batch``: the command line of batch scoring."""

from pathlib import Path
from typing import Annotated

import typer

from components.contracts import features
from components.errors import printable

# The fastest of 64 to 1024, also for the model alone (benchmarks/batch.py).
BATCH_SIZE = 256
# What each worker keeps in memory, and at most loses if it is killed.
ROWS_PER_PART = 8192


def batch(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="Parquet file, folder, or glob in quotes.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the scored parts.")],
    model: Annotated[
        Path, typer.Option(help="A pushed version, or the push folder: its newest version.")
    ],
    id_column: Annotated[str, typer.Option(help="Column that names a row.")] = features.ID,
    text_column: Annotated[
        list[str] | None,
        typer.Option(
            help="Column of the texts, by default the model's; several are joined, as in training."
        ),
    ] = None,
    rows_per_part: Annotated[
        int, typer.Option(min=1, help="Most rows of an input in one part.")
    ] = ROWS_PER_PART,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Rows in one call of the model.")
    ] = BATCH_SIZE,
    threads: Annotated[
        int, typer.Option(min=0, help="Calls of the model at a time in a worker; 0: one a core.")
    ] = 0,
    restart: Annotated[
        bool, typer.Option("--restart", help="Remove what an earlier job left in OUT.")
    ] = False,
    beam_arg: Annotated[
        list[str] | None,
        typer.Option(help="A pipeline option of Beam, such as --runner=FlinkRunner; repeatable."),
    ] = None,
) -> None:
    """Score the texts of parquet files into parquet files.

    The same command resumes a killed run. Rows that cannot be scored are in OUT/_rejected with the
    reason; OUT/_SUCCESS holds the counts.

    Exit codes: 0 every row scored or rejected; 2 anything else, in one line; 130 Ctrl-C.
    """
    from pipeline import environment

    environment.prepare(quiet=True)
    from pipeline.client.batch.plan import Columns
    from pipeline.client.batch.run import run_batch

    try:
        counts = run_batch(
            source,
            out,
            model,
            columns=Columns(id_column, tuple(text_column or ())),
            rows_per_part=rows_per_part,
            batch_size=batch_size,
            threads=threads,
            restart=restart,
            beam_args=beam_arg or [],
            say=lambda line: typer.echo(line, err=True),
        )
    except KeyboardInterrupt:
        typer.echo("stopped; the same command resumes", err=True)
        raise typer.Exit(130) from None
    scored = f"{counts.scored:,} rows scored, {counts.rejected:,} rejected"
    typer.echo(printable(f"{scored}, in {counts.parts} parts in {out}"))
    for reason, rows in counts.reasons.items():
        typer.echo(f"  rejected: {reason}: {rows:,}")
