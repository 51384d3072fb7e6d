"""A run's progress: two live lines on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.text import Text

from components.contracts.progress import EpochProgress
from pipeline.launch.progress import PlainDisplay
from pipeline.launch.terminal import Terminal

_FRAMES_A_SECOND = 4.0
_WIDEST_BAR = 30
_NARROWEST_TEXT = 4
_SPINNER = "\u280b\u2819\u2839\u2838\u283c\u2834\u2826\u2827\u2807\u280f"
_ASCII_SPINNER = "-\\|/"


@dataclass(frozen=True)
class Expected:
    """What earlier runs and the settings tell: a node's usual seconds, a phase's most epochs."""

    seconds: Mapping[str, float]
    epochs: Mapping[int, int]


class LiveDisplay(PlainDisplay):
    """Prints finished nodes and epochs as lines, and redraws the running node below them."""

    def __init__(self, screen: Terminal, expected: Expected) -> None:
        super().__init__(screen.say)
        self._expected = expected
        self._began = time.monotonic()
        self._place = self._node = ""
        self._started = self._began
        self._epoch: EpochProgress | None = None
        self._epoch_ended = self._began

    def start(self, place: str, node: str) -> None:
        self._place, self._node, self._started = place, node, time.monotonic()
        self._epoch = None

    def epoch(self, epoch: EpochProgress) -> None:
        self._epoch, self._epoch_ended = epoch, time.monotonic()
        super().epoch(epoch)

    def end(self, place: str, node: str, outcome: str, seconds: float, rate: float | None) -> None:
        self._node = ""
        super().end(place, node, outcome, seconds, rate)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draws the live lines, none wider than the terminal."""
        if not self._node:
            return
        now = time.monotonic()
        # A line that fills the width makes some terminals wrap.
        width = max(1, options.max_width - 1)
        frames = _ASCII_SPINNER if options.ascii_only else _SPINNER
        spinner = frames[int(now * 10) % len(frames)]
        elapsed = now - self._started
        usual = self._expected.seconds.get(self._node)
        line = Text(f"{spinner} {self._place} ")
        line.append(self._node, style="bold")
        line.append(f"  {clock(elapsed)}")
        if usual is not None:
            line.append(f", usually {clock(usual)}")
        line.append(f"  (run {clock(now - self._began)})", style="dim")
        line.truncate(width, overflow="ellipsis")
        yield line
        training = self._training(now)
        if training is None:
            if usual:
                yield from self._bar(min(elapsed / usual, 1.0), Text(), width)
            return
        yield from self._bar(*training, width)

    def _training(self, now: float) -> tuple[float, Text] | None:
        """Returns the training's progress (0 to 1) and its text; None before the first epoch."""
        last = self._epoch
        if last is None:
            return None
        most = self._expected.epochs
        earlier = sum(epochs for phase, epochs in most.items() if phase < last.phase)
        later = sum(epochs for phase, epochs in most.items() if phase > last.phase)
        left = last.epochs_left + later
        running = min((now - self._epoch_ended) / last.seconds, 1.0) if last.seconds else 0.0
        # A phase that stopped early counts as complete.
        done = earlier + (last.epochs if last.done else last.epoch)
        share = (done + (running if left else 0.0)) / (done + left)
        text = Text(f"phase {last.phase} epoch {last.epoch}/{last.epochs}  ")
        if left:
            text.append(f"at most {clock(max(0.0, (left - running) * last.seconds))} left")
        else:
            text.append("exporting")
        text.append(f"  loss {last.loss:.4f}  val accuracy {last.val_accuracy:.4f}")
        return share, text

    @staticmethod
    def _bar(share: float, text: Text, width: int) -> Iterator[ProgressBar | Text | Segment]:
        indent = min(2, width)
        bar = min(_WIDEST_BAR, width // 3 if text else width - indent)
        room = width - indent - bar
        yield Segment(" " * indent)
        if bar > 0:
            yield ProgressBar(total=1.0, completed=share, width=bar)
        if text and room > _NARROWEST_TEXT:
            text = Text("  ") + text
            text.truncate(room, overflow="ellipsis")
            yield text
        else:
            yield Segment.line()


@contextlib.contextmanager
def showing(screen: Terminal, expected: Expected) -> Iterator[PlainDisplay]:
    """Yields the display that the terminal supports; clears its live lines at the end."""
    if not screen.moves:
        yield PlainDisplay(screen.say)
        return
    display = LiveDisplay(screen, expected)
    live = Live(
        get_renderable=lambda: display,
        console=screen.out,
        refresh_per_second=_FRAMES_A_SECOND,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )

    def stop() -> None:
        # A closed terminal must not end a run.
        with contextlib.suppress(OSError):
            live.stop()

    def stop_now() -> None:
        # Called in a signal handler, which may have interrupted this thread while it held the lock
        # that stop() needs. So the wait is bounded.
        thread = threading.Thread(target=stop, daemon=True)
        thread.start()
        thread.join(1.0)

    with contextlib.suppress(OSError):
        live.start()
    screen.before_warning = stop_now
    try:
        yield display
    finally:
        screen.before_warning = None
        stop()


def clock(seconds: float) -> str:
    """Returns seconds as m:ss or h:mm:ss."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
