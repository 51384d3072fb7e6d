"""``make run``: the TFX CLI's ``pipeline create`` or ``update``, then what ``run create`` does.

The CLI runs in this process, with its output in a log file, and only if the registered pipeline
differs: its imports take as long as a whole cached run. For the same reason this process becomes
the registered runner itself, which is all that ``tfx run create --engine=local`` starts.

Slow imports are inside functions, after the signal handlers are in place.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from components.errors import UserError
from pipeline import environment
from pipeline.launch import early_stop
from pipeline.launch.exit_codes import NODE_FAILED, USAGE
from pipeline.launch.supervisor import STOPS
from pipeline.runs import causes

if TYPE_CHECKING:
    from pipeline.config.pipeline_config import PipelineConfig

RUNNER = Path(__file__).resolve().parents[1] / "runners" / "local_runner.py"
REGISTRATION_SECONDS = 600.0


class CliError(UserError):
    """A command of the TFX CLI failed; the message is the CLI's, in one line."""


def run(config: PipelineConfig, command: str, runner: Path = RUNNER) -> NoReturn:
    """Creates or updates the pipeline in the TFX CLI, and becomes its runner.

    Args:
        config: the configuration that the environment names.
        command: the command that resumes the run.
        runner: absolute path of the file that the CLI registers and ``tfx run create`` executes.

    Raises:
        UserError: models cannot be pushed to the serving folder.
        CliError: the CLI failed.
        OSError: the output folder cannot be written to.
    """
    from pipeline.launch import terminal
    from pipeline.launch.pipeline_run import check_serving_dir

    _prepare_environment(config)
    log_file = (
        config.folder.log_dir
        / f"{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-{os.getpid()}-tfx-cli.log"
    )
    # The output folder first: by default the serving folder lies in it.
    config.folder.log_dir.mkdir(parents=True, exist_ok=True)
    check_serving_dir(config)
    try:
        with terminal.captured(log_file):
            _register(config, runner)
    except CliError as error:
        raise CliError(f"{error} (log: {log_file})") from error
    os.environ[early_stop.COMMAND_VARIABLE] = command
    # Until the runner has its own handlers.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    os.execv(sys.executable, [sys.executable, os.fspath(runner)])


def main() -> int:
    """Runs the configuration that the environment names; returns the exit code if it cannot."""
    first, *more = sys.argv[1:] or ["make run"]
    command = " ".join([first, *map(shlex.quote, more)])
    early_stop.end_at_once(command)
    from pipeline.config.pipeline_config import load_config

    try:
        run(load_config(), command)
    except (UserError, OSError) as error:
        print(f"error: {causes.one_line(error)}", file=sys.stderr)
        return NODE_FAILED if isinstance(error, CliError) else USAGE


def _prepare_environment(config: PipelineConfig) -> None:
    environment.prepare(quiet=True)
    # The CLI looks for `pip` on PATH and keeps its registrations under HOME, where another clone
    # with the same pipeline name would find them.
    os.environ["PATH"] = os.pathsep.join(
        [os.fspath(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    )
    os.environ.setdefault("LOCAL_HOME", os.fspath(config.folder.tfx_cli_dir))


def _register(config: PipelineConfig, runner: Path) -> None:
    """Registers the pipeline under a lock, since the CLI's check and write are not atomic."""
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
    # An interrupted registration may have left only the folder.
    verb = "update" if folder.exists() else "create"
    if recorded.is_file():
        with contextlib.suppress(ValueError):
            content = json.loads(recorded.read_text(encoding="utf-8"))
            # An update would rewrite the same content while another run may be reading it.
            if all(content.get(key) == value for key, value in wanted.items()):
                return
    _tfx("pipeline", verb, "--engine=local", f"--pipeline_path={runner}")


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


if __name__ == "__main__":
    exit_code = main()
    from pipeline.launch.pipeline_run import leave

    leave(exit_code)
