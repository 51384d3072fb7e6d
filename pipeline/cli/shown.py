"""How commands print: tables for people, JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

_WIDTH_OF_A_PIPE = 240
NOTHING = "-"


def console() -> Console:
    """Returns a console for standard output; a pipe's is wide, so that no cell is cut."""
    made = Console(highlight=False, soft_wrap=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made = Console(highlight=False, width=_WIDTH_OF_A_PIPE)
    return made


def table(title: str, *columns: str, right: Sequence[str] = ()) -> Table:
    """Returns an empty table.

    Args:
        title: above it.
        columns: their heads; the first one is never broken over lines.
        right: those whose cells are numbers.
    """
    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(columns):
        made.add_column(
            name,
            justify="right" if name in right else "left",
            no_wrap=index == 0,
            overflow="fold",
        )
    return made


def print_json(value: Any) -> None:
    """Prints a value as JSON; dataclasses, paths, times and enumerations become plain ones."""
    print(json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def figure(value: float | None, digits: int = 4) -> str:
    """Returns a number for a cell, or a dash."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def duration(seconds: float) -> str:
    """Returns a time span, such as 42 s, 3:07 min or 1:12 h."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60}:{int(seconds) % 60:02} min"
    return f"{int(seconds) // 3600}:{int(seconds) % 3600 // 60:02} h"


def size(number: int) -> str:
    """Returns a number of bytes, such as 14.2 MB."""
    value, unit = float(number), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(inner) for inner in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    return os.fspath(value) if isinstance(value, Path) else value
