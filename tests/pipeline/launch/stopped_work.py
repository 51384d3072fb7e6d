"""Stops made-up runs at random moments, and prints as JSON what became of each.

Usage: python stopped_work.py KIND ROUNDS SEED FOLDER

A run works, pushes a version, and works on. The kinds of work are those in which an exception that
a signal handler raises is lost, is turned into another one, or comes late. Each round forks a
launcher, sends it SIGTERM or SIGINT at a random moment, and waits for its end.
"""

import contextlib
import ctypes
import gc
import json
import os
import random
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

from components import push_gate
from pipeline.launch import supervisor

supervisor.GRACE_SECONDS = 0.3

WORK_SECONDS = 0.15


def busy(seconds: float) -> None:
    """Runs bytecode, between whose instructions a signal handler runs."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(50))


class Destroyed:
    """Python drops what is raised in its destructor."""

    def __del__(self) -> None:
        busy(0.005)


class Referenced:
    """An object to refer to weakly."""


def destructors() -> None:
    until = time.monotonic() + WORK_SECONDS
    while time.monotonic() < until:
        Destroyed()


def weak_references() -> None:
    until = time.monotonic() + WORK_SECONDS
    while time.monotonic() < until:
        one = Referenced()
        reference = weakref.ref(one, lambda _: busy(0.005))
        del one
        assert reference() is None


def collections() -> None:
    """Python drops what is raised in a callback of the garbage collector."""
    gc.callbacks.append(lambda *_: busy(0.005))
    until = time.monotonic() + WORK_SECONDS
    while time.monotonic() < until:
        gc.collect()
    gc.callbacks.clear()


def wrapped() -> None:
    try:
        busy(WORK_SECONDS)
    except BaseException as error:
        raise RuntimeError("while running 'a step'") from error


def swallowed() -> None:
    with contextlib.suppress(BaseException):
        busy(WORK_SECONDS)


def c_code_with_the_interpreter_lock() -> None:
    ctypes.PyDLL(None).usleep(int(WORK_SECONDS * 1e6))


def threads() -> None:
    workers = [threading.Thread(target=busy, args=(WORK_SECONDS,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        with contextlib.suppress(BaseException):
            worker.join()


def processes() -> None:
    """Starts one that outlives it and does not mind SIGTERM."""
    subprocess.Popen(["/bin/sh", "-c", "trap '' TERM INT; sleep 30; true"])
    time.sleep(WORK_SECONDS)


def beam_steps() -> None:
    import apache_beam as beam

    def step(_: int) -> None:
        busy(0.01)
        Destroyed()

    with beam.Pipeline(argv=["--runner=DirectRunner"]) as pipeline:
        _ = pipeline | beam.Create(range(10)) | beam.Map(step)


KINDS: dict[str, Callable[[], None]] = {
    one.__name__: one
    for one in (
        destructors, weak_references, collections, wrapped, swallowed,
        c_code_with_the_interpreter_lock, threads, processes, beam_steps,
    )
}  # fmt: skip


def stamp(file: Path) -> None:
    file.write_text(repr(time.monotonic()))


def read(file: Path) -> float | None:
    return float(file.read_text()) if file.exists() else None


def run(kind: str, folder: Path) -> int:
    """Works, pushes as the Pusher does, and works on."""
    KINDS[kind]()
    time.sleep(0.02)
    stamp(folder / "begun")
    push_gate.hold()
    time.sleep(0.03)
    stamp(folder / "visible")
    time.sleep(0.03)
    stamp(folder / "known")
    push_gate.release()
    time.sleep(0.05)
    KINDS[kind]()
    return 0


def launch(kind: str, folder: Path) -> None:
    """Does as `pipeline_run` does: the record of a stop, and its exit code."""
    supervisor.hold_signals()
    stamp(folder / "started")
    ending = supervisor.supervise(
        lambda: run(kind, folder),
        lambda _: None,
        lambda number: (folder / "record").write_text(f"{time.monotonic()} {number.name}"),
    )
    stopped = ending.stopped_by or supervisor.late_stop()
    code = 128 + stopped if stopped else ending.code
    os._exit(99 if code is None else code)


def processes_of(group: int) -> list[int]:
    """Returns the live processes of a process group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, of = stat.read_text().rpartition(")")[2].split()[:3]
            if int(of) == group and state != "Z":
                found.append(int(stat.parent.name))
    return found


def main() -> None:
    kind, rounds, seed, root = sys.argv[1:]
    if kind == "beam_steps":
        KINDS[kind]()  # imports Beam once
    chance = random.Random(int(seed))
    told = []
    for number in range(int(rounds)):
        folder = Path(root) / str(number)
        folder.mkdir(parents=True)
        launcher = os.fork()
        if launcher == 0:
            launch(kind, folder)
        while not (folder / "started").exists():
            time.sleep(0.001)
        # Within it, now and then before or after.
        time.sleep(chance.uniform(0.0, 2 * WORK_SECONDS + 0.2))
        stop = chance.choice(supervisor.STOPS)
        children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
        sent = time.monotonic()
        # Some programs signal every process, or the one that they know of.
        targets = chance.choice([[launcher], [launcher], children, [*children, launcher]])
        for target in targets or [launcher]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(target), stop)
        _, status = os.waitpid(launcher, 0)
        record = folder / "record"
        told.append(
            {
                "sent": stop,
                "code": os.waitstatus_to_exitcode(status),
                "seconds": time.monotonic() - sent,
                "stopped_at": float(record.read_text().split()[0]) if record.exists() else None,
                "recorded": record.read_text().split()[1] if record.exists() else None,
                **{name: read(folder / name) for name in ("begun", "visible", "known")},
                "left": [pid for child in children for pid in processes_of(int(child))],
            }
        )
    print(json.dumps(told))


if __name__ == "__main__":
    main()
