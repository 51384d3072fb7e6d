"""What a terminal shows while a run goes: true figures, no line too wide, no lost cursor."""

import fcntl
import io
import logging
import os
import pty
import re
import struct
import termios
import time
from pathlib import Path

import pytest
from rich.console import Console

from components.contracts.progress import EpochProgress, Note
from pipeline.launch import display, terminal
from pipeline.launch.display import Expected, LiveDisplay, clock
from pipeline.launch.progress import PlainDisplay, ProgressHandler, rows_read
from pipeline.launch.terminal import Screen, Terminal

EPOCH = EpochProgress(
    phase=2, epoch=3, epochs=6, loss=0.4, val_log_loss=0.5, val_accuracy=0.8, val_macro_f1=0.7,
    learning_rate=1e-3, seconds=5.0, improved=True, done=False,
)  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3661, "1:01:01")]
)
def test_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_rate_is_in_the_line_where_the_rows_are_known() -> None:
    said: list[str] = []
    plain = PlainDisplay(said.append)
    plain.end("[ 2/3]", "Read", "done", 2.0, 1234.5)
    plain.end("[ 2/3]", "Read", "cached", 0.04, None)
    assert said == ["[ 2/3] Read done (2.0 s, 1,234 rows/s)", "[ 2/3] Read cached (0.0 s)"]


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the display sees, in the only element."""
    times = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: times[0])
    return times


def drawn(shown: LiveDisplay, width: int, **options: object) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, **options)  # type: ignore[arg-type]
    console.print(shown, end="")
    return re.sub(r"\x1b\[[\d;]*m", "", file.getvalue()).splitlines()


def silent() -> Terminal:
    return Terminal(Console(file=io.StringIO()), Console(file=io.StringIO()))


def test_running_node_shows_elapsed_and_usual_time(now: list[float]) -> None:
    shown = LiveDisplay(silent(), Expected({"Trainer": 130.0}, {}))
    now[0] += 5
    shown.start("[ 9/14]", "Trainer")
    now[0] += 65
    line, bar = drawn(shown, 80)
    assert line.endswith("[ 9/14] Trainer  1:05, usually 2:10  (run 1:10)")
    # Half of the usual time is half of the bar.
    assert 14 <= bar.count("━") <= 30


def test_node_without_a_past_shows_no_expectation(now: list[float]) -> None:
    shown = LiveDisplay(silent(), Expected({}, {}))
    assert drawn(shown, 80) == []
    shown.start("[ 1/2]", "New")
    now[0] += 3
    (line,) = drawn(shown, 80)
    assert line.endswith("[ 1/2] New  0:03  (run 0:03)")
    shown.end("[ 1/2]", "New", "done", 3.0, None)
    assert drawn(shown, 80) == []


def test_training_shows_epoch_loss_and_at_most_what_is_left_of_both_phases(
    now: list[float],
) -> None:
    shown = LiveDisplay(silent(), Expected({}, {1: 2, 2: 6}))
    shown.start("[ 9/14]", "Trainer")
    shown.epoch(
        EPOCH.model_copy(
            update={
                "phase": 1,
                "epoch": 1,
                "epochs": 2,
                "loss": 0.9,
                "val_accuracy": 0.5,
                "seconds": 10.0,
            }
        )
    )
    # One epoch of this phase and six of the next, at ten seconds each.
    assert (
        "phase 1 epoch 1/2  at most 1:10 left  loss 0.9000  val accuracy 0.5000"
        in drawn(shown, 110)[1]
    )
    now[0] += 4
    assert "at most 1:06 left" in drawn(shown, 100)[1]
    shown.epoch(EPOCH)
    assert "phase 2 epoch 3/6  at most 0:15 left" in drawn(shown, 100)[1]
    shown.epoch(EPOCH.model_copy(update={"epoch": 4, "done": True}))
    assert "phase 2 epoch 4/6  exporting" in drawn(shown, 100)[1]


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize("width", [1, 2, 10, 40, 60, 80, 200])
def test_no_line_is_as_wide_as_the_terminal(width: int) -> None:
    shown = LiveDisplay(silent(), Expected({"Trainer": 100.0}, {1: 1, 2: 6}))
    shown.start("[ 9/14]", "Trainer")
    for _ in range(2):
        lines = drawn(shown, width)
        assert len(lines) <= 2
        assert max(len(line) for line in lines) < max(width, 2)
        shown.epoch(EPOCH)


def test_handler_tells_the_display_what_happens() -> None:
    said: list[str] = []

    class Sink(PlainDisplay):
        def epoch(self, epoch: EpochProgress) -> None:
            said.append(f"epoch {epoch.epoch}")
            super().epoch(epoch)

    handler = ProgressHandler(["A", "B"], Sink(said.append), {"A": 10}.get)
    logger = logging.getLogger("test_display")
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.INFO)
    try:
        logger.info("Component %s is running.", "A")
        logger.info("%s", Note("halfway"))
        logger.info("%s", EPOCH)
        logger.info("%s", "nobody's business")
        logger.info("Component %s is finished.", "A")
        logger.info("Component %s is running.", "B")
        logger.info("A cached execution %d is used.", 7)
        logger.info("Component %s is finished.", "B")
    finally:
        logger.removeHandler(handler)
    assert said[:2] == ["[ 1/2] A ...", "        halfway"]
    assert said[2:4] == ["epoch 3", f"        {EPOCH}"]
    assert re.fullmatch(r"\[ 1/2\] A done \(0\.0 s, [\d,]+ rows/s\)", said[4])
    # What was cached read nothing.
    assert said[5:] == ["[ 2/2] B ...", "[ 2/2] B cached (0.0 s)"]


def test_rows_that_a_node_read_are_counted_by_the_artifact_that_knows(ledger) -> None:
    ledger.run("one", rows=120)
    (examples,) = ledger.store.get_artifacts_by_type("Examples")[:1]
    for name, rows in (("rows_train", 70), ("rows_eval", 20), ("rows_test", 30)):
        examples.custom_properties[name].int_value = rows
    ledger.store.put_artifacts([examples])
    nodes = ledger.reader.lineage("one").latest("one")
    assert {name: rows_read(execution) for name, execution in nodes.items()} == {
        "ParquetExampleGen": 120, "Transform": 120, "Evaluator": 30, "Trainer": None,
        "LatestBlessedModel": None, "EvaluationSummary": None, "Pusher": None,
    }  # fmt: skip
    assert rows_read(None) is None


@pytest.fixture
def tty(monkeypatch: pytest.MonkeyPatch) -> tuple[int, Terminal]:
    """A terminal of 60 columns: the reading end, and the screen on it."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    out = os.fdopen(slave, "w", encoding="utf-8")
    return master, Terminal(Screen(file=out), Screen(file=out, stderr=True))


def shown_on(tty: tuple[int, Terminal]) -> str:
    """A node that starts, is drawn, and ends with a warning; what reached the terminal."""
    master, screen = tty
    with display.showing(screen, Expected({"Trainer": 100.0}, {1: 1, 2: 6})) as shown:
        shown.start("[ 9/14]", "Trainer")
        shown.epoch(EPOCH)
        time.sleep(0.6)
        screen.warn("Stopped by SIGINT")
    screen.say("after")
    screen.out.file.flush()
    # What was written reaches the reading end in pieces, the last of them late on a busy machine.
    output = b""
    while b"after" not in output:
        output += os.read(master, 1 << 16)
    return output.decode()


def test_terminal_is_drawn_over_at_its_own_width_and_left_with_its_cursor(tty) -> None:
    assert tty[1].moves
    assert tty[1].out.width == 60
    output = shown_on(tty)
    assert "phase 2 epoch 3/6" in output
    # Drawn more than once, each time over the last.
    assert output.count("Trainer") >= 2
    assert "\x1b[1A" in output
    assert "\x1b[?25l" not in output
    # The moving lines are gone before the warning comes.
    _, _, rest = output.rpartition("Trainer")
    assert re.search(r"\x1b\[2K.*Stopped by SIGINT\r?\n.*after", rest, re.S)


def test_no_color_has_no_color(tty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    master, plain = tty
    file = plain.out.file
    output = shown_on((master, Terminal(Screen(file=file), Screen(file=file, stderr=True))))
    assert "Trainer" in output
    codes = re.findall(r"\x1b\[([\d;]*)m", output)
    assert [code for code in codes if re.search(r"(^|;)(3[0-8]|4[0-8]|9\d)", code)] == []


def test_dumb_terminal_and_files_get_plain_lines(
    tty, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    file = tty[1].out.file
    dumb = Terminal(Screen(file=file), Screen(file=file))
    assert not dumb.moves
    with (tmp_path / "out").open("w") as pipe:
        plain = Terminal(Screen(file=pipe), Screen(file=pipe))
        assert not plain.moves
        with display.showing(plain, Expected({}, {})) as shown:
            assert isinstance(shown, PlainDisplay)
            shown.start("[ 1/1]", "Only")
        pipe.flush()
    assert (tmp_path / "out").read_text() == "[ 1/1] Only ...\n"


def test_closed_terminal_does_not_end_a_run(tty) -> None:
    master, screen = tty
    with display.showing(screen, Expected({}, {})) as shown:
        os.close(master)
        shown.start("[ 1/1]", "Only")
        shown.end("[ 1/1]", "Only", "done", 1.0, None)
        screen.warn("nobody reads this")


def test_signal_in_the_middle_of_a_line_may_say_a_line_of_its_own(tmp_path: Path) -> None:
    with terminal.captured(tmp_path / "log") as screen, screen._mutex:
        screen.warn("")
