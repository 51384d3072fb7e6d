"""What the command promises: quick starts, one-line mistakes, exit codes, JSON for programs."""

import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from ml_metadata.proto import metadata_store_pb2 as pb
from typer.testing import CliRunner, Result

from components.arrow import pa, pq
from components.contracts.artifact_files import MANIFEST
from components.contracts.manifest import Manifest
from components.errors import UserError
from components.pushing import versions
from components.pushing.owner import OWNER_FILE, Owner
from components.pushing.versions import PushedVersion
from pipeline.cli.main import app
from pipeline.cli.runs import short_ids

FIRST, SECOND, THIRD = (f"2026-01-0{day}T10:00:00.000000" for day in (1, 2, 3))
SLOW = ("tensorflow", "tfx", "apache_beam", "keras", "pandas", "tensorflow_data_validation")


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def output(*words: object) -> str:
    done = run(*words)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def mistake(*words: object) -> str:
    done = run(*words)
    assert isinstance(done.exception, UserError), (done.output, done.exception)
    return str(done.exception)


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARXIV_PIPELINE_CONFIG", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def three(ledger) -> Iterator:
    """A blessed, an unblessed and a failed run."""
    ledger.run(FIRST, accuracy=0.8125)
    ledger.record(FIRST, exit_code=0, configuration={"training": {"seed": 1}})
    ledger.run(SECOND, accuracy=0.4375, blessed=False)
    ledger.record(SECOND, exit_code=3, configuration={"training": {"seed": 2}})
    ledger.run(THIRD, until="Trainer", ending=pb.Execution.FAILED)
    ledger.record(THIRD, exit_code=1, failed_node="Trainer", cause="the loss is not a number")
    return ledger


def modules_after(*words: object) -> tuple[set[str], str]:
    """Modules that a command has imported, and what it printed, in a process of its own."""
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr))\n"
        "from pipeline.cli.main import main\n"
        f"sys.argv = ['arxiv-pipeline', *{[str(word) for word in words]!r}]\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "COLUMNS": "200"},
        check=True,
    )
    return set(done.stderr.split()), done.stdout


def test_help_imports_nothing_slow() -> None:
    imported, shown = modules_after("--help")
    assert "doctor" in shown
    slow = {
        *SLOW,
        "ml_metadata",
        "pydantic",
        "pyarrow",
        "numpy",
        "rich.console",
        "pipeline.launch.pipeline_run",
    }
    assert imported & slow == set()


def test_listing_imports_neither_tensorflow_nor_tfx(three) -> None:
    imported, shown = modules_after("runs", "list", "-o", three.output_dir)
    assert "0.8125" in shown
    assert imported & set(SLOW) == set()


def test_doctor_does_not_start_tensorflow(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    pq.write_table(
        pa.table({name: ["cs"] for name in ("id", "abstract", "final_category", "update_date")}),
        tmp_path / "papers.parquet",
    )
    (tmp_path / "vectors.txt").write_text("word" + " 0.5" * 100 + "\n")
    config.write_text(
        '[run]\nname = "x"\noutput_dir = "out"\n'
        '[data]\nparquet = "papers.parquet"\nglove = "vectors.txt"\n'
    )
    modules, printed = modules_after("doctor", "-c", config, "--json")
    assert {"schema", "checks"} <= {
        one["subject"] for one in json.loads(printed) if one["health"] == "ok"
    }
    # pyarrow takes pandas along where it is there.
    assert not modules & (set(SLOW) - {"pandas"})


def test_doctor_names_a_mistake_in_the_configuration(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text("[run]\n")
    done = run("doctor", "-c", config, "--json")
    assert done.exit_code == 1
    broken = [one for one in json.loads(done.output) if one["health"] == "broken"]
    assert [one["subject"] for one in broken] == ["configuration"]
    assert "run.name: this key is required" in broken[0]["text"]
    assert broken[0]["fix"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_made_and_completes(shell: str) -> None:
    def ask(**more: str) -> str:
        code = "from pipeline.cli.main import main; import sys; "
        code += "sys.argv = ['arxiv-pipeline']; main()"
        return subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **more},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        ).stdout

    script = ask(_ARXIV_PIPELINE_COMPLETE=f"source_{shell}")
    assert "_ARXIV_PIPELINE_COMPLETE" in script
    assert "arxiv-pipeline" in script
    offered = ask(
        _ARXIV_PIPELINE_COMPLETE=f"complete_{shell}",
        COMP_WORDS="arxiv-pipeline ru",
        COMP_CWORD="1",
        _TYPER_COMPLETE_ARGS="arxiv-pipeline ru",
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    assert re.search(r"\brun\b", offered)
    assert re.search(r"\bruns\b", offered)
    assert "doctor" not in offered


def test_no_command_is_cut_short_in_the_listing() -> None:
    listings = [output(*group, "--help") for group in ([], ["runs"], ["versions"], ["sample"])]
    assert not [text for text in listings if "..." in text.partition("Commands:")[2]]
    usage = output("runs", "compare", "--help")
    assert "{A} {B}" in usage.splitlines()[0]


def command_paths() -> list[list[str]]:
    return [
        ["run"], ["doctor"], ["gc"], ["serve"], ["labels"], ["sample", "make"], ["glove", "fetch"],
        ["report", "open"],
        *(["runs", name] for name in ("list", "show", "compare")),
        *(["versions", name] for name in ("list", "rollback", "prune")),
    ]  # fmt: skip


@pytest.mark.parametrize("words", command_paths(), ids=" ".join)
def test_every_command_explains_its_exit_codes_and_gives_examples_that_parse(
    words: list[str],
) -> None:
    text = output(*words, "--help")
    exit_codes, _, examples = text.partition("Exit codes:")[2].partition("Examples:")
    assert re.search(r"^\s+0  ", exit_codes, re.M)
    assert f"arxiv-pipeline {' '.join(words)}" in examples
    options = set(re.findall(r"(?<=\s)--?[a-z][\w-]*", text.partition("Exit codes:")[0]))
    # Of a pipe, the options behind it are another program's.
    used = set(re.findall(r"(?<=\s)--?[a-z][\w-]*", re.sub(r"\|.*", "", examples)))
    assert used <= options


def test_list_shows_what_happened(three) -> None:
    rows = [
        line.split() for line in output("runs", "list", "-o", three.output_dir).splitlines()
        if line.strip().startswith("2026")
    ]  # fmt: skip
    assert [row[0] for row in rows] == [THIRD[:19], SECOND[:19], FIRST[:19]]
    failed, unblessed, blessed = (" ".join(row) for row in rows)
    assert "failed - - - - -" in failed
    assert "complete 0.4375 0.2188 0.5625 no -" in unblessed
    assert re.search(r"complete 0\.8125 0\.4062 0\.1875 yes 10\d\d$", blessed)


def test_list_as_json_has_whole_ids_and_figures(three) -> None:
    runs = json.loads(output("runs", "list", "-o", three.output_dir, "--json", "-n", "2"))
    assert [one["id"] for one in runs] == [THIRD, SECOND]
    assert runs[0]["state"] == "failed"
    assert (runs[0]["failed_node"], runs[0]["cause"]) == ("Trainer", "the loss is not a number")
    assert (runs[1]["blessed"], runs[1]["accuracy"], runs[1]["pushed_to"]) == (False, 0.4375, None)


def test_push_that_is_not_served_any_more_is_said_to_be_gone(three) -> None:
    (version,) = three.serving.iterdir()
    version.rmdir()
    assert f"{version.name} (gone)" in output("runs", "list", "-o", three.output_dir)
    last = json.loads(output("runs", "list", "-o", three.output_dir, "--json"))[-1]
    assert (last["pushed_to"], last["served"]) == (str(version), False)


def test_show_has_nodes_reasons_data_and_configuration(three) -> None:
    text = output("runs", "show", "2026-01-02", "-o", three.output_dir)
    assert "accuracy is below the threshold" in text
    assert re.search(r"Trainer +ran +\d+\.\d +\S+/artifacts/Trainer/model/\d+", text)
    assert re.search(r"rows_read +100\b", text)
    details = json.loads(output("runs", "show", SECOND, "-o", three.output_dir, "--json"))
    assert details["configuration"] == {"training": {"seed": 2}}
    assert details["metrics"]["overall"]["accuracy"] == 0.4375
    failed = output("runs", "show", "-o", three.output_dir)
    assert "node Trainer: the loss is not a number" in failed
    assert re.search(r"Evaluator +not run +-", failed)


def test_show_says_why_a_blessed_model_was_not_pushed(ledger) -> None:
    made = ledger.run(FIRST, push=False)
    unfit = ledger.artifact(
        "InfraValidator", "blessing", "InfraBlessing", blessed=0, reasons="latency: 9 ms\nmemory"
    )
    held = ledger.artifact("Pusher", "pushed_model", "PushedModel", pushed=0, reason="rejected")
    model = {"model": made.of("Trainer", "model")}
    for node, outputs in (("InfraValidator", {"blessing": unfit}), ("Pusher", {"pushed": held})):
        ledger.execution(FIRST, node, pb.Execution.COMPLETE, model, outputs)
    text = output("runs", "show", "-o", ledger.output_dir)
    assert re.search(r"not servable +latency: 9 ms\s+not servable +memory", text)
    assert re.search(r"pushed +-\s+rejected", text)
    details = json.loads(output("runs", "show", "-o", ledger.output_dir, "--json"))
    assert details["blessed"] is True
    assert details["infra_blessed"] is False
    assert details["infra_reasons"] == ["latency: 9 ms", "memory"]
    assert details["held_back"] == "rejected"


def test_compare_shows_changed_keys_and_signed_differences(three) -> None:
    words = ("runs", "compare", "2026-01-01", "2026-01-02", "-o", three.output_dir)
    text = output(*words)
    assert re.search(r"training\.seed +1 +2\b", text)
    assert re.search(r"accuracy +0\.8125 +0\.4375 +-0\.375", text)
    assert "Code: the same" in text
    compared = json.loads(output(*words, "--json"))
    assert compared["configuration"] == [
        {"key": "training.seed", "first": 1, "second": 2, "difference": 1.0}
    ]
    assert (compared["first"], compared["second"]) == (FIRST, SECOND)


@pytest.mark.usefixtures("three")
def test_mistakes_are_one_line_and_exit_2(tmp_path: Path) -> None:
    assert "no configuration: set ARXIV_PIPELINE_CONFIG" in mistake("runs", "list")
    assert "there is no such database" in mistake("runs", "list", "-o", tmp_path)
    both = mistake("runs", "list", "-o", tmp_path, "-c", tmp_path / "x.toml")
    assert both == "--config and --output-dir: give one of them"
    assert "no run's id starts with '1999'" in mistake(
        "runs", "show", "1999", "-o", tmp_path / "out"
    )
    assert run("runs", "compare", FIRST).exit_code == 2
    code = (
        "import sys; sys.argv = ['x', 'runs', 'list']; from pipeline.cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.fullmatch(r"error: no configuration: .*\n", done.stderr)


def test_configuration_names_the_folder_though_its_inputs_are_gone(three) -> None:
    config = three.output_dir.parent / "run.toml"
    config.write_text(
        '[run]\nname = "made"\noutput_dir = "out"\n[data]\nparquet = "gone"\nglove = "gone"\n'
    )
    assert "0.8125" in output("runs", "list", "-c", config)
    environment = {"ARXIV_PIPELINE_CONFIG": str(config)}
    assert "0.8125" in CliRunner().invoke(app, ["runs", "list"], env=environment).output


def test_short_ids_tell_runs_of_one_second_apart() -> None:
    ids = ["2026-01-01T10:00:00.100000", "2026-01-01T10:00:00.200000", SECOND]
    assert list(short_ids(ids).values()) == [
        "2026-01-01T10:00:00.1", "2026-01-01T10:00:00.2", "2026-01-02T10:00:00",
    ]  # fmt: skip


def test_report_of_the_latest_run_that_has_one(three, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mistake("report", "open", "-o", three.output_dir).startswith("no run has a report")
    page = three.artifact("RunReport", "report", "RunReport")
    three.execution(SECOND, "RunReport", pb.Execution.COMPLETE, outputs={"report": page})
    file = Path(page.uri) / "report.html"
    file.touch()
    for words in ([], ["2026-01-02"]):
        shown = output("report", "open", *words, "--path", "-o", three.output_dir)
        assert shown == f"{file}\n"
    assert "has no report" in mistake("report", "open", FIRST, "-o", three.output_dir)
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: bool(opened.append(url)) or True)
    output("report", "open", "-o", three.output_dir)
    assert opened == [file.as_uri()]
    monkeypatch.setattr("webbrowser.open", lambda _: False)
    assert run("report", "open", "-o", three.output_dir).exit_code == 1


def test_gc_says_first_and_removes_only_when_told_to(three) -> None:
    def models() -> int:
        return len(list((three.root / "Trainer" / "model").iterdir()))

    # The run to keep is the second: the first one's model is blessed, so both stay.
    three.run("2026-01-04T10:00:00.000000", blessed=False, rows=7)
    assert models() == 3
    dry = output("gc", "--keep", "1", "-o", three.output_dir)
    assert "Would remove" in dry
    assert "Nothing was changed" in dry
    assert models() == 3
    planned = json.loads(output("gc", "--keep", "1", "-o", three.output_dir, "--json"))
    assert planned["removed"] is False
    assert planned["bytes"] == sum(one["size"] for one in planned["removals"]) > 0
    assert "Removed" in output("gc", "--keep", "1", "-o", three.output_dir, "--yes")
    assert models() == 2
    assert "Removed 0 folders" in output("gc", "--keep", "1", "-o", three.output_dir, "--yes")


def test_gc_keeps_no_more_blessed_models_than_wanted(ledger) -> None:
    for number, run_id in enumerate((FIRST, SECOND, THIRD), 1):
        ledger.run(run_id, push=False, rows=number)

    def kept(*words: object) -> int:
        output("gc", "--keep", "1", *words, "--yes", "-o", ledger.output_dir)
        return len(list((ledger.root / "Trainer" / "model").iterdir()))

    assert [kept(), kept("--keep-blessed", "2"), kept("--keep-blessed", "1")] == [3, 2, 1]
    assert run("gc", "--keep-blessed", "0", "-o", ledger.output_dir).exit_code == 2


def test_gc_cancels_what_a_killed_run_left_as_running(ledger) -> None:
    ledger.run(FIRST, until="Trainer", ending=pb.Execution.RUNNING)
    shown = output("gc", "-o", ledger.output_dir, "--yes")
    assert "1 unfinished executions marked as canceled" in shown
    states = [one.last_known_state for one in ledger.store.get_executions()]
    assert pb.Execution.RUNNING not in states


def test_gc_leaves_a_going_run_alone(three) -> None:
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": "2026-01-03T10:00:00"}
    three.database.with_name("metadata.sqlite.holder.json").write_text(json.dumps(holder))
    before = sorted(three.root.rglob("*"))
    with FileLock(f"{three.database}.lock"):
        done = run("gc", "--keep", "1", "--yes", "-o", three.output_dir)
    assert done.exit_code == 4
    assert f"error: another run (process {os.getpid()}" in done.output
    assert sorted(three.root.rglob("*")) == before


def unprivileged() -> None:
    """Lets root be refused what other users are, once another program is run."""
    drop, override, read_search = 24, 1, 2  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    for capability in (override, read_search):
        ctypes.CDLL(None).prctl(drop, capability, 0, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "mode", "words", "said"),
    [
        ("", 0o000, ("runs", "list"), "out/metadata.sqlite: Permission denied; mend"),
        ("", 0o000, ("runs", "show"), "out/metadata.sqlite: Permission denied; mend"),
        ("", 0o000, ("report", "open"), "out/metadata.sqlite: Permission denied; mend"),
        ("", 0o000, ("gc", "--yes"), "out/metadata.sqlite: Permission denied; mend"),
        ("", 0o000, ("versions", "list"), "Permission denied"),
        ("", 0o500, ("gc", "--keep", "1"), "out/metadata.sqlite.lock: Permission denied; mend"),
        ("metadata.sqlite", 0o000, ("runs", "list"), "metadata.sqlite: cannot be read by this"),
        ("metadata.sqlite", 0o400, ("gc", "--keep", "1", "--yes"), "cannot be written to by this"),
        ("artifacts/Trainer", 0o000, ("gc", "--keep", "1"), "Permission denied; mend"),
        ("artifacts/Trainer/model", 0o000, ("gc", "--keep", "1"), "Permission denied; mend"),
        ("serving/made", 0o000, ("versions", "list"), "/.owner.json: Permission denied; mend"),
        ("serving/made", 0o000, ("versions", "prune"), "/.owner.json: Permission denied; mend"),
        ("serving", 0o000, ("runs", "list"), "Permission denied; mend"),
    ],
)
def test_folder_without_permission_is_one_line(
    three, repository: Path, place: str, mode: int, words: tuple[str, ...], said: str
) -> None:
    (three.serving / "1795370307").mkdir()
    config = three.output_dir.with_name("run.toml")
    config.write_text('[run]\nname = "made"\noutput_dir = "out"\n')
    refused = three.output_dir / place
    before = refused.stat().st_mode
    refused.chmod(mode)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", *words, "--config", config],
            cwd=repository,
            preexec_fn=unprivileged,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        refused.chmod(before)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"error: [^\n]*\n", done.stderr), done.stderr
    assert said in done.stderr


@pytest.mark.parametrize("columns", [10, 20, 40, 80])
def test_ids_are_whole_however_narrow_the_terminal(
    three, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    (three.serving / "1795370307").mkdir()
    monkeypatch.setenv("COLUMNS", str(columns))
    listed = output("runs", "list", "-o", three.output_dir)
    assert [one[:19] for one in (THIRD, SECOND, FIRST)] == re.findall(r"\d{4}-\S{14}", listed)
    assert "1795370307" in output("versions", "list", "-o", three.output_dir)
    compared = output("runs", "compare", FIRST, SECOND, "-o", three.output_dir)
    assert "training.seed" in compared
    assert "f1 of cs" in compared


@pytest.mark.slow
@pytest.mark.parametrize("entry", ["main", "classify"])
def test_interrupted_while_it_imports_is_quiet(repository: Path, entry: str) -> None:
    code = (
        "import importlib, pipeline.__main__ as entries; real = importlib.import_module\n"
        "importlib.import_module = lambda *a, **k: (print(flush=True), real(*a, **k))[1]\n"
        f"entries.{entry}()"
    )
    for delay in (0.0, 0.002, 0.01, 0.05, 0.2):
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=repository,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert "Traceback" not in errors
        if entry == "classify" or process.returncode != 2:
            assert process.returncode == 130


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_that_is_stopped_while_it_imports_is_one_line(
    tmp_path: Path, repository: Path, number: signal.Signals
) -> None:
    for name in ("papers.parquet", "glove.txt"):
        (tmp_path / name).touch()
    config = tmp_path / "run.toml"
    config.write_text(
        '[run]\nname = "early"\noutput_dir = "out"\n'
        '[data]\nparquet = "papers.parquet"\nglove = "glove.txt"\n'
    )
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "pipeline", "run", "--config", config],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    # The first of the modules that the command itself imports.
    while "tomli" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (128 + number, "")
    said = [line for line in errors.splitlines() if not line.startswith("import time:")]
    assert said == [
        "error: stopped before the run began; start it with: "
        f"{sys.executable} -m pipeline run --config {config}"
    ]


def test_versions_are_listed_with_the_one_that_is_served_and_what_is_wrong(
    three, saved_model: Callable[..., Path]
) -> None:
    (first,) = three.serving.iterdir()
    later = saved_model(three.serving / "1795370307")
    for path in (saved_model(first), later):
        Manifest.of(path).write(path / MANIFEST)
    saved_model(three.serving / "1795370308")
    (three.serving / "1795370309").mkdir()
    (three.serving / ".rolled-back-1795370310").mkdir()
    os.truncate(later / "assets" / "vocabulary", 1)
    Owner(pipeline="made", output_dir="/runs/x").write(three.serving / OWNER_FILE)

    listed = json.loads(output("versions", "list", "-o", three.output_dir, "--json"))
    assert [(one["served"], one["rolled_back"], one["defect"]) for one in listed] == [
        (False, False, ""),
        (False, False, "assets/vocabulary has 1 bytes, not 7"),
        (True, False, ""),
        (False, False, "no saved_model.pb"),
        (False, True, ""),
    ]
    assert {one["owner"] for one in listed} == {"made"}
    assert listed[1]["path"] == str(later)
    text = output("versions", "list", "-o", three.output_dir)
    whose = "The folder belongs to the pipeline made with the output folder /runs/x"
    assert text.splitlines()[-1] == whose
    assert re.findall(r"^ *(\d+) +\S+ \S+ *(.*?) *$", text, re.MULTILINE) == [
        (first.name, ""),
        ("1795370307", "cannot be loaded: assets/vocabulary has 1 bytes, not 7"),
        ("1795370308", "served; no manifest"),
        ("1795370309", "cannot be loaded: no saved_model.pb"),
        ("1795370310", "rolled back"),
    ]


def test_verification_finds_a_byte_that_was_changed(
    three, saved_model: Callable[..., Path]
) -> None:
    (first,) = three.serving.iterdir()
    saved_model(first)
    Manifest.of(first).write(first / MANIFEST)
    words = ("versions", "list", "-o", three.output_dir)
    assert "served; verified, without golden predictions" in output(*words, "--verify")
    (first / "assets" / "vocabulary").write_text("teh\nof\n")

    assert "changed" not in output(*words)
    done = run(*words, "--verify")
    assert done.exit_code == 1
    assert "served; DAMAGED: assets/vocabulary was changed after the push" in done.output


@pytest.mark.parametrize(
    ("name", "shown"), [(b"\xff\xfe", "??"), (b"a\x1b[31mb", "a?[31mb"), (b"x" * 300, "too long")]
)
@pytest.mark.parametrize("words", [("list",), ("list", "--json"), ("prune",), ("rollback",)])
def test_odd_names_of_folders_are_shown_harmlessly(
    tmp_path: Path,
    saved_model: Callable[..., Path],
    words: tuple[str, ...],
    name: bytes,
    shown: str,
) -> None:
    folder = tmp_path / os.fsdecode(name)
    fits = len(name) < 256
    for number in "12345" if fits else "":
        saved_model(folder / "serving" / "made" / number, number)

    done = run("versions", *words, "-o", folder)

    said = done.output + str(done.exception or "")
    assert shown in said
    assert (done.exit_code == 0) == fits
    assert done.exception is None or isinstance(done.exception, UserError)
    assert "\x1b" not in said


def test_versions_are_those_of_the_latest_run_where_no_configuration_is_named(three) -> None:
    def paths() -> list[str]:
        listed = json.loads(output("versions", "list", "-o", three.output_dir, "--json"))
        return [one["path"] for one in listed]

    other, elsewhere = three.output_dir / "serving" / "other", three.output_dir / "elsewhere"
    for folder in (other, elsewhere):
        (folder / "7").mkdir(parents=True)
    assert "does not tell where" in mistake("versions", "list", "-o", three.output_dir)
    three.record(THIRD, configuration={"run": {"name": "other", "serving_dir": None}})
    assert paths() == [str(other / "7")]
    three.record(THIRD, configuration={"run": {"name": "other", "serving_dir": str(elsewhere)}})
    assert paths() == [str(elsewhere / "7")]
    file = three.output_dir / "models.config"
    file.write_text('model_config_list { config { name: "tickets" } }')
    prune = ("versions", "prune", "--models-config", file, "-o", three.output_dir)
    assert mistake(*prune) == f"{file}: no config of a model 'arxiv' in it"
    named = {"name": "other", "serving_dir": str(elsewhere), "model_name": "tickets"}
    three.record(THIRD, configuration={"run": named})
    assert "nothing to remove" in output(*prune)


def test_versions_are_rolled_back_and_pruned_by_the_pusher(
    three, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[object, ...]] = []
    folder = three.serving

    owner = Owner(output_dir=os.path.realpath(three.output_dir))

    def rollback(given: Path, *, owner: Owner, say: Callable[[str], None]) -> PushedVersion:
        say(f"of {owner.output_dir}")
        calls.append(("rollback", given))
        return PushedVersion(7, given / "7")

    def prune(
        given: Path, keep: int, *, dry_run: bool, in_use: tuple[int, ...], **also: Any
    ) -> list[Path]:
        assert also["owner"] == owner
        calls.append(("prune", given, keep, dry_run, in_use))
        return [given / "1"]

    monkeypatch.setattr(versions, "rollback", rollback, raising=False)
    monkeypatch.setattr(versions, "prune", prune, raising=False)
    shown = output("versions", "rollback", "-o", three.output_dir)
    assert shown == f"of {owner.output_dir}\nServed now: version 7 in {folder / '7'}\n"
    dry = output("versions", "prune", "--keep", "2", "-o", three.output_dir)
    assert dry.startswith(f"would remove {folder / '1'}\n")
    labelled = ("--in-use", "3", "--in-use", "5")
    done = output("versions", "prune", "--keep", "2", *labelled, "--yes", "-o", three.output_dir)
    assert done == f"removed {folder / '1'}\n"
    file = three.output_dir / "models.config"
    file.write_text(
        'model_config_list { config { name: "arxiv" version_labels { key: "stable" value: 4 }'
        " model_version_policy { specific { versions: 4 versions: 6 } } } }"
    )
    named = ("--models-config", file, "--in-use", "3")
    output("versions", "prune", "--keep", "2", *named, "-o", three.output_dir)
    file.write_text('model_config_list { config { name: "other" } }')
    wrong = mistake("versions", "prune", "--models-config", file, "-o", three.output_dir)
    assert wrong == f"{file}: no config of a model 'arxiv' in it"
    assert calls == [
        ("rollback", folder),
        ("prune", folder, 2, True, ()),
        ("prune", folder, 2, False, (3, 5)),
        ("prune", folder, 2, True, (3, 4, 6)),
    ]


def test_sample_needs_no_name_for_its_only_command(tmp_path: Path) -> None:
    for words, name in ((["sample"], "a"), (["sample", "make"], "b")):
        assert "Sample: 120 papers" in output(*words, tmp_path / name, "--rows", "120")
    assert (tmp_path / "a" / "papers.parquet").read_bytes() == (
        tmp_path / "b" / "papers.parquet"
    ).read_bytes()
    assert output("sample", "--if-absent", tmp_path / "a") == ""


def test_glove_needs_no_name_for_its_only_command(tmp_path: Path) -> None:
    target = tmp_path / "vectors.txt"
    target.touch()
    for words in (["glove"], ["glove", "fetch"]):
        assert "already there" in output(*words, "--target", target)
    assert "source 'nowhere' is unknown" in mistake("glove", "--source", "nowhere")
