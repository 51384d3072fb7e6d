"""What ingestion read, dropped and wrote."""

from __future__ import annotations

from components.contracts import features
from components.contracts.properties import split_rows
from components.contracts.record import Record


class IngestionSummary(Record):
    """Counts of one ingestion; ``rows_read`` is ``rows_kept`` plus the ``dropped_`` counts."""

    files: int = 0
    rows_read: int = 0
    dropped_without_abstract: int = 0
    dropped_without_label: int = 0
    dropped_duplicate_ids: int = 0
    rows_kept: int = 0
    rows_without_id: int = 0
    """Rows with an abstract and a label, but no id; kept."""
    date_column: str = features.DATE
    unreadable_dates: int = 0
    """Rows whose update date is not an ISO date; kept, without date."""
    unreadable_date: str = ""
    """One of those dates; "" if there is none."""
    padded_labels: int = 0
    """Rows whose label has blanks around it, which are ignored."""
    cleaned_to_nothing: int = 0
    """Rows whose abstract has no words after cleaning; kept."""
    duplicate_texts: int = 0
    """Kept rows with the same cleaned text as another kept row; they share its split."""
    conflicting_texts: int = 0
    """Cleaned texts that occur with more than one label; kept."""
    conflicting_rows: int = 0
    """Rows of those texts."""
    splits: dict[str, dict[str, int]] = {}
    """Rows by split, then by label."""
    words: dict[int, int] = {}
    """Rows by the number of words of their cleaned abstract, in ascending order."""

    def totals(self) -> dict[str, int]:
        """Returns the counts except ``words`` as a flat table; see `properties.split_rows`."""
        flat = {key: n for key, n in self if isinstance(n, int)}
        return flat | {split_rows(split): sum(n.values()) for split, n in self.splits.items()}
