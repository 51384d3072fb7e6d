"""``arxiv-pipeline versions``: pushed and served versions."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Annotated, Optional

import typer

from components.contracts.artifact_files import EXTRA_ASSETS, GOLDEN_PREDICTIONS, MANIFEST
from components.errors import printable
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
    epilog=_EXIT_CODES.replace("2  there", "1  --verify found a damaged version\n  2  there")
    + """
\b
Examples:
  arxiv-pipeline versions list
  arxiv-pipeline versions list --output-dir var/sample --json
  arxiv-pipeline versions list --output-dir var/sample --verify
""",
)
def list_all(
    config: Config = None,
    output_dir: OutputDir = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Compare every file with the manifest, and replay golden predictions."
        ),
    ] = False,
    max_score_difference: Annotated[
        float, typer.Option(min=0, help="With --verify: largest difference of a score.")
    ] = 1e-5,
    as_json: AsJson = False,
) -> None:
    """List the versions in the serving folder, oldest first.

    Says which pipeline owns the folder. Includes versions that were rolled back; TF Serving serves
    the highest of the others. What cannot be loaded is marked, from its files' sizes and without
    loading it.
    """
    folder = locate(config, output_dir).serving_dir
    from components.pushing.owner import owner_of
    from components.pushing.versions import ROLLED_BACK_PREFIX, numbered
    from components.scoring.saved_model import defect
    from pipeline.cli import shown

    owner = owner_of(folder)
    present, rejected = numbered(folder), numbered(folder, ROLLED_BACK_PREFIX)
    defects = {number: defect(path, contents=False) for number, path in present.items()}
    served = max((number for number in present if not defects[number]), default=None)
    notes: dict[int, list[str]] = {number: ["rolled back"] for number in rejected}
    for number, path in present.items():
        said = notes.setdefault(number, [])
        said += ["served"] if number == served else []
        if defects[number]:
            said.append(f"cannot be loaded: {defects[number]}")
            continue
        said += [] if (path / MANIFEST).is_file() else ["no manifest"]
        if verify:
            defects[number], replayed = _damage(path, max_score_difference)
            said.append(f"DAMAGED: {defects[number]}" if defects[number] else replayed)
    if as_json:
        versions = [
            {
                "version": number,
                "path": printable(str(present.get(number, folder / str(number)))),
                "served": number == served,
                "rolled_back": number in rejected,
                "defect": defects.get(number, ""),
                "owner": owner and owner.pipeline,
            }
            for number in sorted(notes)
        ]
        shown.print_json(versions)
    else:
        table = shown.table(printable(str(folder)), "version", "pushed", "")
        for number in sorted(notes):
            table.add_row(str(number), _pushed_at(number), printable("; ".join(notes[number])))
        shown.show(table)
        _say(
            f"The folder belongs to the {owner}"
            if owner
            else "No pipeline owns the folder yet; the next push takes it"
        )
    if verify and any(defects.values()):
        raise typer.Exit(1)


def _damage(version: Path, bound: float) -> tuple[str, str]:
    """Returns how a version differs from what was pushed, empty if not, and what was compared."""
    from components.scoring.saved_model import defect

    problem = defect(version, contents=True)
    if problem or not (version / EXTRA_ASSETS / GOLDEN_PREDICTIONS).is_file():
        return problem, "verified, without golden predictions"
    from pipeline import environment

    environment.prepare(quiet=True)
    # As in the check before the push: scores of a GPU differ in the last bits.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    from components.infra_validation.probe import golden_defect

    return golden_defect(version, bound), "verified"


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
    """Roll back to the version before the latest.

    Copies of the same model directly below it are rolled back, too, and so are versions that cannot
    be loaded.
    """
    place = locate(config, output_dir)
    from components.pushing import versions

    now_served = versions.rollback(place.serving_dir, owner=place.owner, say=_say)
    _say(f"Served now: version {now_served.version} in {now_served.path}")


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

    The latest version that can be loaded always stays: without labels, it is the one served.
    Versions that cannot be loaded are named; they stay and do not count. With labels, name the
    server's file with --models-config, or the versions with --in-use.
    """
    place = locate(config, output_dir)
    from components.pushing import versions

    stay = set(in_use or ())
    if models_config is not None:
        from pipeline.serving.labels import named_versions

        stay |= named_versions(models_config, place.model_name)
    removed: list[Path] = versions.prune(
        place.serving_dir,
        keep,
        dry_run=not yes,
        in_use=tuple(sorted(stay)),
        owner=place.owner,
        say=_say,
    )
    for path in removed:
        _say(f"{'removed' if yes else 'would remove'} {path}")
    if not removed:
        _say(f"nothing to remove: {place.serving_dir} holds no more than {keep}")
    elif not yes:
        print("Nothing was changed; --yes removes them")


def _say(line: str) -> None:
    print(printable(line))


def _pushed_at(version: int) -> str:
    """Formats a version's time: a Unix time, or one more if two pushes fell into a second."""
    try:
        return datetime.fromtimestamp(version).astimezone().isoformat(" ", "seconds")
    except (OverflowError, ValueError, OSError):
        return "-"
