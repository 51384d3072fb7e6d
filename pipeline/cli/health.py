"""``arxiv-pipeline doctor``."""

from __future__ import annotations

import typer

from pipeline.cli.options import AsJson, Config

EPILOG = """\b
Exit codes:
  0  nothing is broken; there may be warnings
  1  something is broken: a run would fail

\b
Examples:
  arxiv-pipeline doctor --config my.toml
  arxiv-pipeline doctor --json | jq '.[] | select(.health == "broken")'
"""


def doctor(config: Config = None, as_json: AsJson = False) -> None:
    """Check for what would stop a run, and say how to fix it.

    Checks Python; the installed packages against the pins and the lock file; the GPU; the
    configuration; free disk space; that the temporary, output and serving folders can be written;
    whose the serving folder is, and its versions against their manifests; the first row of the
    GloVe file; the parquet files' columns, row groups and labels; the schema and the checks on
    statistics. Also says whether TF Serving is available, which a run does not need. It takes
    seconds, changes nothing, and does not start TensorFlow.
    """
    from components.errors import UserError
    from pipeline import doctor as checks
    from pipeline.cli import shown
    from pipeline.config.pipeline_config import load_config

    loaded, mistake = None, ""
    try:
        loaded = load_config(config)
    except UserError as error:
        mistake = str(error)
    findings = list(checks.examine(loaded, mistake))
    if as_json:
        shown.print_json(findings)
    else:
        table = shown.table("", "", "", "")
        table.show_header = False
        for found in findings:
            text = f"{found.text}\nfix: {found.fix}" if found.fix else found.text
            table.add_row(found.health.value, found.subject, text)
        shown.show(table)
    if any(found.health is checks.Health.BROKEN for found in findings):
        raise typer.Exit(1)
