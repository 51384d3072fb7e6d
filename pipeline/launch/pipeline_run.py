"""Runs the pipeline once, says what happens, and checks in ML Metadata what it came to."""

import contextlib
import importlib
import logging
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from rich.table import Table

from components.errors import UserError
from components.pushing.versions import list_versions
from pipeline import environment
from pipeline.config.pipeline_config import PipelineConfig
from pipeline.launch import display, session, terminal
from pipeline.launch.progress import ProgressHandler
from pipeline.launch.terminal import Terminal
from pipeline.runs import causes, lock, record
from pipeline.runs.history import History
from pipeline.runs.record import RunRecord
from pipeline.runs.status import NodeStatus, RunStore, State, Verdict

COMPLETE = 0
NODE_FAILED = 1
USAGE = 2
NOT_BLESSED = 3
LOCK_BUSY = 4

PipelineBuilder = Callable[[PipelineConfig], Any]

_LOGGER = logging.getLogger(__name__)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or a request to terminate.

    Attributes:
        signal_number: of the signal that came.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.signal_number = signal_number


@dataclass
class _Outcome:
    """What the runner's own account of a run is; ML Metadata completes it."""

    expected: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    failed_node: str | None = None
    error: BaseException | None = None


def run(
    config: PipelineConfig, *, build: PipelineBuilder | None = None, command: str | None = None
) -> int:
    """Runs the pipeline once.

    Imported by the TFX CLI's ``pipeline create`` (which replaces the runner by one that only
    reads the pipeline), it hands the pipeline over and does nothing else.

    Args:
        config: a checked configuration.
        build: makes the TFX pipeline; ``pipeline.graph.create_pipeline`` when None.
        command: what a person types to resume; a ``python -m pipeline run`` line when None.

    Returns:
        The exit code: 0 all nodes complete or cached and the model blessed; 1 a node failed; 2 the
        configuration cannot be used; 3 complete, but the model was not blessed, by the Evaluator or
        for want of fitness to be served, or was rolled back before; 4 another run held the lock;
        128 + the signal's number where one ended the run.
    """
    build = build or _graph
    if _cli_reads_pipeline():
        _runner().run(build(config))
        return COMPLETE
    here = session.current()
    if here:
        here.join()
    if command is None:
        command = here.command if here else f"{shlex.quote(sys.executable)} -m pipeline run"
    try:
        code = _locked_run(config, build, command)
    except Interrupted as interrupted:
        code = 128 + interrupted.signal_number
    if here:
        here.leave(code)
    return code


def check_serving_dir(config: PipelineConfig) -> None:
    """Checks that a model can be pushed, hours before one is: makes the folder, writes to it.

    Raises:
        UserError: it cannot be made or written to.
    """
    try:
        config.serving_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=config.serving_dir):
            pass
    except OSError as error:
        raise UserError(
            f"run.serving_dir = {config.serving_dir}: cannot be written to: {error.strerror}; "
            "name a folder where models can be put"
        ) from error


def leave(exit_code: int) -> NoReturn:
    """Ends the process without the noise that native libraries make as the interpreter goes down.

    After a signal it ends at once: threads of Beam or TensorFlow may linger. Where the TFX CLI
    reads the pipeline, the process is the CLI's and goes on.
    """
    if _cli_reads_pipeline():
        sys.exit(exit_code)
    sys.stdout.flush()
    sys.stderr.flush()
    if exit_code > 128:
        logging.shutdown()
        os._exit(exit_code)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    sys.exit(exit_code)


def _graph(config: PipelineConfig) -> Any:
    # Imported here: TFX takes seconds, and a configuration error must not wait for it.
    return importlib.import_module("pipeline.graph").create_pipeline(config)


def _runner() -> Any:
    return importlib.import_module("tfx.orchestration.local.local_dag_runner").LocalDagRunner()


def _cli_reads_pipeline() -> bool:
    """True inside ``tfx pipeline create`` or ``update``, which wrap ``LocalDagRunner.run``."""
    module = sys.modules.get("tfx.orchestration.local.local_dag_runner")
    return module is not None and hasattr(module.LocalDagRunner.run, "__wrapped__")


def _locked_run(config: PipelineConfig, build: PipelineBuilder, command: str) -> int:
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    log_file = config.log_dir / f"{stamp}-{os.getpid()}.log"
    with contextlib.ExitStack() as stack:
        try:
            screen = stack.enter_context(terminal.captured(log_file))
        except OSError as error:
            print(f"error: cannot write to {log_file.parent}: {error.strerror}", file=sys.stderr)
            return USAGE
        stack.enter_context(_signals(screen, command, log_file))
        try:
            check_serving_dir(config)
            stack.enter_context(
                lock.exclusive(config.metadata_file, config.run.lock_wait_seconds, screen.say)
            )
        except lock.LockBusyError as error:
            screen.warn(f"error: {error}")
            return LOCK_BUSY
        except UserError as error:
            screen.warn(f"error: {error}")
            return USAGE
        except OSError as error:
            screen.warn(f"error: cannot write to {config.output_dir}: {error.strerror}")
            return USAGE
        return _run(config, build, command, screen, log_file)


def _run(
    config: PipelineConfig, build: PipelineBuilder, command: str, screen: Terminal, log_file: Path
) -> int:
    started = time.monotonic()
    screen.say(f"Pipeline {config.name}: results in {config.output_dir}, log in {log_file}")
    environment.prepare(quiet=False)
    try:
        store = RunStore(config.metadata_file)
        store.cancel_unfinished()
        pipeline = build(config)
    except UserError as error:
        _LOGGER.exception("the pipeline could not be built")
        screen.warn(f"error: {causes.one_line(error)}")
        return USAGE
    except Exception as error:
        _LOGGER.exception("the pipeline could not be built")
        _say_failure(screen, "the pipeline could not be built", error, log_file, command)
        return NODE_FAILED
    # Local time, as TFX would choose it: ids sort by age.
    own = record.begin(
        datetime.now().isoformat(timespec="microseconds"),
        config.model_dump(mode="json"),
        [node.id for node in pipeline.components],
        command,
        log_file,
    )
    _write(own, config)
    try:
        outcome = _execute(pipeline, own.run_id, config, screen, store)
    except Interrupted as interrupted:
        _write(own.ended(128 + interrupted.signal_number), config)
        raise
    try:
        nodes = store.nodes(own.run_id, outcome.expected)
        verdict = store.verdict(nodes)
    except Exception as error:
        _LOGGER.exception("ML Metadata could not be read")
        what = "what the run came to could not be read from ML Metadata"
        _say_failure(screen, what, outcome.error or error, log_file, command)
        _write(own.ended(NODE_FAILED, cause=what), config)
        return NODE_FAILED
    report = _Report(config, outcome, nodes, verdict, time.monotonic() - started, log_file, command)
    code = _report(report, screen)
    node, cause = _first_failure(report) or ("", "")
    line = cause if isinstance(cause, str) else causes.one_line(cause)
    _write(own.ended(code, node, line), config)
    return code


def _write(own: RunRecord, config: PipelineConfig) -> None:
    """Writes the run's record; a run is worth more than it."""
    try:
        own.write(config.output_dir)
    except OSError:
        _LOGGER.exception("the run's record could not be written")


def _with_run_id(pipeline: Any, run_id: str) -> Any:
    """Compiles a pipeline for a run whose id is known beforehand; TFX would make one up later."""
    compiler = importlib.import_module("tfx.dsl.compiler.compiler")
    constants = importlib.import_module("tfx.dsl.compiler.constants")
    parameters = importlib.import_module("tfx.orchestration.portable.runtime_parameter_utils")
    definition = compiler.Compiler().compile(pipeline)
    parameters.substitute_runtime_parameter(
        definition, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id}
    )
    return definition


def _expected(config: PipelineConfig) -> display.Expected:
    """What earlier runs and the configuration say of this one; the display can do without."""
    seconds: Mapping[str, float] = {}
    try:
        seconds = History(config.metadata_file, config.output_dir).usual_seconds
    except Exception:
        _LOGGER.exception("earlier runs could not be read")
    training = config.training
    return display.Expected(seconds, {1: training.phase1.epochs, 2: training.phase2.epochs})


def _execute(
    pipeline: Any, run_id: str, config: PipelineConfig, screen: Terminal, store: RunStore
) -> _Outcome:
    """Runs LocalDagRunner once; whatever a node raises ends up in the outcome."""
    from absl import logging as absl_logging

    absl_logging.set_verbosity(absl_logging.INFO)
    for device in environment.claim_gpus():
        screen.say(f"GPU: {device}")
    outcome = _Outcome(expected=[node.id for node in pipeline.components])
    with display.showing(screen, _expected(config)) as shown:
        handler = ProgressHandler(
            outcome.expected, shown, lambda node: store.rows_read(run_id, node)
        )
        _run_nodes(pipeline, run_id, outcome, handler, store)
    return outcome


def _run_nodes(
    pipeline: Any, run_id: str, outcome: _Outcome, handler: ProgressHandler, store: RunStore
) -> None:
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        _runner().run_with_ir(_with_run_id(pipeline, run_id))
    except Interrupted:
        with contextlib.suppress(Exception):
            store.cancel_unfinished()
        raise
    except Exception as error:
        _LOGGER.exception("node %s failed", handler.times.current)
        outcome.error, outcome.failed_node = error, handler.times.current
    finally:
        root.removeHandler(handler)
        outcome.seconds = handler.times.seconds


@contextlib.contextmanager
def _signals(screen: Terminal, command: str, log_file: Path) -> Iterator[None]:
    """Turns SIGINT and SIGTERM into one line and an ``Interrupted``; a second one ends at once."""
    seen = False

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal seen
        if seen:
            os._exit(128 + number)
        seen = True
        # Said here, not where it is caught: `tfx run create` kills the runner soon after Ctrl-C.
        screen.warn(
            f"Stopped by {signal.Signals(number).name}; finished nodes are kept. "
            f"Resume with: {command}  Log: {log_file}"
        )
        raise Interrupted(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True)
class _Report:
    config: PipelineConfig
    outcome: _Outcome
    nodes: list[NodeStatus]
    verdict: Verdict
    seconds: float
    log_file: Path
    command: str


def _report(report: _Report, screen: Terminal) -> int:
    """Prints the closing table and lines, and returns the exit code."""
    table = Table(title=f"{report.config.name}: {report.seconds:.0f} s")
    table.add_column("node")
    table.add_column("outcome")
    table.add_column("seconds", justify="right")
    for status in report.nodes:
        seconds = report.outcome.seconds.get(status.node, status.seconds)
        shown = "" if status.state is State.NOT_RUN else f"{seconds:.1f}"
        table.add_row(status.node, status.state.value, shown)
    with contextlib.suppress(OSError):
        screen.out.print(table)
    verdict = report.verdict
    if verdict.accuracy is not None and verdict.macro_f1 is not None:
        screen.say(f"Test accuracy {verdict.accuracy:.4f}, macro-F1 {verdict.macro_f1:.4f}")
    failure = _first_failure(report)
    if failure:
        node, cause = failure
        _say_failure(screen, f"node {node} failed", cause, report.log_file, report.command)
        if verdict.pushed_to:
            _say_served(screen, verdict, report.config.serving_dir)
        return NODE_FAILED
    code = COMPLETE
    if verdict.blessed:
        screen.say(f"Blessed: yes: {'; '.join(verdict.reasons) or 'every threshold holds'}")
    elif any(status.node == "Evaluator" for status in report.nodes):
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
    present = list_versions(report.config.serving_dir)
    if code == NOT_BLESSED and present:
        screen.say(f"Still served: {report.config.serving_dir / str(present[-1])}")
    if verdict.pushed_to:
        _say_served(screen, verdict, report.config.serving_dir)
    if verdict.report:
        screen.say(f"Report: {verdict.report}")
    screen.say(f"Log: {report.log_file}")
    return code


def _say_served(screen: Terminal, verdict: Verdict, serving_dir: Path) -> None:
    """Names the pushed model's folder or, where a cached push names one that is gone, another."""
    if verdict.pushed_to is not None and verdict.pushed_to.is_dir():
        screen.say(f"Pushed model: {verdict.pushed_to}")
        return
    gone = f"the pushed model's folder {verdict.pushed_to} is gone (a copy: {verdict.pushed_copy})"
    present = [serving_dir / str(version) for version in list_versions(serving_dir)]
    served = [folder for folder in present if folder.is_dir()]
    if served:
        screen.warn(f"Served model: {served[-1]}; {gone}")
    else:
        screen.warn(f"NOTHING IS SERVED: {gone}, and {serving_dir} holds no version")


def _first_failure(report: _Report) -> tuple[str, BaseException | str] | None:
    """The first node, in order, that has no result, and why; None where all have one."""
    outcome = report.outcome
    for status in report.nodes:
        if status.state.complete:
            continue
        if outcome.error is not None and outcome.failed_node in (status.node, None):
            return status.node, outcome.error
        default = "an input could not be resolved: the node before it put out nothing usable"
        return status.node, status.cause or default
    if outcome.error is not None:
        return outcome.failed_node or "(none)", outcome.error
    return None


def _say_failure(
    screen: Terminal, what: str, cause: BaseException | str, log_file: Path, command: str
) -> None:
    line = cause if isinstance(cause, str) else causes.one_line(cause)
    screen.warn(f"FAILED: {what}: {line}")
    screen.warn(f"Log: {log_file}")
    screen.warn(f"Resume (finished nodes are cached): {command}")
