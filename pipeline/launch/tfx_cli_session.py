"""``make run``: the TFX CLI's ``pipeline create`` or ``update``, then ``run create``.

The CLI runs in this process, so that TFX is imported once for all its commands, and its own output
goes to a log file. The runner it starts is a process that inherits the terminal.

What takes long to import is imported in functions, when the signal handlers are in place.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from components.errors import UserError
from pipeline import environment
from pipeline.launch import session
from pipeline.launch.exit_codes import NODE_FAILED, USAGE
from pipeline.runs import causes

if TYPE_CHECKING:
    from pipeline.config.pipeline_config import PipelineConfig

RUNNER = Path(__file__).resolve().parents[1] / "runners" / "local_runner.py"
REGISTRATION_SECONDS = 600.0


class CliError(RuntimeError):
    """A command of the TFX CLI ended with an error; the message is its own, in one line."""


def run(config: PipelineConfig, command: str, runner: Path = RUNNER) -> int:
    """Creates or updates the pipeline in the TFX CLI and runs it.

    Args:
        config: the configuration that the environment names.
        command: what a person resumes the run with.
        runner: the file that the CLI executes, absolute.

    Returns:
        The exit code of the runner (see ``pipeline.launch.pipeline_run.run``).

    Raises:
        UserError: models cannot be pushed to the serving folder.
    """
    from pipeline.launch import terminal
    from pipeline.launch.pipeline_run import check_serving_dir

    _prepare_environment(config)
    log_file = config.folder.log_dir / f"{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}-tfx-cli.log"
    try:
        # The output folder first: by default the other lies in it.
        config.folder.log_dir.mkdir(parents=True, exist_ok=True)
        check_serving_dir(config)
        with terminal.captured(log_file):
            _register(config, runner)
        with session.opened(command) as here, _passed_on_to(here) as signals:
            _create_run(config, log_file)
            code = here.exit_code
    except CliError as error:
        return _fail(NODE_FAILED, f"{error} (log: {log_file})")
    except OSError as error:
        return _fail(USAGE, causes.one_line(error))
    if code is not None:
        return code
    if signals:
        return _fail(128 + signals[0], _stopped(command))
    return _fail(
        NODE_FAILED,
        "the run ended before it could report (killed, often for want of memory, or not started); "
        f"logs: {config.folder.log_dir}; resume with: {command}",
    )


def _stopped(command: str) -> str:
    return f"stopped before the run began; start it with: {command}"


def _fail(code: int, message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


def main() -> int:
    """Runs the configuration that the environment names; returns the exit code."""
    first, *more = sys.argv[1:] or ["make run"]
    command = " ".join([first, *map(shlex.quote, more)])
    _end_at_once_on_signals(command)
    from pipeline.config.pipeline_config import load_config

    try:
        code = run(load_config(), command)
    except UserError as error:
        code = _fail(USAGE, str(error))
    # Nothing is left to be stopped.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    return code


def _end_at_once_on_signals(command: str) -> None:
    """Lets Ctrl-C and SIGTERM end this process with one line, until a run takes them over.

    An exception would not do: modules that are being imported turn it into another, and so does
    the TFX CLI. Nothing needs to be tidied up before the run.
    """
    # Standard error goes to the log while the CLI registers the pipeline.
    screen = os.dup(2)

    def stop(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):
            os.write(screen, f"error: {_stopped(command)}\n".encode())
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _prepare_environment(config: PipelineConfig) -> None:
    environment.prepare(quiet=True)
    # The CLI looks for `pip` on the path, and keeps its records under HOME: a second clone of the
    # project, with the same pipeline name, must not find this one's.
    os.environ["PATH"] = os.pathsep.join(
        [os.fspath(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    )
    os.environ.setdefault("LOCAL_HOME", os.fspath(config.folder.tfx_cli_dir))


def _register(config: PipelineConfig, runner: Path) -> None:
    """Registers the pipeline, one process at a time: the CLI looks, then writes."""
    from filelock import FileLock, Timeout

    home = Path(os.environ["LOCAL_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(home / ".lock", timeout=REGISTRATION_SECONDS):
            _create_or_update(home / config.name, config, runner)
    except Timeout:
        raise CliError(
            f"another run has been registering a pipeline in {home} for "
            f"{REGISTRATION_SECONDS:g} s; wait for it to end and run again"
        ) from None


def _create_or_update(folder: Path, config: PipelineConfig, runner: Path) -> None:
    recorded = folder / "pipeline_args.json"
    wanted = {
        "pipeline_dsl_path": os.fspath(runner),
        "pipeline_root": os.fspath(config.folder.pipeline_root),
    }
    # A registration that was cut short may have left no more than the folder.
    verb = "update" if folder.exists() else "create"
    if recorded.is_file():
        with contextlib.suppress(ValueError):
            content = json.loads(recorded.read_text(encoding="utf-8"))
            # An update would write the same again, while another run may be reading it.
            if all(content.get(key) == value for key, value in wanted.items()):
                return
    _tfx("pipeline", verb, "--engine=local", f"--pipeline_path={runner}")


def _create_run(config: PipelineConfig, log_file: Path) -> None:
    """Runs ``tfx run create``: this process's lines go to the log, the runner's to the terminal."""
    with (
        log_file.open("a", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
        # The CLI says here that the runner's exit code was not 0; the session knows which it was.
        contextlib.suppress(CliError),
    ):
        _tfx("run", "create", "--engine=local", f"--pipeline_name={config.name}")


def _tfx(*arguments: str) -> None:
    from tfx.tools.cli.cli_main import cli_group

    try:
        cli_group.main(args=list(arguments), prog_name="tfx", standalone_mode=False)
    except SystemExit as error:
        if error.code not in (None, 0):
            print(error.code, file=sys.stderr)
            raise CliError(" ".join(str(error.code).split())) from error
    except Exception as error:
        raise CliError(causes.one_line(error)) from error


@contextlib.contextmanager
def _passed_on_to(here: session.Session) -> Iterator[list[int]]:
    """Leaves signals to the runner, and waits for it.

    Ctrl-C reaches every process of the terminal, SIGTERM only this one, so that is passed on. Both
    get a handler rather than SIG_IGN, which the runner would inherit.

    Yields:
        The signals that came.
    """
    came: list[int] = []

    def take(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        if number == signal.SIGTERM and here.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(here.pid, number)

    with session.signals_to(take):
        yield came


if __name__ == "__main__":
    exit_code = main()
    from pipeline.launch.pipeline_run import leave

    leave(exit_code)
