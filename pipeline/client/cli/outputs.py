"""Writes predictions as a table, JSON lines or CSV, row by row.

A writer takes the stream and the name of the id field (None if rows have no id), and raises OSError
if the stream cannot be written to.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import json
import shutil
from collections.abc import Callable
from typing import IO, Any, Literal

from components.errors import one_line, printable
from pipeline.client.cli.inputs import Row
from pipeline.client.errors import WrongSignatureError
from pipeline.client.types import Classification, VersionStatus

Format = Literal["table", "json", "csv", "csv-raw"]
Writer = Callable[[Row, Classification], None]

_TEXT_WIDTH = 60
_ID_WIDTH = 20
# The last four are the full-width forms of the first four.
_FORMULA_SIGNS = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
# More than the width of any terminal.
_EXCERPT_BYTES = 2000


def table_writer(stream: IO[str], identifier: str | None) -> Writer:
    """Writes the two best classes and the start of the text, in columns."""
    widths: list[int] = []

    def write_cells(*cells: str) -> None:
        padded = [cell.ljust(width) for cell, width in zip(cells, [*widths, 0], strict=True)]
        stream.write("  ".join(padded).rstrip() + "\n")

    def write(row: Row, answer: Classification) -> None:
        if not widths:
            name = max(map(len, ["label", *answer.scores]))
            widths.extend([name, len("score")] * 2 + [_ID_WIDTH] * bool(identifier))
            names = [one_line(identifier)] if identifier else []
            write_cells("label", "score", "next", "score", *names, "text")
        room = _TEXT_WIDTH
        if stream.isatty():
            room = max(shutil.get_terminal_size().columns - sum(widths) - 2 * len(widths), 10)
        best = sorted(answer.scores.items(), key=lambda pair: -pair[1])
        # The label comes first even if two classes tie.
        second, score = next((pair for pair in best if pair[0] != answer.label), ("", 0.0))
        write_cells(
            *(answer.label, f"{answer.score:.3f}", second, f"{score:.3f}"),
            *([one_line(str(row.identifier))] if identifier else []),
            _excerpt(row.text, room),
        )

    return write


def _excerpt(text: bytes, room: int) -> str:
    from rich.cells import cell_len, set_cell_size

    # Control characters of a text must not reach the terminal.
    line = one_line(text[:_EXCERPT_BYTES].decode("utf-8", "replace"))
    return line if cell_len(line) <= room else set_cell_size(line, room - 3).rstrip() + "..."


def json_writer(stream: IO[str], identifier: str | None) -> Writer:
    """Writes one JSON object per line, in ASCII."""

    def write(row: Row, answer: Classification) -> None:
        shown: dict[str, Any] = {"source": row.source, "row": row.number}
        if identifier:
            shown[identifier] = row.identifier
        shown["label"] = answer.label
        shown["score"] = _digits(answer.score)
        shown["scores"] = {name: _digits(score) for name, score in answer.scores.items()}
        stream.write(json.dumps(shown, default=str) + "\n")

    return write


def csv_writer(stream: IO[str], identifier: str | None, *, raw: bool = False) -> Writer:
    """Writes a column per class; raises WrongSignatureError if the classes change.

    Control characters are replaced. Unless ``raw``, an apostrophe goes before a text that a
    spreadsheet would take for a formula: https://owasp.org/www-community/attacks/CSV_Injection.
    """
    table = csv.writer(stream, lineterminator="\n")
    columns: list[str] = []

    def write_cells(*cells: object) -> None:
        table.writerow([_inert(cell, raw) if isinstance(cell, str) else cell for cell in cells])

    def write(row: Row, answer: Classification) -> None:
        classes = list(answer.scores)
        if not columns:
            columns.extend(classes)
            name = [identifier] if identifier else []
            write_cells("source", "row", *name, "label", "score", *classes)
        if classes != columns:
            raise WrongSignatureError(
                f"{row.source}, row {row.number}: the model's classes changed since the first row; "
                "name a version and run again"
            )
        value = [row.identifier] if identifier else []
        scores = [_digits(score) for score in (answer.score, *answer.scores.values())]
        write_cells(row.source, row.number, *value, answer.label, *scores)

    return write


def _inert(cell: str, raw: bool) -> str:
    """Returns a text that is no formula; the text of a number stays as it is."""
    risky = cell.startswith(("\t", "\r")) or cell.lstrip().startswith(_FORMULA_SIGNS)
    with contextlib.suppress(ValueError):
        float(cell)
        risky = False
    return ("'" if risky and not raw else "") + printable(cell)


WRITERS: dict[Format, Callable[[IO[str], str | None], Writer]] = {
    "table": table_writer,
    "json": json_writer,
    "csv": csv_writer,
    "csv-raw": functools.partial(csv_writer, raw=True),
}


def write_status(versions: list[VersionStatus], form: Format, stream: IO[str]) -> None:
    """Writes a model's versions as a table or as JSON lines."""
    if form == "json":
        for one in versions:
            stream.write(json.dumps(vars(one)) + "\n")
        return
    width = max([len("version"), *(len(str(one.version)) for one in versions)])
    stream.write(f"{'version':<{width}}  state\n")
    for one in versions:
        stream.write(f"{one.version:<{width}}  {one.state:<9}  {one.message}".rstrip() + "\n")


def _digits(score: float) -> float:
    """Rounds a float32 to nine significant digits, which identify it."""
    return float(f"{score:.9g}")
