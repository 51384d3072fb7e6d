"""Runs the pipeline once, reports its progress, and reads its outcome from ML Metadata."""

import contextlib
import functools
import logging
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

from rich.table import Table

from components.contracts import node_ids
from components.errors import UserError
from components.metadata_store import MetadataStore
from components.pushing.owner import check_owner
from components.pushing.versions import list_versions, make_folder
from pipeline import environment
from pipeline.config.pipeline_config import PipelineConfig
from pipeline.launch import display, early_stop, supervisor, terminal
from pipeline.launch.exit_codes import COMPLETE, LOCK_BUSY, NODE_FAILED, NOT_BLESSED, USAGE
from pipeline.launch.progress import ProgressHandler, rows_read
from pipeline.launch.terminal import Terminal
from pipeline.runs import causes, lock, record
from pipeline.runs.history import History, Run
from pipeline.runs.record import RunRecord
from pipeline.runs.verdict import Verdict

PipelineBuilder = Callable[[PipelineConfig], Any]

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Launch:
    """The constants of one run; ``command`` resumes it, the process ``pid`` holds the lock."""

    config: PipelineConfig
    build: PipelineBuilder
    command: str
    screen: Terminal
    log_file: Path
    run_id: str
    pid: int

    def say_failure(self, what: str, cause: BaseException | str) -> None:
        """Reports what failed, why, and how to resume."""
        line = cause if isinstance(cause, str) else causes.one_line(cause)
        self.screen.warn(f"FAILED: {what}: {line}")
        self.screen.warn(f"Log: {self.log_file}")
        self.screen.warn(f"Resume (finished nodes are cached): {self.command}")

    def say_stop(self, number: signal.Signals) -> None:
        """Reports a stop and how to resume; nothing is reported after that."""
        self.screen.warn(
            f"Stopped by {number.name}; finished nodes are kept. "
            f"Resume with: {self.command}  Log: {self.log_file}"
        )
        self.screen.muted = True

    def write_stop(self, number: signal.Signals) -> None:
        """Writes the run's record, if it has begun one, as that of a stopped run."""
        own = record.read(self.config.folder, self.run_id)
        if own is not None:
            self.write(own.ended(128 + number))

    def write(self, own: RunRecord) -> None:
        """Writes the run's record; a failure to do so is only logged."""
        try:
            record.write(self.config.folder, own)
        except OSError:
            _LOGGER.exception("the run's record could not be written")


def run(
    config: PipelineConfig, *, build: PipelineBuilder | None = None, command: str | None = None
) -> int:
    """Runs the pipeline once; this process, in which signals are then held back, should end next.

    Within the TFX CLI's ``pipeline create``, which replaces the runner by one that only reads the
    pipeline, it hands over the pipeline and does nothing else.

    Args:
        build: makes the TFX pipeline; ``pipeline.graph.create_pipeline`` if None.
        command: the command that resumes the run; ``python -m pipeline run`` if None.

    Returns:
        The exit code: 0 all nodes complete or cached and the model blessed; 1 a node failed; 2 the
        configuration cannot be used; 3 complete, but nothing was pushed: not blessed by the
        Evaluator, not servable, or rolled back before; 4 another run held the lock; 128 plus the
        signal's number if a signal ended the run.
    """
    build = build or _graph
    if _cli_reads_pipeline():
        _runner().run(build(config))
        return COMPLETE
    command = command or f"{shlex.quote(sys.executable)} -m pipeline run"
    early_stop.end_at_once(command)
    return _locked_run(config, build, command)


def check_serving_dir(config: PipelineConfig) -> None:
    """Checks that a model can be pushed, hours before one is; creates the folder.

    Raises:
        UserError: the folder cannot be created or written to, or is another pipeline's.
    """
    try:
        make_folder(config.serving_dir)
        with tempfile.TemporaryFile(dir=config.serving_dir):
            pass
    except OSError as error:
        raise UserError(
            f"run.serving_dir = {config.serving_dir}: cannot be written to: {error.strerror}; "
            "name a folder where models can be put"
        ) from error
    check_owner(config.serving_dir, config.run.owner)


def leave(exit_code: int) -> NoReturn:
    """Exits at once: no signal counts any more, and native libraries print nothing at shutdown.

    Within the TFX CLI's ``pipeline create`` it only raises SystemExit, since the process is the
    CLI's.
    """
    if _cli_reads_pipeline():
        sys.exit(exit_code)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(exit_code)


def _graph(config: PipelineConfig) -> Any:
    # TFX takes seconds to import, and a configuration error must not wait for it.
    from pipeline.graph import create_pipeline

    return create_pipeline(config)


def _runner() -> Any:
    from pipeline.launch.checked_runner import CheckedRunner

    return CheckedRunner()


def _cli_reads_pipeline() -> bool:
    """Returns True within ``tfx pipeline create`` or ``update``: both wrap LocalDagRunner.run."""
    module = sys.modules.get("tfx.orchestration.local.local_dag_runner")
    return module is not None and hasattr(module.LocalDagRunner.run, "__wrapped__")


def _locked_run(config: PipelineConfig, build: PipelineBuilder, command: str) -> int:
    folder = config.folder
    began = datetime.now(timezone.utc).replace(tzinfo=None)
    log_file = folder.log_dir / f"{began:%Y%m%d-%H%M%S}-{os.getpid()}.log"
    with contextlib.ExitStack() as stack:
        try:
            screen = stack.enter_context(terminal.captured(log_file))
        except OSError as error:
            print(f"error: cannot write to {log_file.parent}: {error.strerror}", file=sys.stderr)
            return USAGE
        # The format of TFX's own run ids, in UTC: a local time may repeat or go back.
        run_id = began.isoformat(timespec="microseconds")
        launch = _Launch(config, build, command, screen, log_file, run_id, os.getpid())
        try:
            environment.temporary_folder()
            check_serving_dir(config)
            wait = config.run.lock_wait_seconds
            stack.enter_context(lock.exclusive(folder, wait, screen.say))
        except UserError as error:
            screen.warn(f"error: {error}")
            return LOCK_BUSY if isinstance(error, lock.LockBusyError) else USAGE
        except OSError as error:
            screen.warn(f"error: cannot write to {folder.path}: {error.strerror}")
            return USAGE
        supervisor.hold_signals()
        work = functools.partial(_run_or_say_why, launch)
        ending = supervisor.supervise(work, launch.say_stop, launch.write_stop)
        return _settle(launch, ending)


def _settle(launch: _Launch, ending: supervisor.Ending) -> int:
    """Records what ended the run's process, unless it has done so itself; returns the exit code."""
    stopped = ending.stopped_by or supervisor.late_stop()
    if ending.code is None:
        # The process may have been killed in the middle of a node.
        with contextlib.suppress(Exception):
            MetadataStore(launch.config.folder.metadata_file, write=True).cancel_unfinished()
    if stopped is not None:
        launch.write_stop(stopped)
        if not ending.said:
            launch.say_stop(stopped)
        return 128 + stopped
    if ending.killed_by is not None:
        why = f"its process was killed by {ending.killed_by.name}"
        if ending.killed_by is signal.SIGKILL:
            why += ", often for want of memory"
        launch.say_failure("the run", why)
        return NODE_FAILED
    return NODE_FAILED if ending.code is None else ending.code


def _run_or_say_why(launch: _Launch) -> int:
    """Runs the pipeline; an exception that nothing expects becomes a failure in one line."""
    try:
        return _run(launch)
    except Exception as error:
        _LOGGER.exception("the run failed")
        launch.say_failure("the run", error)
        return NODE_FAILED


def _run(launch: _Launch) -> int:
    started = time.monotonic()
    config, folder, screen = launch.config, launch.config.folder, launch.screen
    screen.say(f"Pipeline {config.name}: results in {folder.path}, log in {launch.log_file}")
    environment.prepare(quiet=False)
    try:
        store = MetadataStore(folder.metadata_file, create=True)
        store.cancel_unfinished()
        pipeline = launch.build(config)
    except UserError as error:
        _LOGGER.exception("the pipeline could not be built")
        screen.warn(f"error: {causes.one_line(error)}")
        return USAGE
    except Exception as error:
        _LOGGER.exception("the pipeline could not be built")
        launch.say_failure("the pipeline could not be built", error)
        return NODE_FAILED
    own = record.begin(
        launch.run_id,
        config.model_dump(mode="json"),
        [node.id for node in pipeline.components],
        launch.command,
        launch.log_file,
        launch.pid,
    )
    launch.write(own)
    with display.showing(screen, _expected(config)) as shown:
        handler = ProgressHandler(
            list(own.nodes),
            shown,
            lambda node: rows_read(store.lineage(own.run_id).latest(own.run_id).get(node)),
        )
        raised = _run_nodes(launch, pipeline, handler)
    try:
        came = History(folder).run(own.run_id, own)
        verdict = came.verdict
    except Exception as error:
        _LOGGER.exception("ML Metadata could not be read")
        what = "what the run came to could not be read from ML Metadata"
        launch.say_failure(what, raised or error)
        launch.write(own.ended(NODE_FAILED, cause=what))
        return NODE_FAILED
    failure = _failure(came, handler.current, raised)
    _say_nodes(launch, came, handler.seconds, time.monotonic() - started)
    code = _say_outcome(launch, came, verdict, failure)
    launch.write(own.ended(code, *(failure or ())))
    return code


def _with_run_id(pipeline: Any, run_id: str) -> Any:
    """Compiles a pipeline with a given run id, which TFX would otherwise choose itself."""
    from tfx.dsl.compiler import compiler, constants
    from tfx.orchestration.portable import runtime_parameter_utils

    definition = compiler.Compiler().compile(pipeline)
    runtime_parameter_utils.substitute_runtime_parameter(
        definition, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id}
    )
    return definition


def _expected(config: PipelineConfig) -> display.Expected:
    """Returns what the display estimates from; a history that cannot be read is only logged."""
    seconds: dict[str, float] = {}
    try:
        seconds = History(config.folder).usual_seconds
    except Exception:
        _LOGGER.exception("earlier runs could not be read")
    training = config.training
    return display.Expected(seconds, {1: training.phase1.epochs, 2: training.phase2.epochs})


def _run_nodes(launch: _Launch, pipeline: Any, handler: ProgressHandler) -> Exception | None:
    """Runs LocalDagRunner; returns the exception that a node raised, if any."""
    from absl import logging as absl_logging

    absl_logging.set_verbosity(absl_logging.INFO)
    for device in environment.claim_gpus():
        launch.screen.say(f"GPU: {device}")
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        _runner().run_with_ir(_with_run_id(pipeline, launch.run_id))
    except Exception as error:
        _LOGGER.exception("node %s failed", handler.current)
        return error
    finally:
        root.removeHandler(handler)
    return None


def _failure(came: Run, stopped_at: str | None, raised: Exception | None) -> tuple[str, str] | None:
    """Returns the first node without a result and the cause; None if all have one."""
    for status in came.nodes:
        if status.state.complete:
            continue
        if raised is not None and stopped_at in (status.node, None):
            return status.node, causes.one_line(raised)
        default = "an input could not be resolved: the node before it put out nothing usable"
        return status.node, status.cause or default
    return (stopped_at or "(none)", causes.one_line(raised)) if raised is not None else None


def _say_nodes(launch: _Launch, came: Run, seconds: dict[str, float], took: float) -> None:
    """Prints the closing table; ``seconds`` are the measured wall-clock times by node."""
    table = Table("node", "outcome", title=f"{launch.config.name}: {took:.0f} s")
    table.add_column("seconds", justify="right")
    for status in came.nodes:
        shown = f"{seconds.get(status.node, status.seconds):.1f}" if status.execution else ""
        table.add_row(status.node, status.state.value, shown)
    with contextlib.suppress(OSError):
        launch.screen.out.print(table)


def _say_outcome(
    launch: _Launch, came: Run, verdict: Verdict, failure: tuple[str, str] | None
) -> int:
    """Prints the closing lines and returns the exit code."""
    screen, serving_dir = launch.screen, launch.config.serving_dir
    if verdict.accuracy is not None and verdict.macro_f1 is not None:
        screen.say(f"Test accuracy {verdict.accuracy:.4f}, macro-F1 {verdict.macro_f1:.4f}")
    if failure:
        node, cause = failure
        launch.say_failure(f"node {node} failed", cause)
        _say_served(screen, verdict, serving_dir)
        return NODE_FAILED
    code = COMPLETE
    if verdict.blessed:
        screen.say(f"Blessed: yes: {'; '.join(verdict.reasons) or 'every threshold holds'}")
    elif any(status.node == node_ids.EVALUATOR for status in came.nodes):
        reasons = "; ".join(verdict.reasons) or "the Evaluator gave no reason, see the log"
        screen.warn(f"NOT BLESSED, nothing was pushed: {reasons}")
        code = NOT_BLESSED
    if verdict.infra_blessed is False:
        screen.warn("NOT PUSHED, the model cannot be served as it should be:")
        for reason in verdict.infra_reasons or ("no reason was given, see the log",):
            screen.warn(f"  {reason}")
        code = NOT_BLESSED
    if verdict.held_back:
        screen.warn(f"NOT PUSHED: {verdict.held_back}")
        code = NOT_BLESSED
    present = list_versions(serving_dir)
    if code == NOT_BLESSED and present:
        screen.say(f"Still served: {serving_dir / str(present[-1])}")
    _say_served(screen, verdict, serving_dir)
    if came.report:
        screen.say(f"Report: {came.report}")
    screen.say(f"Log: {launch.log_file}")
    return code


def _say_served(screen: Terminal, verdict: Verdict, serving_dir: Path) -> None:
    """Prints the pushed model's folder or, if a cached push names one that is gone, the newest."""
    if verdict.pushed_to is None:
        return
    if verdict.pushed_to.is_dir():
        screen.say(f"Pushed model: {verdict.pushed_to}")
        return
    gone = f"the pushed model's folder {verdict.pushed_to} is gone (a copy: {verdict.pushed_copy})"
    present = [serving_dir / str(version) for version in list_versions(serving_dir)]
    served = [folder for folder in present if folder.is_dir()]
    if served:
        screen.warn(f"Served model: {served[-1]}; {gone}")
    else:
        screen.warn(f"NOTHING IS SERVED: {gone}, and {serving_dir} holds no version")
