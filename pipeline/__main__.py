"""Entry points: ``arxiv-pipeline``, also ``python -m pipeline``, and ``arxiv-classify``."""

import importlib
import os
import signal
import sys
from types import ModuleType


def main() -> None:
    """Runs ``arxiv-pipeline``; a missing extra of the package is reported in one line."""
    try:
        _imported("pipeline.cli.main").main()
    except ModuleNotFoundError as error:
        extra = "pip install 'arxiv-subject-classifier[pipeline]'"
        print(f"error: {error.name} is not installed: {extra}", file=sys.stderr)
        sys.exit(2)


def classify() -> None:
    """Runs ``arxiv-classify``."""
    try:
        _imported("pipeline.client.cli.commands")
        _imported("pipeline.client.cli.main").main()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _imported(module: str) -> ModuleType:
    """Imports a module; until that is done, Ctrl-C ends this process without a traceback."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        return importlib.import_module(module)
    signal.signal(signal.SIGINT, lambda number, _: os._exit(128 + number))
    try:
        return importlib.import_module(module)
    finally:
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    main()
