"""The TFX CLI's local engine: through ``make run``'s session, and by hand."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.config.pipeline_config import PipelineConfig, RunSettings
from pipeline.launch import early_stop, tfx_cli_session

TINY = Path(__file__).parent / "tiny"
RUNNER = TINY / "tiny_runner.py"
SESSION = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(TINY)!r})
import tiny_runner
from pipeline.launch import tfx_cli_session
sys.exit(tfx_cli_session.run(tiny_runner.tiny_config(), "make run", Path({str(RUNNER)!r})))
"""
TIMEOUT = 180


def environment(folder: Path) -> dict[str, str]:
    env = {**os.environ, "TINY_DIR": str(folder), "CUDA_VISIBLE_DEVICES": "-1"}
    for name in ("PYTHONDONTWRITEBYTECODE", "LOCAL_HOME"):
        env.pop(name, None)
    return env


def run(
    arguments: list[str], folder: Path, elsewhere: Path, **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments,
        env={**environment(folder), **more},
        cwd=elsewhere,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def outcomes(output: str) -> dict[str, str]:
    return dict(re.findall(r"│ (\w+) +│ ([\w ]+?) +│", output))


@pytest.mark.slow
def test_session_creates_runs_and_hands_on_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "trap").write_text("user error")
    arguments = [sys.executable, "-c", SESSION]
    failed = run(arguments, tmp_path, Path("/"))
    assert failed.returncode == 1
    first_line, *_, log_line, resume_line = failed.stderr.splitlines()
    assert first_line == (
        "FAILED: node Second failed: papers.parquet: column 'abstract' is missing; add it"
    )
    assert Path(log_line.removeprefix("Log: ")).is_file()
    assert resume_line == "Resume (finished nodes are cached): make run"
    assert outcomes(failed.stdout) == {"First": "ran", "Second": "failed", "Third": "not run"}
    assert re.match(r"Pipeline tiny: results in ", failed.stdout)
    registered = tmp_path / "tfx-cli" / "tiny" / "pipeline_args.json"
    created = registered.stat().st_mtime_ns

    (tmp_path / "trap").unlink()
    mended = run(arguments, tmp_path, Path("/"))
    assert (mended.returncode, mended.stderr) == (0, "")
    assert outcomes(mended.stdout) == {"First": "cached", "Second": "ran", "Third": "ran"}
    assert registered.stat().st_mtime_ns == created


@pytest.mark.slow
def test_failure_by_hand_is_an_exit_code_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "trap").write_text("user error")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    tfx = [sys.executable, "-m", "tfx.tools.cli.cli_main"]
    home = str(tmp_path / "home")
    created = run(
        [*tfx, "pipeline", "create", "--engine=local", f"--pipeline_path={RUNNER}"],
        tmp_path,
        Path("/"),
        HOME=home,
        PATH=path,
    )
    assert created.returncode == 0, created.stderr
    assert 'Pipeline "tiny" created successfully.' in created.stdout
    # Reading the pipeline runs nothing.
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["home", "trap"]
    failed = run(
        [*tfx, "run", "create", "--engine=local", "--pipeline_name=tiny"],
        tmp_path,
        Path("/"),
        HOME=home,
        PATH=path,
    )
    assert failed.returncode == 1
    assert "Traceback" not in failed.stdout + failed.stderr
    assert "column 'abstract' is missing; add it" in failed.stderr


@pytest.mark.slow
def test_terminated_session_ends_the_runner_too(tmp_path: Path) -> None:
    (tmp_path / "trap").write_text("sleep")
    process = subprocess.Popen(
        [sys.executable, "-c", SESSION],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + TIMEOUT
    while not (tmp_path / "trap.reached").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    # Both pipes close only when the runner has ended too.
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM
    assert re.fullmatch(r"Stopped by SIGTERM; .* Resume with: make run  Log: .*\n", errors)


def stopped_before_the_run(folder: Path, when: str) -> subprocess.Popen[str]:
    """Starts a session on a valid configuration and sends SIGINT once it is where ``when`` says."""
    for name in ("papers.parquet", "glove.txt"):
        (folder / name).touch()
    (folder / "run.toml").write_text(
        '[run]\nname = "early"\noutput_dir = "out"\n'
        '[data]\nparquet = "papers.parquet"\nglove = "glove.txt"\n'
    )
    process = subprocess.Popen(
        [
            sys.executable,
            "-X",
            "importtime",
            "-m",
            "pipeline.launch.tfx_cli_session",
            "make run",
            "CONFIG=a b",
        ],
        env={**environment(folder), "ARXIV_PIPELINE_CONFIG": str(folder / "run.toml")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    deadline = time.monotonic() + TIMEOUT
    if when == "imports":
        # The first of the modules that main() imports, well before the last of them.
        while "pydantic" not in process.stderr.readline():
            assert time.monotonic() < deadline
    else:
        while not (folder / "out" / "tfx-cli" / ".lock").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    return process


@pytest.mark.parametrize("when", ["imports", "registration"])
def test_interrupted_before_the_run_is_one_line(tmp_path: Path, when: str) -> None:
    process = stopped_before_the_run(tmp_path, when)
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGINT
    assert output == ""
    said = [line for line in errors.splitlines() if not line.startswith("import time:")]
    assert said == ["error: stopped before the run began; start it with: make run 'CONFIG=a b'"]


def test_runner_that_is_interrupted_while_it_imports_names_the_command() -> None:
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "pipeline.runners.local_runner"],
        env={**os.environ, early_stop.COMMAND_VARIABLE: "make run"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    deadline = time.monotonic() + TIMEOUT
    while "pydantic" not in process.stderr.readline():
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGINT
    said = [line for line in errors.splitlines() if not line.startswith("import time:")]
    assert (output, said) == (
        "", ["error: stopped before the run began; start it with: make run"],
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stop_that_comes_while_the_session_becomes_the_runner_is_a_stop(
    tmp_path: Path, number: signal.Signals
) -> None:
    stopped_as_it_turns = SESSION.replace(
        "sys.exit(",
        f"""import os
turn = os.execv
os.execv = lambda *words: (os.kill(os.getpid(), {int(number)}), turn(*words))
tfx_cli_session._register = lambda *_: None
sys.exit(""",
    )
    done = run([sys.executable, "-c", stopped_as_it_turns], tmp_path, Path("/"))
    assert (done.returncode, done.stdout, done.stderr) == (
        128 + number, "", "error: stopped before the run began; start it with: make run\n",
    )  # fmt: skip


def test_two_first_runs_register_the_pipeline_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PipelineConfig.model_construct(run=RunSettings(name="twice", output_dir=tmp_path))  # type: ignore[call-arg]
    monkeypatch.setenv("LOCAL_HOME", str(tmp_path / "home"))
    folder = tmp_path / "home" / "twice"
    verbs = []

    def slow_tfx(_: str, verb: str, *__: str) -> None:
        verbs.append(verb)
        if folder.exists() != (verb == "update"):
            raise tfx_cli_session.CliError(f"cannot {verb}")
        time.sleep(0.3)
        folder.mkdir(exist_ok=True)
        recorded = {
            "pipeline_dsl_path": str(RUNNER), "pipeline_root": str(config.folder.pipeline_root)
        }  # fmt: skip
        (folder / "pipeline_args.json").write_text(json.dumps(recorded))

    monkeypatch.setattr(tfx_cli_session, "_tfx", slow_tfx)
    failures = []

    def register() -> None:
        try:
            tfx_cli_session._register(config, RUNNER)
        except tfx_cli_session.CliError as error:
            failures.append(error)

    threads = [threading.Thread(target=register) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (verbs, failures) == (["create"], [])

    # What a killed registration may leave: the folder, and nothing in it.
    (folder / "pipeline_args.json").unlink()
    register()
    assert (verbs, failures) == (["create", "update"], [])


def test_serving_folder_that_cannot_be_made_is_one_line_before_tfx_is_imported(
    tmp_path: Path,
) -> None:
    (tmp_path / "occupied").write_text("a file, no folder")
    for name in ("papers.parquet", "glove.txt"):
        (tmp_path / name).touch()
    (tmp_path / "run.toml").write_text(
        '[run]\nname = "early"\noutput_dir = "out"\nserving_dir = "occupied"\n'
        '[data]\nparquet = "papers.parquet"\nglove = "glove.txt"\n'
    )
    done = run(
        [sys.executable, "-m", "pipeline.launch.tfx_cli_session"],
        tmp_path,
        tmp_path,
        ARXIV_PIPELINE_CONFIG=str(tmp_path / "run.toml"),
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"error: run.serving_dir = {tmp_path / 'occupied'}: cannot be written to: File exists; "
        "name a folder where models can be put\n"
    )
    assert not (tmp_path / "out" / "tfx-cli").exists()


def test_configuration_error_is_one_line_before_tfx_is_imported(tmp_path: Path) -> None:
    started = time.monotonic()
    done = run(
        [sys.executable, "-m", "pipeline.launch.tfx_cli_session"],
        tmp_path,
        tmp_path,
        ARXIV_PIPELINE_CONFIG=str(tmp_path / "absent.toml"),
    )
    assert time.monotonic() - started < 5
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert "absent.toml" in done.stderr
