"""What ingestion read, left out and wrote: the content of ``ingestion.json``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence

from components.errors import UserError

FILE_NAME = "ingestion.json"

IN_SPLIT = "in_split:"
"""Prefix of the counts that are kept by class: ``in_split:train``."""
WITH_WORDS = "with_words"
"""Name of the counts that are kept by number of words."""


@dataclasses.dataclass(frozen=True)
class IngestionSummary:
    """Counts of one ingestion; ``rows_read`` is ``rows_kept`` plus the ``dropped_`` counts."""

    files: int = 0
    rows_read: int = 0
    dropped_without_abstract: int = 0
    dropped_without_label: int = 0
    dropped_duplicate_ids: int = 0
    rows_kept: int = 0
    rows_without_id: int = 0
    """Rows with an abstract and a label, but no id; kept."""
    unreadable_dates: int = 0
    """Rows whose update date is no ISO date; kept, without date."""
    cleaned_to_nothing: int = 0
    """Rows whose abstract has no word left after cleaning; kept."""
    duplicate_texts: int = 0
    """Rows kept whose cleaned text is that of another row kept; they share its split."""
    conflicting_texts: int = 0
    """Cleaned texts that occur under more than one label; kept."""
    conflicting_rows: int = 0
    """Rows of those texts."""
    splits: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    """Rows by split, then by label."""
    words: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Rows by the number of words of their cleaned abstract, in ascending order."""

    @classmethod
    def from_counts(
        cls, counts: Iterable[tuple[tuple[str, str], int]], files: int, split_names: Sequence[str]
    ) -> IngestionSummary:
        """Builds the summary from (name, label) counts; label is "" but for ``in_split:`` names,
        whose rows are counted by label, and ``with_words``, whose are by number of words.
        """
        found = dict(counts)
        splits: dict[str, dict[str, int]] = {}
        for split in split_names:
            name = IN_SPLIT + split
            splits[split] = {label: n for (key, label), n in sorted(found.items()) if key == name}
        words = {int(label): n for (key, label), n in found.items() if key == WITH_WORDS}
        totals = {key: n for (key, label), n in found.items() if not label}
        return cls(
            files=files,
            rows_kept=sum(sum(labels.values()) for labels in splits.values()),
            splits=splits,
            words={str(length): words[length] for length in sorted(words)},
            **totals,
        )

    @classmethod
    def from_json(cls, text: str) -> IngestionSummary:
        """Reads what :meth:`to_json` wrote."""
        return cls(**json.loads(text))

    def to_json(self) -> str:
        """Returns the content of the file, keys in the order of the fields."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"

    def totals(self) -> dict[str, int]:
        """Returns the counts but ``words``, flat; rows of a split are ``rows_<split>``."""
        flat = {key: n for key, n in dataclasses.asdict(self).items() if isinstance(n, int)}
        return flat | {f"rows_{split}": sum(n.values()) for split, n in self.splits.items()}

    def line(self) -> str:
        """Returns the counts as one line for the log."""
        return "Ingestion: " + ", ".join(f"{key} {n}" for key, n in self.totals().items())

    def check(self, where: str) -> None:
        """Checks that there is something to learn from.

        Args:
          where: the input, for the message.

        Raises:
          UserError: no row is left, or a split has none.
        """
        if not self.rows_kept:
            raise UserError(
                f"{where}: no row is left of {self.rows_read} read "
                f"({self.dropped_without_abstract} without abstract, "
                f"{self.dropped_without_label} without label). Give rows that have both."
            )
        for split, labels in self.splits.items():
            if not sum(labels.values()):
                raise UserError(
                    f"{where}: split {split!r} is empty, since only {self.rows_kept} rows are left "
                    f"of {self.rows_read} read. Give more papers or raise the share of {split!r}."
                )
