"""Base class of the JSON files that nodes pass to each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from components import atomic

_Record = TypeVar("_Record", bound="Record")


class Record(BaseModel):
    """The content of a JSON file: strict when written, lenient when read.

    Every field has a default and unknown keys are ignored, so that files written by older and newer
    code can be read.
    """

    model_config = ConfigDict(frozen=True)

    @classmethod
    def read(cls: type[_Record], path: Path) -> _Record:
        """Reads a file.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is not such a record.
        """
        return cls.from_json(path.read_text(encoding="utf-8"))

    @classmethod
    def find(cls: type[_Record], path: Path) -> _Record | None:
        """Reads a file; returns None if it is missing or is not such a record."""
        try:
            return cls.read(path)
        except (OSError, ValueError):
            return None

    @classmethod
    def from_json(cls: type[_Record], text: str) -> _Record:
        """Parses JSON; raises ValueError if it is not such a record."""
        # pydantic's own parser refuses the lone surrogates that stand for bytes in texts.
        return cls.model_validate(json.loads(text))

    def write(self, path: Path) -> None:
        """Writes the file atomically; creates missing folders."""
        atomic.write_text(path, self.to_json())

    def to_json(self) -> str:
        """Returns the record as ASCII; raises ValueError if a number is not finite."""
        return json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"
