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

from pathlib import Path

import pytest
from hypothesis import settings

# A loaded machine is no reason to fail: timings are the benchmarks' business.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

REPOSITORY = Path(__file__).resolve().parent.parent
_REAL_DATA = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def repository() -> Path:
    """The project's root folder."""
    return REPOSITORY


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
