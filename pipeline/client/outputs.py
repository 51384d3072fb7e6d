"""Answers as a table, JSON lines or CSV, written row by row."""

from __future__ import annotations

import csv
import json
import shutil
from abc import ABC, abstractmethod
from typing import IO, Any

from pipeline.client.api import Classification, VersionStatus
from pipeline.client.errors import WrongSignatureError, one_line
from pipeline.client.inputs import Row

TABLE = "table"
JSON = "json"
CSV = "csv"
FORMATS = (TABLE, JSON, CSV)

_TEXT_WIDTH = 60
# No terminal shows more of a text.
_EXCERPT_BYTES = 2000


class Writer(ABC):
    """Writes answers to a text stream.

    Args:
        stream: where to.
        identifier: name of the id field; None where rows have none.
    """

    def __init__(self, stream: IO[str], identifier: str | None) -> None:
        self._stream = stream
        self._identifier = identifier

    @abstractmethod
    def write(self, row: Row, answer: Classification) -> None:
        """Writes one answer.

        Raises:
            OSError: the stream takes no more.
        """


class TableWriter(Writer):
    """The two best subjects and the start of the text, in columns."""

    def __init__(self, stream: IO[str], identifier: str | None) -> None:
        super().__init__(stream, identifier)
        self._width = 0
        self._room = _TEXT_WIDTH

    def write(self, row: Row, answer: Classification) -> None:
        """See :meth:`Writer.write`."""
        if not self._width:
            self._width = max(len("label"), *map(len, answer.scores))
            self._head()
        best = sorted(answer.scores.items(), key=lambda pair: -pair[1])
        # The label first, also where two subjects tie.
        second = next((pair for pair in best if pair[0] != answer.label), ("", 0.0))
        cells = [self._pair(answer.label, f"{answer.score:.3f}")]
        cells.append(self._pair(second[0], f"{second[1]:.3f}"))
        if self._identifier:
            cells.append(f"{one_line(str(row.identifier)):<20}")
        cells.append(self._excerpt(row.text))
        self._stream.write("  ".join(cells).rstrip() + "\n")

    def _head(self) -> None:
        if self._stream.isatty():
            taken = 2 * (self._width + 9) + (22 if self._identifier else 0)
            self._room = max(shutil.get_terminal_size().columns - taken, 10)
        cells = [self._pair("label", "score"), self._pair("next", "score")]
        if self._identifier:
            cells.append(f"{self._identifier:<20}")
        self._stream.write("  ".join([*cells, "text"]) + "\n")

    def _pair(self, name: str, score: str) -> str:
        return f"{name:<{self._width}}  {score:>5}"

    def _excerpt(self, text: bytes) -> str:
        from rich.cells import cell_len, set_cell_size

        # A text must not move the cursor or colour the terminal.
        line = one_line(text[:_EXCERPT_BYTES].decode("utf-8", "replace"))
        if cell_len(line) <= self._room:
            return line
        return set_cell_size(line, self._room - 3).rstrip() + "..."


class JsonWriter(Writer):
    """One JSON object a line, in ASCII."""

    def write(self, row: Row, answer: Classification) -> None:
        """See :meth:`Writer.write`."""
        shown: dict[str, Any] = {"source": row.source, "row": row.number}
        if self._identifier:
            shown[self._identifier] = row.identifier
        shown["label"] = answer.label
        shown["score"] = digits(answer.score)
        shown["scores"] = {name: digits(score) for name, score in answer.scores.items()}
        self._stream.write(json.dumps(shown, default=str) + "\n")


class CsvWriter(Writer):
    """A column for each subject's score."""

    def __init__(self, stream: IO[str], identifier: str | None) -> None:
        super().__init__(stream, identifier)
        self._csv = csv.writer(stream, lineterminator="\n")
        self._classes: list[str] | None = None

    def write(self, row: Row, answer: Classification) -> None:
        """See :meth:`Writer.write`.

        Raises:
            WrongSignatureError: the classes are not those of the answers before.
        """
        classes = list(answer.scores)
        identifier = [self._identifier] if self._identifier else []
        if self._classes is None:
            self._classes = classes
            self._csv.writerow(["source", "row", *identifier, "label", "score", *classes])
        if classes != self._classes:
            raise WrongSignatureError(
                f"{row.source}, row {row.number}: the model's classes changed since the first row; "
                "name a version and run again"
            )
        scores = [digits(score) for score in (answer.score, *answer.scores.values())]
        value = [row.identifier] if self._identifier else []
        self._csv.writerow([row.source, row.number, *value, answer.label, *scores])


def make_writer(form: str, stream: IO[str], identifier: str | None) -> Writer:
    """Returns the writer of a format.

    Args:
        form: one of :data:`FORMATS`.
        stream, identifier: see :class:`Writer`.
    """
    writers: dict[str, type[Any]] = {TABLE: TableWriter, JSON: JsonWriter, CSV: CsvWriter}
    writer: Writer = writers[form](stream, identifier)
    return writer


def write_status(versions: list[VersionStatus], form: str, stream: IO[str]) -> None:
    """Writes a model's versions.

    Args:
        versions: in the order in which they are shown.
        form: table or json.
        stream: where to.
    """
    if form == JSON:
        for one in versions:
            shown = {"version": one.version, "state": one.state, "message": one.message}
            stream.write(json.dumps(shown) + "\n")
        return
    width = max([len("version"), *(len(str(one.version)) for one in versions)])
    stream.write(f"{'version':<{width}}  state\n")
    for one in versions:
        stream.write(f"{one.version:<{width}}  {one.state:<9}  {one.message}".rstrip() + "\n")


def digits(score: float) -> float:
    """Returns a float32 with the nine digits that tell it from its neighbours, and no more."""
    return float(f"{score:.9g}")
