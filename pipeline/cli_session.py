"""``make run``: the TFX CLI's ``pipeline create`` or ``update``, then ``run create``.

The CLI runs in this process, so that TFX is imported once for all its commands, and its own output
goes to a log file. The runner it starts is a process that inherits the terminal.
"""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import FrameType

from components.errors import UserError
from pipeline import causes, environment, session, terminal
from pipeline.config import PipelineConfig, load_config
from pipeline.launch import NODE_FAILED, USAGE, leave

RUNNER = Path(__file__).resolve().parent / "runners" / "local_runner.py"


class CliError(RuntimeError):
    """A command of the TFX CLI ended with an error; the message is its own, in one line."""


def run(config: PipelineConfig, command: str, runner: Path = RUNNER) -> int:
    """Creates or updates the pipeline in the TFX CLI and runs it.

    Args:
        config: the configuration that the environment names.
        command: what a person resumes the run with.
        runner: the file that the CLI executes, absolute.

    Returns:
        The exit code of the runner (see ``pipeline.launch.run``).
    """
    _prepare_environment(config)
    log_file = config.log_dir / f"{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}-tfx-cli.log"
    try:
        with terminal.captured(log_file):
            _register(config, runner)
        with session.opened(command) as here, _passed_on_to(here) as signals:
            _create_run(config, log_file)
            code = here.exit_code
    except KeyboardInterrupt:
        return _fail(128 + signal.SIGINT, f"stopped before the run began; start it with: {command}")
    except CliError as error:
        return _fail(NODE_FAILED, f"{error} (log: {log_file})")
    except OSError as error:
        return _fail(USAGE, causes.one_line(error))
    if code is not None:
        return code
    if signals:
        return _fail(128 + signals[0], f"stopped before the run began; start it with: {command}")
    return _fail(
        NODE_FAILED,
        "the run ended before it could report (killed, often for want of memory, or not started); "
        f"logs: {config.log_dir}; resume with: {command}",
    )


def _fail(code: int, message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


def main() -> int:
    """Runs the configuration that the environment names; returns the exit code."""
    command = sys.argv[1] if len(sys.argv) > 1 else "make run"
    try:
        return run(load_config(), command)
    except UserError as error:
        return _fail(USAGE, str(error))


def _prepare_environment(config: PipelineConfig) -> None:
    environment.prepare(quiet=True)
    # The CLI looks for `pip` on the path, and keeps its records under HOME: a second clone of the
    # project, with the same pipeline name, must not find this one's.
    os.environ["PATH"] = os.pathsep.join(
        [os.fspath(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    )
    os.environ.setdefault("LOCAL_HOME", os.fspath(config.output_dir / "tfx-cli"))


def _register(config: PipelineConfig, runner: Path) -> None:
    recorded = Path(os.environ["LOCAL_HOME"]) / config.name / "pipeline_args.json"
    wanted = {
        "pipeline_dsl_path": os.fspath(runner),
        "pipeline_root": os.fspath(config.pipeline_root),
    }
    verb = "create"
    if recorded.is_file():
        verb = "update"
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

    before = {number: signal.signal(number, take) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    leave(main())
