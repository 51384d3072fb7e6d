"""``arxiv-pipeline runs``: the outcomes of earlier runs."""

from __future__ import annotations

import itertools
import os
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.options import (
    AsJson,
    Config,
    FirstRun,
    OutputDir,
    RunId,
    SecondRun,
    locate,
)

if TYPE_CHECKING:
    from pipeline.runs.compare import Change
    from pipeline.runs.history import Run
    from pipeline.runs.verdict import Verdict

_EXIT_CODES = """\b
Exit codes:
  0  printed
  2  there are no such runs, or they cannot be read; one line says why
"""

app = typer.Typer(
    help="What earlier runs came to, out of ML Metadata.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(
    "list",
    epilog=_EXIT_CODES
    + """
\b
Examples:
  arxiv-pipeline runs list --config my.toml
  arxiv-pipeline runs list --output-dir var/sample --limit 0
  arxiv-pipeline runs list --json | jq '.[] | select(.blessed) | .id'
""",
)
def list_runs(
    config: Config = None,
    output_dir: OutputDir = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Runs; 0: all.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List runs, latest first.

    Shows each run's id (a unique prefix of it), age, duration and state, the test split's metrics,
    whether the model was blessed, and the version it was pushed as ("gone" if that version's folder
    does not exist any more).

    A run's state is running (it holds the lock), complete (every node has a result, blessed or
    not), failed (a node failed), stopped (by Ctrl-C or SIGTERM) or killed (it recorded no end,
    often because memory ran out).
    """
    history = locate(config, output_dir).history()
    found = history.latest(limit)
    from pipeline.cli import shown

    if as_json:
        shown.print_json([_summary(run) for run in found])
        return
    metrics = ("accuracy", "macro-F1", "log loss")
    head = ("run", "when", "took", "state", *metrics, "blessed", "pushed")
    table = shown.table("", *head, right=("took", *metrics))
    names = short_ids(history.ids)
    now = datetime.now().astimezone()
    for run in found:
        verdict = run.verdict
        table.add_row(
            names[run.id],
            f"{shown.duration(max(0.0, (now - run.started).total_seconds()))} ago",
            shown.duration(run.seconds),
            run.state.value,
            shown.number(verdict.accuracy),
            shown.number(verdict.macro_f1),
            shown.number(verdict.cross_entropy),
            _blessed(verdict.blessed),
            _pushed(verdict),
        )
    shown.show(table)
    if 0 < limit < len(history.ids):
        print(f"{limit} of {len(history.ids)} runs; --limit 0 shows all")


@app.command(
    "show",
    epilog=_EXIT_CODES
    + """
\b
Examples:
  arxiv-pipeline runs show latest
  arxiv-pipeline runs show 2026-11-22T17:2 --output-dir var/sample
  arxiv-pipeline runs show latest --json | jq .configuration
""",
)
def show_run(
    run_id: RunId = "latest",
    config: Config = None,
    output_dir: OutputDir = None,
    as_json: AsJson = False,
) -> None:
    """Show one run.

    Shows its state, command, log and commit; each node's outcome, seconds and outputs; the data's
    row counts; the metrics and the verdict. With --json also the whole configuration.
    """
    history = locate(config, output_dir).history()
    run = history.find(run_id)
    if as_json:
        from pipeline.cli import shown

        shown.print_json(_details(run))
    else:
        _show(run)


@app.command(
    "compare",
    epilog=_EXIT_CODES
    + """
\b
Examples:
  arxiv-pipeline runs compare 2026-11-21 latest
  arxiv-pipeline runs compare 2026-11-22T17:2 2026-11-22T18 --json
""",
)
def compare_runs(
    first: FirstRun,
    second: SecondRun,
    config: Config = None,
    output_dir: OutputDir = None,
    as_json: AsJson = False,
) -> None:
    """Compare two runs.

    Shows the configuration keys, sources and data that differ; every metric of the test split; and
    those of its slices, largest change first. Differences are B minus A.
    """
    history = locate(config, output_dir).history()
    from pipeline.cli import shown
    from pipeline.runs.compare import compare

    runs = [history.find(one) for one in (first, second)]
    compared = compare(*runs)
    if as_json:
        shown.print_json({"first": runs[0].id, "second": runs[1].id, **vars(compared)})
        return
    ids = [run.id for run in runs]
    names = [short_ids(ids)[one] for one in ids]
    if compared.configuration_known:
        _print_changes("Configuration", names, compared.configuration)
    else:
        print("Configuration: not known, since a run left no record of its own\n")
    _print_changes("Code", names, compared.code)
    _print_changes("Data", names, compared.data)
    _print_changes("Test split", names, compared.metrics, differences=True)
    _print_changes("Slices", names, compared.slices, differences=True)


def short_ids(ids: list[str]) -> dict[str, str]:
    """Returns {id: shortest unique prefix}, with whole seconds at least."""
    lengths = dict.fromkeys(ids, len("2026-11-22T17:20:54"))
    # In sorted order, the ids with the longest common prefix are adjacent.
    for pair in itertools.pairwise(sorted(lengths)):
        unique = len(os.path.commonprefix(pair)) + 1  # noqa: RUF071
        lengths |= {one: max(unique, lengths[one]) for one in pair}
    return {one: one[:length] for one, length in lengths.items()}


def _summary(run: Run) -> dict[str, Any]:
    failed_node, cause = run.failure or (None, None)
    verdict = run.verdict
    return {
        "id": run.id,
        "started": run.started,
        "seconds": round(run.seconds, 3),
        "state": run.state,
        **vars(verdict),
        "held_back": verdict.held_back or None,
        "served": verdict.pushed_to is not None and verdict.pushed_to.is_dir(),
        "failed_node": failed_node,
        "cause": cause,
    }


def _details(run: Run) -> dict[str, Any]:
    own = run.record
    return {
        **_summary(run),
        "command": own and own.command,
        "log": own and own.log_file,
        "commit": own and own.commit,
        "versions": own and own.versions,
        "configuration": own and own.configuration,
        "nodes": [
            {
                "node": status.node,
                "state": status.state,
                "seconds": status.seconds,
                "outputs": [
                    {"id": one.id, "type": one.type, "uri": one.uri} for one in status.put_out
                ],
            }
            for status in run.nodes
        ],
        "data": run.data,
        "metrics": run.evaluation,
        "report": run.report,
    }


def _show(run: Run) -> None:
    from pipeline.cli import shown
    from pipeline.runs.compare import overall_metrics

    own, verdict = run.record, run.verdict
    facts = [
        ("run", run.id),
        ("started", run.started.isoformat(" ", "seconds")),
        ("took", shown.duration(run.seconds)),
        ("state", run.state.value),
    ]
    if run.failure:
        facts.append(("failed", f"node {run.failure[0]}: {run.failure[1]}"))
    facts.append(("blessed", _blessed(verdict.blessed)))
    facts += [("", reason) for reason in verdict.reasons]
    facts += [("not servable", reason) for reason in verdict.infra_reasons]
    facts.append(("pushed", str(verdict.pushed_to or shown.NOTHING)))
    if verdict.held_back:
        facts.append(("", verdict.held_back))
    if own:
        commit = own.commit or shown.NOTHING
        facts += [("command", own.command), ("log", own.log_file), ("commit", commit)]
    facts.append(("report", str(run.report or shown.NOTHING)))
    shown.show(shown.pairs("", facts))

    nodes = shown.table("Nodes", "node", "outcome", "seconds", "put out", right=("seconds",))
    for status in run.nodes:
        seconds = shown.number(status.seconds if status.execution else None, 1)
        uris = "\n".join(artifact.uri for artifact in status.put_out)
        nodes.add_row(status.node, status.state.value, seconds, uris)
    shown.show(nodes)

    for title, values in (("Data", run.data), ("Test split", overall_metrics(run.evaluation))):
        if values:
            shown.show(shown.pairs(title, [(key, _cell(one)) for key, one in values.items()]))


def _print_changes(
    title: str,
    names: list[str],
    changes: tuple[Change, ...],
    *,
    differences: bool = False,
) -> None:
    from pipeline.cli import shown

    if not changes:
        print(f"{title}: {'no metrics' if differences else 'the same'}\n")
        return
    more = ["difference"] if differences else []
    right = [*names, *more] if differences else []
    table = shown.table(title, "", *names, *more, right=right)
    for change in changes:
        cells = [change.key, _cell(change.first), _cell(change.second)]
        if differences:
            signed = change.difference is not None
            cells.append(f"{change.difference:+.4g}" if signed else shown.NOTHING)
        table.add_row(*cells)
    shown.show(table)


def _cell(value: Any) -> str:
    from pipeline.cli import shown

    if value is None:
        return shown.NOTHING
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    # The first digits are enough to distinguish hashes.
    is_hash = len(text) >= 40 and all(character in "0123456789abcdef" for character in text)
    return text[:12] if is_hash else text


def _blessed(blessed: bool | None) -> str:
    return "-" if blessed is None else "yes" if blessed else "no"


def _pushed(verdict: Verdict) -> str:
    if verdict.pushed_to is None:
        return "-"
    return verdict.pushed_to.name + ("" if verdict.pushed_to.is_dir() else " (gone)")
