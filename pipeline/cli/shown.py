"""How commands print: tables for people, JSON for programs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from pydantic_core import to_json
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

_WIDTH_OF_A_PIPE = 240
_NARROWEST_CELL = 4
NOTHING = "-"


def console() -> Console:
    """Returns a console for standard output; for a pipe it is wide, so that no cell is cut."""
    made = Console(highlight=False, soft_wrap=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made = Console(highlight=False, width=_WIDTH_OF_A_PIPE)
    return made


def table(title: str, *columns: str, right: Sequence[str] = ()) -> Table:
    """Returns an empty table; cells of its first column are never wrapped."""
    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(columns):
        made.add_column(
            name,
            justify="right" if name in right else "left",
            no_wrap=index == 0,
            overflow="fold",
        )
    return made


def show(made: Table) -> None:
    """Prints a table; the first column, which holds ids, is never cut.

    On a terminal that is too narrow the rows are wider than it, and wrap.
    """
    first, *others = made.columns
    first.min_width = max(cell_len(str(cell)) for cell in (first.header, *first.cells))
    on = console()
    padding = 2 * len(others)
    on.width = max(on.width, first.min_width + _NARROWEST_CELL * len(others) + padding)
    on.print(made, crop=False)


def pairs(title: str, rows: Iterable[tuple[str, str]]) -> Table:
    """Returns a table of names and values, without headers."""
    made = table(title, "", "")
    made.show_header = False
    for row in rows:
        made.add_row(*row)
    return made


def print_json(value: Any) -> None:
    """Prints a value as JSON, including dataclasses, paths, times and enumerations."""
    print(to_json(value, indent=2, inf_nan_mode="null").decode())


def number(value: float | None, digits: int = 4) -> str:
    """Formats a number for a cell; None is a dash."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def duration(seconds: float) -> str:
    """Formats a duration, such as 0:03:07."""
    return str(timedelta(seconds=round(seconds)))
