"""The commands of ``arxiv-pipeline`` and their groups.

Slow imports are inside the commands, since ``--help`` and completion wait for this module's.
"""

from __future__ import annotations

import sys

import typer

from components.errors import UserError, printable
from pipeline.cli import (
    corpus_import,
    gc,
    health,
    initialize,
    inputs,
    report,
    run,
    runs,
    serving,
    versions,
)
from pipeline.launch.exit_codes import USAGE

_PROGRAM = "arxiv-pipeline"

app = typer.Typer(
    name=_PROGRAM,
    help="From labelled texts, such as arXiv papers, to a gated and served classifier.",
    epilog="The configuration is one TOML file: the option --config of most commands, or else the "
    "environment variable ARXIV_PIPELINE_CONFIG, names it. Every command explains its options, "
    "exit codes and examples with --help. NO_COLOR=1 takes the colors away.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("run", epilog=run.EPILOG)(run.run)
app.add_typer(runs.app, name="runs")
app.add_typer(report.app, name="report")
app.add_typer(versions.app, name="versions")
app.command("serve", epilog=serving.SERVE_EPILOG)(serving.serve)
app.command("labels", epilog=serving.LABELS_EPILOG)(serving.labels)
app.command("doctor", epilog=health.EPILOG)(health.doctor)
app.command("gc", epilog=gc.EPILOG)(gc.gc)
app.command("init", epilog=initialize.EPILOG)(initialize.init)
app.command("import", epilog=corpus_import.EPILOG)(corpus_import.import_)
app.add_typer(inputs.glove_app, name="glove")
app.add_typer(inputs.sample_app, name="sample")


def main() -> None:
    """Runs the command line; an error that a user can mend becomes one line and exit code 2."""
    try:
        app(prog_name=None if sys.argv[0].endswith(_PROGRAM) else "python -m pipeline")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USAGE)
    except OSError as error:
        # Whatever a command reads or writes: a folder without permission, a name too long.
        place = f"{error.filename}: " if error.filename is not None else ""
        remedy = "; mend its permissions" if isinstance(error, PermissionError) else ""
        print(printable(f"error: {place}{error.strerror or error}{remedy}"), file=sys.stderr)
        sys.exit(USAGE)


if __name__ == "__main__":
    main()
