"""``arxiv-pipeline report``."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from components.errors import UserError
from pipeline.cli.options import Config, OutputDir, RunId, locate

app = typer.Typer(help="The page of a run.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """The page of a run."""


@app.command(
    "open",
    epilog="""\b
Exit codes:
  0  opened, or its path printed
  1  no browser could be started; the path is printed all the same
  2  there is no such run, or it has no report; one line says why

\b
Examples:
  arxiv-pipeline report open
  arxiv-pipeline report open 2026-11-22T17:2 --output-dir var/sample
  cp "$(arxiv-pipeline report open --path)" report.html
""",
)
def open_report(
    run_id: RunId = "latest",
    config: Config = None,
    output_dir: OutputDir = None,
    path: Annotated[bool, typer.Option("--path", help="Only print where the page is.")] = False,
) -> None:
    """Open a run's report in the browser.

    By default, the report of the latest run that has one.
    """
    history = locate(config, output_dir).history()
    from pipeline.runs.history import LATEST

    if run_id == LATEST and history.ids:
        page = history.latest_report()
    else:
        page = history.find(run_id).report
    if page is None:
        which = "no run" if run_id == LATEST else f"run {run_id}"
        verb = "has a report" if run_id == LATEST else "has no report"
        raise UserError(f"{which} {verb}; `runs show` says what became of the node RunReport")
    print(os.fspath(page))
    if path:
        return
    import webbrowser

    if not webbrowser.open(page.absolute().as_uri()):
        print("error: no browser could be started; open that file by hand", file=sys.stderr)
        raise typer.Exit(1)
