"""``arxiv-pipeline runs``: what earlier runs came to."""

from __future__ import annotations

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
    from rich.console import Console
    from rich.table import Table

    from pipeline.runs.compare import Change, Comparison
    from pipeline.runs.history import History, Run
    from pipeline.runs.status import Verdict

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
    """List runs, the latest first.

    Each with its id (as much of it as tells it from the others), when it started and how long it
    took, its state, the test split's figures, whether the model was blessed, and the version it was
    pushed as ("gone" where that is not served any more).

    \b
    State:
      running   it holds the lock
      complete  every node has a result; the model may still not have been blessed
      failed    a node failed
      stopped   by Ctrl-C or SIGTERM
      killed    it ended without a word, often for want of memory
    """
    history = locate(config, output_dir).history()
    found = history.latest(limit)
    if as_json:
        _print_json([_summary(run) for run in found])
        return
    from pipeline.cli import shown

    numbers = ("took", "accuracy", "macro-F1", "log loss")
    table = shown.table(
        "", "run", "when", "took", "state", *numbers[1:], "blessed", "pushed", right=numbers
    )
    names = short_ids(history.ids)
    now = datetime.now().astimezone()
    for run in found:
        verdict = run.verdict
        table.add_row(
            names[run.id],
            f"{shown.duration(max(0.0, (now - run.started).total_seconds()))} ago",
            shown.duration(run.seconds),
            run.state.value,
            shown.figure(verdict.accuracy),
            shown.figure(verdict.macro_f1),
            shown.figure(verdict.cross_entropy),
            _blessed(verdict.blessed),
            _pushed(verdict),
        )
    shown.console().print(table)
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

    Its state, command, log and code; each node with its outcome, seconds and what it put out; the
    data's counts; the metrics and the verdict. With --json also the whole configuration.
    """
    history = locate(config, output_dir).history()
    run = history.find(run_id)
    if as_json:
        _print_json(_details(history, run))
    else:
        _show(history, run)


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
    """Set two runs side by side.

    The configuration keys, sources and data that differ; every figure of the test split; and its
    slices, those that changed most first. Differences are B minus A.
    """
    history = locate(config, output_dir).history()
    from pipeline.runs import compare

    runs = (history.find(first), history.find(second))
    compared = compare.compare(history, *runs)
    if as_json:
        named = {"first": runs[0].id, "second": runs[1].id}
        _print_json({**named, **_comparison(compared)})
    else:
        _show_comparison(compared, *runs)


def short_ids(ids: list[str]) -> dict[str, str]:
    """Returns {id: head of it that no other id has}, whole seconds where these suffice."""
    shortest = len("2026-11-22T17:20:54")
    ordered = sorted(ids)
    short = {}
    for index, one in enumerate(ordered):
        # The ids that share most with one are its neighbours.
        near = [ordered[i] for i in (index - 1, index + 1) if 0 <= i < len(ordered)]
        length = shortest
        while length < len(one) and any(other[:length] == one[:length] for other in near):
            length += 1
        short[one] = one[:length]
    return {one: short[one] for one in ids}


def _summary(run: Run) -> dict[str, Any]:
    failure = run.failure
    verdict = run.verdict
    return {
        "id": run.id,
        "started": run.started,
        "seconds": round(run.seconds, 3),
        "state": run.state,
        "accuracy": verdict.accuracy,
        "macro_f1": verdict.macro_f1,
        "cross_entropy": verdict.cross_entropy,
        "blessed": verdict.blessed,
        "pushed_to": verdict.pushed_to,
        "served": verdict.pushed_to is not None and verdict.pushed_to.is_dir(),
        "failed_node": failure[0] if failure else None,
        "cause": failure[1] if failure else None,
    }


def _details(history: History, run: Run) -> dict[str, Any]:
    own = run.record
    nodes = [
        {
            "node": status.node,
            "state": status.state,
            "seconds": status.seconds,
            "outputs": [
                {"id": artifact.id, "type": artifact.type, "uri": artifact.uri}
                for artifact in history.put_out(run, status)
            ],
        }
        for status in run.nodes
    ]
    return {
        **_summary(run),
        "reasons": run.verdict.reasons,
        "infra_blessed": run.verdict.infra_blessed,
        "infra_reasons": run.verdict.infra_reasons,
        "held_back": run.verdict.held_back or None,
        "command": own.command if own else None,
        "log": own.log_file if own else None,
        "commit": own.commit if own else None,
        "versions": own.versions if own else None,
        "configuration": own.configuration if own else None,
        "nodes": nodes,
        "data": history.data(run),
        "metrics": history.metrics(run),
        "report": history.report(run),
    }


def _comparison(compared: Comparison) -> dict[str, Any]:
    def plain(changes: tuple[Change, ...]) -> list[dict[str, Any]]:
        return [
            {
                "key": change.key,
                "first": change.before,
                "second": change.after,
                "difference": change.difference,
            }
            for change in changes
        ]

    return {
        "configuration_known": compared.configuration_known,
        "configuration": plain(compared.configuration),
        "code": plain(compared.code),
        "data": plain(compared.data),
        "metrics": plain(compared.metrics),
        "slices": plain(compared.slices),
    }


def _show(history: History, run: Run) -> None:
    from pipeline.cli import shown

    console = shown.console()
    own = run.record
    facts = shown.table("", "", "")
    facts.show_header = False
    facts.add_row("run", run.id)
    facts.add_row("started", run.started.isoformat(sep=" ", timespec="seconds"))
    facts.add_row("took", shown.duration(run.seconds))
    facts.add_row("state", run.state.value)
    if run.failure:
        facts.add_row("failed", f"node {run.failure[0]}: {run.failure[1]}")
    facts.add_row("blessed", _blessed(run.verdict.blessed))
    for reason in run.verdict.reasons:
        facts.add_row("", reason)
    for reason in run.verdict.infra_reasons:
        facts.add_row("not servable", reason)
    facts.add_row("pushed", str(run.verdict.pushed_to or shown.NOTHING))
    if run.verdict.held_back:
        facts.add_row("", run.verdict.held_back)
    if own:
        facts.add_row("command", own.command)
        facts.add_row("log", own.log_file)
        facts.add_row("commit", own.commit or shown.NOTHING)
    facts.add_row("report", str(history.report(run) or shown.NOTHING))
    console.print(facts)

    nodes = shown.table("Nodes", "node", "outcome", "seconds", "put out", right=("seconds",))
    for status in run.nodes:
        put_out = history.put_out(run, status)
        seconds = shown.figure(status.seconds, 1) if status.execution_id else shown.NOTHING
        uris = "\n".join(artifact.uri for artifact in put_out)
        nodes.add_row(status.node, status.state.value, seconds, uris)
    console.print(nodes)

    _print_values(console, "Data", history.data(run))
    from pipeline.runs.compare import overall_figures

    _print_values(console, "Test split", overall_figures(history.metrics(run)))


def _print_values(console: Console, title: str, values: dict[str, Any]) -> None:
    from pipeline.cli import shown

    if not values:
        return
    table = shown.table(title, "", "")
    table.show_header = False
    for name, value in values.items():
        table.add_row(name, _cell(value))
    console.print(table)


def _show_comparison(compared: Comparison, first: Run, second: Run) -> None:
    from pipeline.cli import shown

    console = shown.console()
    heads = short_ids([first.id, second.id])
    names = (heads[first.id], heads[second.id])
    if compared.configuration_known:
        _print_changes(console, "Configuration", names, compared.configuration)
    else:
        print("Configuration: not known, since a run left no record of its own\n")
    _print_changes(console, "Code", names, compared.code)
    _print_changes(console, "Data", names, compared.data)
    _print_changes(console, "Test split", names, compared.metrics, differences=True)
    _print_changes(console, "Slices", names, compared.slices, differences=True)


def _print_changes(
    console: Console,
    title: str,
    names: tuple[str, str],
    changes: tuple[Change, ...],
    *,
    differences: bool = False,
) -> None:
    if not changes:
        print(f"{title}: {'no figures' if differences else 'the same'}\n")
        return
    console.print(_change_table(title, names, changes, differences))


def _change_table(
    title: str, names: tuple[str, str], changes: tuple[Change, ...], differences: bool
) -> Table:
    from pipeline.cli import shown

    if not differences:
        table = shown.table(title, "", *names)
        for change in changes:
            table.add_row(change.key, _cell(change.before), _cell(change.after))
        return table
    table = shown.table(title, "", *names, "difference", right=(*names, "difference"))
    for change in changes:
        difference = change.difference
        signed = shown.NOTHING if difference is None else f"{difference:+.4g}"
        table.add_row(change.key, _cell(change.before), _cell(change.after), signed)
    return table


def _cell(value: Any) -> str:
    from pipeline.cli import shown

    if value is None:
        return shown.NOTHING
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    # A hash is told from another by its head.
    is_hash = len(text) >= 40 and all(character in "0123456789abcdef" for character in text)
    return text[:12] if is_hash else text


def _blessed(blessed: bool | None) -> str:
    return "-" if blessed is None else "yes" if blessed else "no"


def _pushed(verdict: Verdict) -> str:
    if verdict.pushed_to is None:
        return "-"
    return verdict.pushed_to.name + ("" if verdict.pushed_to.is_dir() else " (gone)")


def _print_json(value: Any) -> None:
    from pipeline.cli import shown

    shown.print_json(value)
