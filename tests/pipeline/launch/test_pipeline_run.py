"""What a run promises: exit codes, a terminal without noise, resuming, one run at a time."""

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from rich.console import Console

from components.errors import UserError
from components.metadata_store import MetadataStore, State
from components.pushing.owner import OWNER_FILE, Owner
from pipeline.config.pipeline_config import PipelineConfig, RunSettings
from pipeline.launch.pipeline_run import _say_served, check_serving_dir
from pipeline.launch.terminal import Terminal
from pipeline.runs.history import History
from pipeline.runs.layout import OutputFolder
from pipeline.runs.verdict import Verdict

pytestmark = pytest.mark.slow

RUNNER = Path(__file__).parent / "tiny" / "tiny_runner.py"
TIMEOUT = 240


def command(folder: Path, *words: str) -> tuple[list[str], dict[str, str]]:
    environment = {**os.environ, "TINY_DIR": str(folder), "CUDA_VISIBLE_DEVICES": "-1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return [sys.executable, str(RUNNER), *words], environment


def run(folder: Path, *words: str, **extra: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    arguments, environment = command(folder, *words)
    return subprocess.run(
        arguments,
        env={**environment, **extra},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def run_states(folder: Path) -> list[str]:
    """States of the runs, the latest first."""
    history = History(OutputFolder(folder))
    return [run.state.value for run in history.latest(0)]


def start_and_reach_second(folder: Path) -> subprocess.Popen[str]:
    """Starts a run whose second node sleeps, and returns when it is there."""
    folder.mkdir(exist_ok=True)
    (folder / "trap").write_text("sleep")
    arguments, environment = command(folder)
    process = subprocess.Popen(
        arguments,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + TIMEOUT
    while not (folder / "trap.reached").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (folder / "trap").unlink()
    return process


def states(folder: Path) -> dict[str, State]:
    """States in the latest run."""
    latest = History(OutputFolder(folder)).find("latest")
    return {status.node: status.state for status in latest.nodes}


def blocks(output: str) -> list[str]:
    """The output of each run, exit code included."""
    return re.split(r"(?<=exit code \d)\n", output)[:-1]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], str]:
    """One process, several runs: failures in the second node, mended, again, an unmet input."""
    folder = tmp_path_factory.mktemp("story")
    words = ["trap=user error", "chain", "trap=beam", "chain", "trap=crash", "chain"]
    words += ["trap=", "chain", "chain", "hungry", "trap=not blessed", "judged", "trap=", "judged"]
    done = run(folder, *words)
    return folder, blocks(done.stdout), done.stderr


def codes(output: list[str]) -> list[int]:
    return [int(block[-1]) for block in output]


def rows(block: str) -> dict[str, str]:
    """Outcome of each node in the closing table."""
    return dict(re.findall(r"│ (\w+) +│ ([\w ]+?) +│", block))


def test_exit_codes_say_what_a_run_came_to(story: tuple[Path, list[str], str]) -> None:
    assert codes(story[1]) == [1, 1, 1, 0, 0, 1, 3, 3]


def test_failed_run_names_node_cause_log_and_command(story: tuple[Path, list[str], str]) -> None:
    _, output, errors = story
    assert rows(output[0]) == {"First": "ran", "Second": "failed", "Third": "not run"}
    first_failure = errors.splitlines()[:3]
    assert first_failure[0] == (
        "FAILED: node Second failed: papers.parquet: column 'abstract' is missing; add it"
    )
    assert Path(first_failure[1].removeprefix("Log: ")).is_file()
    assert first_failure[2] == "Resume (finished nodes are cached): RESUME"


def test_cause_in_a_beam_step_is_shown_without_the_step(
    story: tuple[Path, list[str], str],
) -> None:
    assert "FAILED: node Second failed: papers.parquet: row 3 is broken; mend it\n" in story[2]


def test_cause_of_a_crash_is_its_root(story: tuple[Path, list[str], str]) -> None:
    expected = (
        "FAILED: node Second failed: ValueError: invalid literal for int() with base 10: 'ten'\n"
    )
    assert expected in story[2]


def test_mended_run_takes_up_where_the_failed_one_stopped(
    story: tuple[Path, list[str], str],
) -> None:
    assert rows(story[1][3]) == {"First": "cached", "Second": "ran", "Third": "ran"}


def test_second_run_is_all_cached(story: tuple[Path, list[str], str]) -> None:
    assert rows(story[1][4]) == {"First": "cached", "Second": "cached", "Third": "cached"}


def test_input_that_cannot_be_resolved_is_a_failure(story: tuple[Path, list[str], str]) -> None:
    outcome = rows(story[1][5])
    assert outcome["Resolver"] == outcome["Hungry"] == "failed"
    assert "FAILED: node Resolver failed: InputResolutionError: " in story[2]


def test_model_that_is_not_blessed_is_said_loudly_again_and_again(
    story: tuple[Path, list[str], str],
) -> None:
    _, output, errors = story
    assert "Test accuracy 0.7500, macro-F1 0.5000" in output[6]
    assert errors.count("NOT BLESSED, nothing was pushed: accuracy .5 is below .6") == 2
    assert rows(output[7])["Evaluator"] == "cached"


def test_model_that_is_not_fit_to_be_served_or_was_rolled_back_is_said_loudly(
    tmp_path: Path,
) -> None:
    (tmp_path / "serving" / "tiny" / "7").mkdir(parents=True)
    unfit = run(tmp_path, "trap=unfit", "served", "served")
    assert codes(blocks(unfit.stdout)) == [3, 3]
    assert unfit.stderr.splitlines()[:3] == [
        "NOT PUSHED, the model cannot be served as it should be:",
        "  latency: 9 ms, budget 1 ms",
        "  peak memory: 9 MiB, budget 1 MiB",
    ]
    assert unfit.stdout.count(f"Still served: {tmp_path / 'serving' / 'tiny' / '7'}\n") == 2
    (tmp_path / "trap").unlink()
    back = run(tmp_path / "other", "trap=rolled back", "served")
    assert codes(blocks(back.stdout)) == [3]
    assert back.stderr == "NOT PUSHED: this model was rolled back\n"
    assert "Still served" not in back.stdout


def test_model_that_was_pushed_before_a_later_node_failed_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "trap=no report", "served")
    assert codes(blocks(done.stdout)) == [1]
    assert "FAILED: node RunReport failed: the page cannot be written" in done.stderr
    assert f"Pushed model: {tmp_path / 'artifacts' / 'InfraValidator'}" in done.stdout


def test_terminal_has_progress_and_no_noise(story: tuple[Path, list[str], str]) -> None:
    folder, output, errors = story
    assert "[ 1/3] First ...\n        half of it is done\n[ 1/3] First done (" in output[0]
    assert "NOISE" not in "".join(output) + errors
    assert "Traceback" not in "".join(output) + errors
    assert not re.search(r"[Ww]arning|^[EWI]\d{4}", "".join(output) + errors)
    log = min((folder / "logs").iterdir()).read_text()
    noise = ("absl", "warning", "print", "child")
    assert [kind for kind in noise if f"NOISE {kind}" not in log] == []
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ ERROR absl: NOISE absl$", log, re.M)


def test_each_run_leaves_a_record_that_the_history_reads(
    story: tuple[Path, list[str], str],
) -> None:
    folder = story[0]
    runs = list(reversed(History(OutputFolder(folder)).latest(0)))
    assert [run.record.exit_code for run in runs if run.record] == [1, 1, 1, 0, 0, 1, 3, 3]
    assert [run.state.value for run in runs] == [
        "failed", "failed", "failed", "complete", "complete", "failed", "complete", "complete",
    ]  # fmt: skip
    assert runs[0].failure == (
        "Second", "papers.parquet: column 'abstract' is missing; add it",
    )  # fmt: skip
    assert [status.state.value for status in runs[0].nodes] == ["ran", "failed", "not run"]
    last = runs[-1]
    assert (last.verdict.blessed, last.verdict.accuracy) == (False, 0.75)
    assert last.record is not None
    assert last.record.configuration["run"]["name"] == "tiny"
    assert last.record.nodes == ("First", "Second", "Third", "Evaluator", "EvaluationSummary")
    assert Path(last.record.log_file).is_file()


def test_killed_run_is_continued_by_the_next(tmp_path: Path) -> None:
    process = start_and_reach_second(tmp_path)
    process.kill()
    process.communicate()
    assert states(tmp_path) == {
        "First": State.RAN, "Second": State.UNFINISHED, "Third": State.NOT_RUN,
    }  # fmt: skip
    assert run_states(tmp_path) == ["killed"]
    done = run(tmp_path, "chain")
    assert done.returncode == 0, done.stderr
    assert rows(done.stdout) == {"First": "cached", "Second": "ran", "Third": "ran"}
    assert run_states(tmp_path) == ["complete", "killed"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_says_so_and_is_continued_by_the_next(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = start_and_reach_second(tmp_path)
    assert run_states(tmp_path) == ["running"]
    process.send_signal(number)
    output, errors = process.communicate(timeout=10)
    assert process.returncode == 128 + number
    assert "Traceback" not in output
    assert re.fullmatch(
        f"Stopped by {number.name}; finished nodes are kept. Resume with: .*  Log: .*\n", errors
    )
    executions = MetadataStore(tmp_path / "metadata.sqlite").lineage().executions
    assert not [one.node for one in executions if one.left_running]
    assert run_states(tmp_path) == ["stopped"]
    if number is signal.SIGINT:
        done = run(tmp_path, "chain")
        assert rows(done.stdout) == {"First": "cached", "Second": "ran", "Third": "ran"}


def descendants(pid: int) -> list[int]:
    """The live processes that a process has started, and those that they have."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [*map(int, children), *(one for child in children for one in descendants(int(child)))]


def test_run_whose_process_is_killed_says_so(tmp_path: Path) -> None:
    """As the kernel does where memory runs out."""
    process = start_and_reach_second(tmp_path)
    (nodes,) = descendants(process.pid)
    os.kill(nodes, signal.SIGKILL)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors.startswith(
        "FAILED: the run: its process was killed by SIGKILL, often for want of memory\nLog: "
    )
    assert run_states(tmp_path) == ["killed"]
    executions = MetadataStore(tmp_path / "metadata.sqlite").lineage().executions
    assert not [one.node for one in executions if one.left_running]


def test_nothing_goes_on_once_a_run_is_killed(tmp_path: Path) -> None:
    process = start_and_reach_second(tmp_path)
    (nodes,) = descendants(process.pid)
    process.kill()
    process.communicate(timeout=30)
    assert not Path(f"/proc/{nodes}/cwd").exists()
    assert run_states(tmp_path) == ["killed"]


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_run_is_suspended_and_continued_as_a_whole(tmp_path: Path) -> None:
    """Ctrl-Z, then `fg`."""
    process = start_and_reach_second(tmp_path)
    both = [process.pid, *descendants(process.pid)]

    def reach(states: str) -> None:
        deadline = time.monotonic() + 30
        while not all(state_of(one) in states for one in both):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    process.send_signal(signal.SIGTSTP)
    reach("T")
    process.send_signal(signal.SIGCONT)
    reach("SR")
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 143


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_full_disk_in_a_node_is_a_failed_run_that_says_so(small_disk: Path) -> None:
    done = run(small_disk, "trap=full disk", "chain")
    assert codes(blocks(done.stdout)) == [1]
    first, log, resume = done.stderr.splitlines()
    assert re.fullmatch(
        r"FAILED: node Second failed: the disk is full "
        r"\([^;]*(?:No space left on device|disk is full)\): "
        r"make room for run\.output_dir, or name a folder on another disk",
        first,
    )
    assert log.startswith("Log: ")
    assert resume.startswith("Resume ")
    assert "seek of closed file" not in done.stdout + done.stderr
    assert run_states(small_disk) == ["failed"]
    (small_disk / "trap.fill").unlink()
    (small_disk / "trap").unlink()
    assert run(small_disk, "chain").returncode == 0
    assert run_states(small_disk) == ["complete", "failed"]


@pytest.mark.parametrize("left", [0, 1 << 16, 1 << 17])
def test_full_disk_before_the_first_run_is_one_line(small_disk: Path, left: int) -> None:
    fill = small_disk / "fill"
    fill.write_bytes(b"x" * ((4 << 20) - left))
    done = run(small_disk / "out", "chain")
    assert done.returncode in (1, 2)
    first = done.stderr.splitlines()[0]
    assert re.search("disk is full|No space left on device", first), done.stderr
    assert "move it away" not in done.stderr
    fill.unlink()
    assert run(small_disk / "out", "chain").returncode == 0


def test_terminal_shows_the_running_node_and_is_left_as_it_was(tmp_path: Path) -> None:
    """Ctrl-C on a real terminal: the moving lines go, the words and the cursor stay."""
    (tmp_path / "trap").write_text("sleep")
    arguments, environment = command(tmp_path, "chain")
    pid, master = pty.fork()
    if pid == 0:
        os.execve(arguments[0], arguments, {**environment, "TERM": "xterm"})
    output = b""
    # Elapsed time, behind the end of the name's bold type.
    while not re.search(rb"Second\x1b\[0m  0:0[1-9]", output):
        output += os.read(master, 1 << 16)
    os.write(master, b"\x03")
    with contextlib.suppress(OSError):
        # A terminal whose last process has gone answers with an error.
        while piece := os.read(master, 1 << 16):
            output += piece
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    os.close(master)
    text = output.decode()
    assert "\x1b[?25l" not in text
    assert "NOISE" not in text
    assert "[ 1/3] First done (" in text
    before, _, after = text.partition("Stopped by SIGINT; finished nodes are kept. Resume with: ")
    assert after
    # The lines that moved were taken away before the words came, and did not come back.
    assert "Second" not in before.rpartition("\x1b[2K")[2]
    assert "Second" not in after


def test_second_run_says_who_holds_the_lock_and_gives_up(tmp_path: Path) -> None:
    holder = {"pid": 4711, "host": "elsewhere", "since": "2024-05-01T10:00:00+00:00"}
    (tmp_path / "metadata.sqlite.holder.json").write_text(json.dumps(holder))
    who = "another run (process 4711 on elsewhere, since 2024-05-01T10:00:00+00:00)"
    database = tmp_path / "metadata.sqlite"
    with FileLock(f"{database}.lock"):
        started = time.monotonic()
        done = run(tmp_path, "chain", TINY_WAIT="1")
        assert time.monotonic() - started < 10
    assert done.returncode == 4
    assert f"{who} is using {database}; waiting up to 1 s for it\n" in done.stdout
    assert done.stderr.startswith(f"error: {who} is still using {database}; ")
    assert not database.exists()


def test_second_run_goes_ahead_when_the_first_ends(tmp_path: Path) -> None:
    first = start_and_reach_second(tmp_path)
    arguments, environment = command(tmp_path, "chain")
    second = subprocess.Popen(
        arguments,
        env={**environment, "TINY_WAIT": "60"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert second.stdout is not None
    first_line = second.stdout.readline()
    assert first_line.startswith(f"another run (process {first.pid} on ")
    first.terminate()
    first.communicate()
    output, _ = second.communicate(timeout=TIMEOUT)
    assert second.returncode == 0
    assert rows(output) == {"First": "cached", "Second": "ran", "Third": "ran"}


def test_output_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    occupied = tmp_path / "occupied"
    occupied.write_text("a file, no folder")
    done = subprocess.run(
        command(occupied, "chain")[0],
        env=command(occupied)[1],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == f"error: cannot write to {occupied / 'logs'}: Not a directory\n"


def test_serving_folder_that_cannot_be_written_is_found_before_the_run(tmp_path: Path) -> None:
    occupied = tmp_path / "occupied"
    occupied.write_text("a file, no folder")
    done = run(tmp_path / "out", "chain", TINY_SERVING=str(occupied))
    assert done.returncode == 2
    assert done.stdout == "exit code 2\n"
    assert done.stderr == (
        f"error: run.serving_dir = {occupied}: cannot be written to: File exists; "
        "name a folder where models can be put\n"
    )
    assert not (tmp_path / "out" / "metadata.sqlite").exists()


def test_serving_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    def config(folder: Path) -> PipelineConfig:
        settings = RunSettings(name="x", output_dir=tmp_path, serving_dir=folder)
        return PipelineConfig.model_construct(run=settings)  # type: ignore[call-arg]

    check_serving_dir(config(tmp_path / "a" / "b"))
    assert list((tmp_path / "a" / "b").iterdir()) == []
    with pytest.raises(UserError, match=r"run\.serving_dir = /proc/models: cannot be written to"):
        check_serving_dir(config(Path("/proc/models")))


def test_run_whose_models_would_go_to_another_pipelines_folder_does_not_start(
    tmp_path: Path,
) -> None:
    serving = tmp_path / "serving"
    Owner(pipeline="other", output_dir="/other").write(serving / OWNER_FILE)
    done = run(tmp_path / "out", "chain", TINY_SERVING=str(serving))
    assert (done.returncode, done.stdout) == (2, "exit code 2\n")
    assert done.stderr.startswith(
        f"error: {serving} belongs to the pipeline other with the output folder /other, not to "
        f"the pipeline tiny with the output folder {tmp_path / 'out'}; "
    )
    assert not (tmp_path / "out" / "metadata.sqlite").exists()


def test_cached_result_that_was_changed_is_not_read_and_is_made_anew_once_removed(
    tmp_path: Path,
) -> None:
    assert run(tmp_path, "trap=crash", "chain").returncode == 1
    (note,) = (tmp_path / "artifacts" / "First").glob("note/*/note.txt")
    note.write_text("jello")
    refused = run(tmp_path, "trap=", "chain")
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[0] == (
        f"FAILED: node Second failed: {note.parent} was changed or damaged after it was made; "
        "remove that folder and run again: what is missing is made anew"
    )
    assert states(tmp_path)["First"] is State.CACHED
    shutil.rmtree(note.parent)
    assert run(tmp_path, "chain").returncode == 0
    assert states(tmp_path) == dict.fromkeys(("First", "Second", "Third"), State.RAN)
    (copy,) = (tmp_path / "artifacts" / "Third").rglob("note.txt")
    assert copy.read_text() == "hello"


def test_broken_database_is_one_line_that_names_it(tmp_path: Path) -> None:
    database = tmp_path / "metadata.sqlite"
    database.write_text("no database, but long enough to be read as one" * 100)
    done = run(tmp_path, "chain")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {database} is not a readable ML Metadata database: "
        "file is not a database; move it away to start anew\n"
    )
    assert database.read_text().startswith("no database")


def test_only_a_folder_that_is_there_is_reported_as_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serving, copy = tmp_path / "serving", tmp_path / "artifact"
    verdict = Verdict(blessed=True, pushed_to=serving / "9", pushed_copy=copy)

    def said() -> tuple[str, str]:
        screen = Terminal(Console(width=500), Console(stderr=True, width=500))
        _say_served(screen, verdict, serving)
        captured = capsys.readouterr()
        return captured.out, captured.err

    gone = f"the pushed model's folder {serving / '9'} is gone (a copy: {copy})"
    assert said() == ("", f"NOTHING IS SERVED: {gone}, and {serving} holds no version\n")
    for version in ("3", "11", "notes"):
        (serving / version).mkdir(parents=True)
    (serving / "12").write_text("a file")
    assert said() == ("", f"Served model: {serving / '11'}; {gone}\n")
    (serving / "9").mkdir()
    assert said() == (f"Pushed model: {serving / '9'}\n", "")
