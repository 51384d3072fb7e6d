"""``arxiv-pipeline gc``."""

from __future__ import annotations

import sys
from typing import Annotated, Optional

import typer

from pipeline.cli.options import AsJson, Config, OutputDir, locate
from pipeline.launch.exit_codes import LOCK_BUSY

EPILOG = """\b
Exit codes:
  0  done, or said what would be
  2  the folder cannot be read or changed; one line says why
  4  a run is going on

\b
Examples:
  arxiv-pipeline gc --config my.toml                 (says what would go)
  arxiv-pipeline gc --config my.toml --keep 2 --yes
  arxiv-pipeline gc --config my.toml --keep 2 --keep-blessed 3
"""


def gc(
    config: Config = None,
    output_dir: OutputDir = None,
    keep: Annotated[
        int, typer.Option(min=1, help="Complete runs that keep everything, from the latest.")
    ] = 5,
    keep_blessed: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=1, help="Blessed models that stay, from the latest, however old; by default all."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove, do not only say what.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what earlier runs left behind; a dry run without --yes.

    It removes artifacts of runs before the last --keep complete ones, folders that belong to no
    artifact, scratch folders of finished nodes, and records of runs that ML Metadata does not have.
    In ML Metadata, artifacts without a folder are marked as deleted, and unfinished executions of
    killed runs as canceled.

    It always keeps every model that is served or was pushed last and every blessed model (with
    --keep-blessed only the last ones), with their verdicts, reports and all that they were made
    from; the serving folder; checkpoints; and logs. The rows of removed artifacts stay in ML
    Metadata, so listings still show the metrics.

    It does not wait for a run: while one holds the lock, it does nothing.
    """
    place = locate(config, output_dir)
    from rich.filesize import decimal

    from components.metadata_store import MetadataStore
    from pipeline.cli import shown
    from pipeline.runs import garbage, lock

    place.history()  # raises before a lock file is created in a folder without runs
    try:
        with lock.exclusive(place.folder, 0.0, print):
            plan = garbage.plan(place.history(), place.folder, keep, keep_blessed)
            if yes:
                store = MetadataStore(place.folder.metadata_file, write=True)
                store.cancel_unfinished()
                garbage.carry_out(plan, store)
    except lock.LockBusyError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(LOCK_BUSY) from None
    if as_json:
        shown.print_json({"removed": yes, "bytes": plan.size, **vars(plan)})
        return
    if plan.removals:
        table = shown.table("", "size", "why", "path", right=("size",))
        scratch = [one for one in plan.removals if one.why == garbage.SCRATCH]
        for removal in plan.removals:
            if removal.why != garbage.SCRATCH:
                table.add_row(decimal(removal.size), removal.why, str(removal.path))
        if scratch:
            where = f"{len(scratch)} of them under {place.folder.pipeline_root}"
            table.add_row(decimal(sum(one.size for one in scratch)), garbage.SCRATCH, where)
        shown.show(table)
    verb = "Removed" if yes else "Would remove"
    count = f"{len(plan.removals)} folders and files, {decimal(plan.size)}"
    print(f"{verb} {count}; {len(plan.kept)} artifacts stay")
    if plan.gone:
        print(f"{len(plan.gone)} artifacts without a folder{' marked as deleted' if yes else ''}")
    if plan.unfinished:
        print(f"{plan.unfinished} unfinished executions{' marked as canceled' if yes else ''}")
    if not yes and (plan.removals or plan.gone or plan.unfinished):
        print("Nothing was changed; --yes does it")
