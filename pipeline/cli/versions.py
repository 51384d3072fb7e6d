"""``arxiv-pipeline versions``: pushed and served versions."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Optional

import typer

from pipeline.cli.options import AsJson, Config, OutputDir, locate

_EXIT_CODES = """\b
Exit codes:
  0  done
  2  there is no such folder, or it cannot be changed; one line says why
"""

app = typer.Typer(
    help="Pushed versions of the model: what TF Serving loads.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(
    "list",
    epilog=_EXIT_CODES
    + """
\b
Examples:
  arxiv-pipeline versions list
  arxiv-pipeline versions list --output-dir var/sample --json
""",
)
def list_all(config: Config = None, output_dir: OutputDir = None, as_json: AsJson = False) -> None:
    """List the versions in the serving folder, oldest first.

    Includes those that were rolled back; TF Serving serves the highest of the others.
    """
    folder = locate(config, output_dir).serving_dir
    from components.pushing.versions import list_versions, rolled_back_versions
    from pipeline.cli import shown

    numbers, rejected = list_versions(folder), rolled_back_versions(folder)
    served = numbers[-1] if numbers else None
    states = {number: "served" if number == served else "" for number in numbers}
    states |= dict.fromkeys(rejected, "rolled back")
    if as_json:
        versions = [
            {
                "version": number,
                "path": folder / str(number),
                "served": number == served,
                "rolled_back": number in rejected,
            }
            for number in sorted(states)
        ]
        shown.print_json(versions)
        return
    table = shown.table(str(folder), "version", "pushed", "")
    for number in sorted(states):
        table.add_row(str(number), _pushed_at(number), states[number])
    shown.show(table)


@app.command(
    "rollback",
    epilog=_EXIT_CODES
    + """
\b
Examples:
  arxiv-pipeline versions rollback --config my.toml
""",
)
def roll_back(config: Config = None, output_dir: OutputDir = None) -> None:
    """Roll back to the version before the latest."""
    folder = locate(config, output_dir).serving_dir
    from components.pushing import versions

    now_served = versions.rollback(folder)
    print(f"Served now: version {now_served.version} in {now_served.path}")


@app.command(
    "prune",
    epilog=_EXIT_CODES
    + """
\b
Examples:
  arxiv-pipeline versions prune --keep 3             (says what would go)
  arxiv-pipeline versions prune --keep 3 --yes
  arxiv-pipeline versions prune --models-config models.config --yes
""",
)
def prune(
    config: Config = None,
    output_dir: OutputDir = None,
    keep: Annotated[int, typer.Option(min=1, help="How many of the latest versions stay.")] = 3,
    in_use: Annotated[
        Optional[list[int]],  # noqa: UP045
        typer.Option(help="A version that stays, such as one with a label; may be repeated."),
    ] = None,
    models_config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A server's models.config: the versions that it names stay."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove, do not only say what.")] = False,
) -> None:
    """Remove old versions of the model; a dry run without --yes.

    The latest version always stays: without labels, it is the one served. With labels, name the
    server's file with --models-config, or the versions with --in-use.
    """
    folder = locate(config, output_dir).serving_dir
    from components.pushing import versions

    stay = set(in_use or ())
    if models_config is not None:
        from pipeline.serving.labels import named_versions

        stay |= named_versions(models_config)
    removed: list[Path] = versions.prune(folder, keep, dry_run=not yes, in_use=tuple(sorted(stay)))
    for path in removed:
        print(f"{'removed' if yes else 'would remove'} {path}")
    if not removed:
        print(f"nothing to remove: {folder} holds no more than {keep}")
    elif not yes:
        print("Nothing was changed; --yes removes them")


def _pushed_at(version: int) -> str:
    """Formats a version's time: a Unix time, or one more if two pushes fell into a second."""
    try:
        return datetime.fromtimestamp(version).astimezone().isoformat(" ", "seconds")
    except (OverflowError, ValueError, OSError):
        return "-"
