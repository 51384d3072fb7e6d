"""Shared fixtures; sets the environment before anything imports TensorFlow."""

import os
import signal

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_USE_LEGACY_KERAS"] = "0"  # as pipeline.environment sets it

# A shell that runs the suite in the background lets it ignore Ctrl-C, and so would every command
# that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# A loaded machine is no reason to fail: timings are the benchmarks' business.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

REPOSITORY = Path(__file__).resolve().parent.parent
_REAL_DATA = REPOSITORY.parent / "shared" / "data"


# What takes more than two seconds to make: `make check` passes over the tests that ask for it.
_COSTLY = frozenset(
    (
        "browser", "build_model", "good_model", "installed_wheel", "judge", "real_corpus",
        "real_glove", "workbench",
    )
)  # fmt: skip
# Folders whose files take longest, longest first: what starts last keeps one process waiting.
_LONGEST = ("e2e", "components/training", "pipeline/launch", "components/evaluation")


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Marks the slow tests, and puts the longest files first."""
    for item in items:
        if item.get_closest_marker("e2e") or _COSTLY.intersection(item.fixturenames):
            item.add_marker("slow")

    def place(item: pytest.Function) -> int:
        path = str(item.path.relative_to(REPOSITORY / "tests"))
        return next((n for n, one in enumerate(_LONGEST) if path.startswith(one)), len(_LONGEST))

    items.sort(key=place)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The project's root folder."""
    return REPOSITORY


# variables.index as TensorFlow 2.16 writes it for a variable "w" of 75,000 float32.
_INDEX = (
    "00000608011a0208010001137708011206120408f8c90428e0a71235ce6e34c3000000000100000000f95c4998"
    "000000000100000000c0f2a1b0000102780028000000000100000000947982842d083a0e000000000000000000"
    "00000000000000000000000000000000000000000000000000000057fb808b247547db"
)


@pytest.fixture(scope="session")
def saved_model() -> Callable[..., Path]:
    """Writes the files of a whole SavedModel of 300 KB; ``word``, in its vocabulary, marks it."""

    def write(folder: Path, word: object = "the") -> Path:
        files = {
            "saved_model.pb": b"\x08\x01\x12\x02\x0a\x00",
            "fingerprint.pb": b"f",
            "variables/variables.index": bytes.fromhex(_INDEX),
            "variables/variables.data-00000-of-00001": b"w" * 300_000,
            "assets/vocabulary": f"{word}\nof\n".encode(),
        }
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return folder

    return write


@pytest.fixture(scope="session")
def real_corpus() -> Path:
    """The real corpus; skips where it is not at hand."""
    path = _REAL_DATA / "arxiv_cleaned.parquet"
    if not path.is_file():
        pytest.skip("the real corpus is not in ../shared/data")
    return path


@pytest.fixture(scope="session")
def real_glove() -> Path:
    """The real GloVe vectors; skips where they are not at hand."""
    path = _REAL_DATA / "glove.6B.100d.txt.xz"
    if not path.is_file():
        pytest.skip("the real GloVe vectors are not in ../shared/data")
    return path


_DISTRIBUTION = "arxiv-subject-classifier"
_BLOCK = """
import os, sys

class Block:
    names = frozenset(os.environ.get("TEST_BLOCKED_MODULES", "").split())

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in cls.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Block)
"""


@dataclass(frozen=True)
class InstalledWheel:
    """The built wheel in an environment of its own, which lends the packages of the tests'.

    Attributes:
        wheel: the built file.
        environment: the folder of the environment.
        work: an empty folder.
    """

    wheel: Path
    environment: Path
    work: Path

    def run(
        self, *command: str, extra: str | None = None, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs a command of the environment in the empty folder.

        Args:
            command: the name of the program, and its arguments.
            extra: "" or an extra: what it does not bring cannot be imported. None: all can.
            stdin: what it reads.
        """
        blocked = "" if extra is None else " ".join(self._not_brought_by(extra))
        inherited = {name: value for name, value in os.environ.items() if "PYTHON" not in name}
        return subprocess.run(
            [self.environment / "bin" / command[0], *command[1:]],
            cwd=self.work,
            env={**inherited, "TEST_BLOCKED_MODULES": blocked, "COLUMNS": "400"},
            input=stdin,
            capture_output=True,
            timeout=300,
            check=False,
        )

    def _not_brought_by(self, extra: str) -> list[str]:
        """Top-level modules that the wheel with this extra does not install."""
        folders = self.environment.glob("lib/python*/site-packages/*.dist-info")
        (own,) = (metadata.Distribution.at(folder) for folder in folders)
        brought: set[tuple[str, str]] = set()
        waiting = {(_DISTRIBUTION, one) for one in {"", extra}}
        while waiting:
            name, wanted = waiting.pop()
            brought.add((name, wanted))
            try:
                found = own if name == _DISTRIBUTION else metadata.distribution(name)
            except metadata.PackageNotFoundError:  # of another platform
                continue
            for requirement in map(Requirement, found.requires or []):
                marker = requirement.marker
                if marker is None or marker.evaluate({"extra": wanted}):
                    needed = canonicalize_name(requirement.name)
                    waiting |= {(needed, one) for one in {"", *requirement.extras}} - brought
        names = {name for name, _ in brought}
        kept, others = set[str](), set[str]()
        for found in metadata.distributions():
            modules = kept if canonicalize_name(found.name) in names else others
            paths = [path for path in found.files or [] if path.suffix in (".py", ".so")]
            modules |= {path.parts[0].partition(".")[0] for path in paths}
        return sorted(others - kept - {""})


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Returns a function that fills a folder once for all of xdist's workers."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def make(name: str, fill: Callable[[Path], None]) -> Path:
        folder = root / name
        with FileLock(root / f"{name}.lock"):
            if not (root / f"{name}.made").exists():
                folder.mkdir()
                fill(folder)
                (root / f"{name}.made").touch()
        return folder

    return make


@pytest.fixture(scope="session")
def installed_wheel(
    make_once: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> InstalledWheel:
    """Builds the wheel from a copy of the sources, and installs it."""
    folder = make_once("wheel", _install_wheel)
    (wheel,) = folder.glob("*.whl")
    return InstalledWheel(wheel, folder / "environment", tmp_path_factory.mktemp("empty"))


def _install_wheel(folder: Path) -> None:
    source = folder / "source"
    source.mkdir()
    for name in ("pipeline", "components", "schema"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, source / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source / name)
    _pip("wheel", "--no-build-isolation", "--wheel-dir", str(folder), str(source))
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    venv.create(environment, with_pip=False)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "of_the_tests.pth").write_text(sysconfig.get_path("purelib"))
    (packages / "sitecustomize.py").write_text(_BLOCK)
    _pip("--python", str(environment / "bin" / "python"), "install", str(wheel))


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run([*command, "--no-deps", "--no-index"], check=True)
