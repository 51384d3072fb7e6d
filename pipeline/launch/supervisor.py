"""Runs work in a child process, so that a stop cannot be lost.

An exception that a signal handler raises can end in a destructor or a weak reference's callback,
where Python drops it, or come back from a library as another one. So the parent process, which runs
neither TensorFlow nor Beam, waits for signals without any handler. It asks the child to end, so
that the nodes clean up, kills it and its processes if it does not, and alone decides what the work
came to.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import mmap
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from components import push_gate

STOPS = (signal.SIGINT, signal.SIGTERM)
GRACE_SECONDS = 10.0
PUSH_SECONDS = 60.0

_POLL_SECONDS = 0.02
# Signals this close together are one stop: some programs signal every process of a run.
_ONE_STOP_SECONDS = 0.5
# The parent's order to the child, whose own SIGINT and SIGTERM go to the parent.
_ORDER = signal.SIGUSR1
_AWAITED = {*STOPS, signal.SIGCHLD, signal.SIGTSTP}
# Bytes that both processes see: the signal of a stop, and whether the child has reported it.
_NUMBER, _SAID = 0, 1
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h


class Stopped(KeyboardInterrupt):
    """Raised in the child by a stop, so that the nodes clean up."""


@dataclass(frozen=True)
class Ending:
    """How the work ended.

    Attributes:
        code: what it returned; None if it was stopped or killed.
        stopped_by: the signal that stopped it; None if none did.
        killed_by: the signal that killed its process; None if none did.
        said: whether the child reported the stop.
    """

    code: int | None = None
    stopped_by: signal.Signals | None = None
    killed_by: signal.Signals | None = None
    said: bool = False


def hold_signals() -> None:
    """Holds signals back for :func:`supervise` and :func:`late_stop`, until this process ends."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)


def late_stop() -> signal.Signals | None:
    """Takes a stop that came after the work had ended; None if none did."""
    found = signal.sigtimedwait(STOPS, 0)
    return signal.Signals(found.si_signo) if found else None


def supervise(
    work: Callable[[], int],
    say_stop: Callable[[signal.Signals], None],
    on_stop: Callable[[signal.Signals], None],
) -> Ending:
    """Runs work in a child process, to its end or until a signal stops it.

    A stop first closes the gate to pushing. One that comes during a push waits up to
    ``PUSH_SECONDS`` for it. The child then has ``GRACE_SECONDS`` to clean up; a second signal cuts
    both short. Processes that the child has started end with it. If this process is killed, so is
    the child.

    Must be called after :func:`hold_signals`, on the main thread, before libraries start threads.

    Args:
        work: called in the child; returns its exit code.
        say_stop: called in the child when the signal reaches it.
        on_stop: called here as soon as a signal has come.
    """
    push_gate.make()
    shared = mmap.mmap(-1, 2)
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _work_as_child(work, say_stop, shared, parent)
    # Both set it, since either may come first.
    with contextlib.suppress(OSError):
        os.setpgid(child, child)
    stopped, status = _watch(child, on_stop, shared)
    code = os.waitstatus_to_exitcode(status)
    if stopped or code < 0:
        _signal_group(child, signal.SIGKILL)
    if stopped:
        return Ending(stopped_by=stopped, said=bool(shared[_SAID]))
    if code < 0:
        return Ending(killed_by=signal.Signals(-code))
    return Ending(code)


def _watch(
    child: int, on_stop: Callable[[signal.Signals], None], shared: mmap.mmap
) -> tuple[signal.Signals | None, int]:
    """Waits for the child's end; returns the signal that stopped it or None, and its status."""
    stopped: signal.Signals | None = None
    closed = asked = False
    since = patience = 0.0
    while True:
        if stopped is None:
            number = signal.sigwait(_AWAITED)
        else:
            found = signal.sigtimedwait(_AWAITED, _POLL_SECONDS)
            number = found.si_signo if found else 0
        if number == signal.SIGTSTP:
            _pause(child)
        elif number in STOPS and stopped is None:
            stopped, closed = signal.Signals(number), push_gate.take()
            since = time.monotonic()
            patience = since + PUSH_SECONDS
            shared[_NUMBER] = number
            on_stop(stopped)
        elif number in STOPS and time.monotonic() - since > _ONE_STOP_SECONDS:
            _signal_group(child, signal.SIGKILL)
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return stopped, status
        if stopped is None:
            continue
        late = time.monotonic() > patience
        closed = closed or push_gate.take()
        if not asked and (closed or late):
            os.kill(child, _ORDER)
            asked, patience = True, time.monotonic() + GRACE_SECONDS
        elif asked and late:
            _signal_group(child, signal.SIGKILL)


def _pause(child: int) -> None:
    """Suspends the child and this process, as Ctrl-Z asks, until this process is continued."""
    _signal_group(child, signal.SIGSTOP)
    os.kill(os.getpid(), signal.SIGSTOP)
    _signal_group(child, signal.SIGCONT)


def _signal_group(child: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, number)


def _work_as_child(
    work: Callable[[], int],
    say_stop: Callable[[signal.Signals], None],
    shared: mmap.mmap,
    parent: int,
) -> NoReturn:
    code = 1
    try:
        try:
            _join_parent(parent)

            def stop(_number: int, _frame: FrameType | None) -> None:
                say_stop(signal.Signals(shared[_NUMBER]))
                shared[_SAID] = 1
                raise Stopped

            signal.signal(_ORDER, stop)
            for number in STOPS:
                signal.signal(number, lambda number, _frame: os.kill(parent, number))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)
            code = work()
            # What is left to do at the end of a process, as multiprocessing does it.
            atexit._run_exitfuncs()
        except Stopped:
            pass
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        # Never back into the parent's frames.
        os._exit(code)


def _join_parent(parent: int) -> None:
    """Ties this process to its parent: their signals, and its death with the parent's."""
    # The parent's exit handlers are not this process's to run.
    atexit._clear()
    # A process group of its own, so that all its processes can be ended. The terminal's Ctrl-C and
    # Ctrl-Z reach the parent alone, which passes them on.
    os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
