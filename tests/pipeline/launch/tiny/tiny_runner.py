"""Runs a pipeline of trivial components; also a runner for the TFX CLI.

Usage: TINY_DIR=<folder> python tiny_runner.py [word ...]. The graphs "chain", "hungry", "judged"
and "served" are run once each, in turn; "trap=<order>" changes what the nodes do from there on.
Without a word, as the TFX CLI calls it, it is "chain".
"""

import functools
import logging
import os
import sys
from pathlib import Path

from pipeline import environment
from pipeline.config.pipeline_config import PipelineConfig, RunSettings
from pipeline.launch import early_stop, pipeline_run


def tiny_config() -> PipelineConfig:
    """Returns a configuration that writes under TINY_DIR."""
    run = RunSettings(
        name="tiny",
        output_dir=os.environ["TINY_DIR"],
        serving_dir=os.environ.get("TINY_SERVING"),
        lock_wait_seconds=float(os.environ.get("TINY_WAIT", "0")),
    )
    return PipelineConfig.model_construct(run=run)  # type: ignore[call-arg]


def build(config: PipelineConfig, graph: str):
    """Returns the pipeline of one graph."""
    sys.path.insert(0, str(Path(__file__).parent))
    import tiny_nodes as nodes
    from tfx.dsl.components.common.resolver import Resolver
    from tfx.dsl.input_resolution.strategies.latest_artifact_strategy import LatestArtifactStrategy
    from tfx.orchestration.metadata import sqlite_metadata_connection_config
    from tfx.orchestration.pipeline import Pipeline
    from tfx.types import Channel

    trap = str(config.folder.path / "trap")
    first = nodes.First(text="hello")
    second = nodes.Second(trap=trap, note=first.outputs["note"])
    third = nodes.Third(note=second.outputs["copy"])
    members = [first, second, third]
    if graph == "hungry":
        resolver = Resolver(strategy_class=LatestArtifactStrategy, note=Channel(type=nodes.Never))
        members += [resolver, nodes.Hungry(note=resolver.outputs["note"])]
    if graph in ("judged", "served"):
        judge = nodes.Evaluator(trap=trap, note=third.outputs["copy"])
        members += [judge, nodes.EvaluationSummary(blessing=judge.outputs["blessing"])]
    if graph == "served":
        members.append(nodes.InfraValidator(trap=trap, note=first.outputs["note"]))
        members.append(nodes.Pusher(trap=trap, note=members[-1].outputs["blessing"]))
        members.append(nodes.RunReport(trap=trap, note=members[-1].outputs["pushed"]))
    return Pipeline(
        pipeline_name=config.name,
        pipeline_root=str(config.folder.pipeline_root),
        metadata_connection_config=sqlite_metadata_connection_config(
            str(config.folder.metadata_file)
        ),
        components=members,
        enable_cache=True,
    )


def main() -> int:
    """Runs the graphs named on the command line; returns the last exit code."""
    resume = os.environ.get(early_stop.COMMAND_VARIABLE)
    if resume:
        early_stop.end_at_once(resume)
    environment.prepare(quiet=True)
    if len(sys.argv) > 2:
        # Each run forks this process: what it has imported, none of them has to.
        logging.disable(logging.WARNING)
        import tfx.orchestration.local.local_dag_runner  # noqa: F401

        logging.disable(logging.NOTSET)
    code = 0
    for word in sys.argv[1:] or ["chain"]:
        config = tiny_config()
        if word.startswith("trap="):
            (config.folder.path / "trap").write_text(word.removeprefix("trap="))
            continue
        command = "RESUME" if sys.argv[1:] else resume
        code = pipeline_run.run(config, build=functools.partial(build, graph=word), command=command)
        if sys.argv[1:]:
            print(f"exit code {code}", flush=True)
    return code


if __name__ == "__main__":
    pipeline_run.leave(main())
