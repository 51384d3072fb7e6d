"""The TFX CLI's local engine: through ``make run``'s session, and by hand."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

TINY = Path(__file__).parent / "tiny"
RUNNER = TINY / "tiny_runner.py"
SESSION = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(TINY)!r})
import tiny_runner
from pipeline import cli_session
sys.exit(cli_session.run(tiny_runner.tiny_config(), "make run", Path({str(RUNNER)!r})))
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


def test_session_creates_runs_and_hands_on_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "trap").write_text("user error")
    session = [sys.executable, "-c", SESSION]
    failed = run(session, tmp_path, Path("/"))
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
    mended = run(session, tmp_path, Path("/"))
    assert (mended.returncode, mended.stderr) == (0, "")
    assert outcomes(mended.stdout) == {"First": "cached", "Second": "ran", "Third": "ran"}
    assert registered.stat().st_mtime_ns == created


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


def test_configuration_error_is_one_line_before_tfx_is_imported(tmp_path: Path) -> None:
    started = time.monotonic()
    done = run(
        [sys.executable, "-m", "pipeline.cli_session"],
        tmp_path,
        tmp_path,
        ARXIV_PIPELINE_CONFIG=str(tmp_path / "absent.toml"),
    )
    assert time.monotonic() - started < 5
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert "absent.toml" in done.stderr
