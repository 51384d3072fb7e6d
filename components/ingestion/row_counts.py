"""Builds an `IngestionSummary` from a Beam pipeline's counts, and checks it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from components.contracts.ingestion_summary import IngestionSummary
from components.errors import UserError

# With more classes, an empty split means that they have too few papers each.
_FEW_CLASSES = 10

IN_SPLIT = "in_split:"
"""Prefix of the counts by class, such as ``in_split:train``."""
WITH_WORDS = "with_words"
"""Name of the counts by number of words."""
UNREADABLE_DATE = "unreadable_date"
"""Name of the counts by examples of dates that cannot be read."""


def summarize(
    counts: Iterable[tuple[tuple[str, str], int]], files: int, split_names: Sequence[str]
) -> IngestionSummary:
    """Builds the summary from ((name, label), rows) counts.

    The label is the number of words for ``with_words``, a date for ``unreadable_date``, and "" for
    all other names without the prefix ``in_split:``.
    """
    found = dict(counts)
    splits: dict[str, dict[str, int]] = {}
    for split in split_names:
        name = IN_SPLIT + split
        splits[split] = {label: n for (key, label), n in sorted(found.items()) if key == name}
    words = {int(label): n for (key, label), n in found.items() if key == WITH_WORDS}
    return IngestionSummary(
        files=files,
        rows_kept=sum(sum(labels.values()) for labels in splits.values()),
        splits=splits,
        words=dict(sorted(words.items())),
        unreadable_date=min((label for key, label in found if key == UNREADABLE_DATE), default=""),
        **{key: n for (key, label), n in found.items() if not label},
    )


def line(summary: IngestionSummary) -> str:
    """Returns the counts as one line for the log."""
    return "Ingestion: " + ", ".join(f"{key} {n}" for key, n in summary.totals().items())


def check(summary: IngestionSummary, where: str) -> None:
    """Checks that no split is empty.

    Args:
        summary: counts of the ingestion.
        where: the input, for the message.

    Raises:
        UserError: no row is left, or a split is empty.
    """
    if not summary.rows_kept:
        raise UserError(
            f"{where}: no row is left of {summary.rows_read} read "
            f"({summary.dropped_without_abstract} without text, "
            f"{summary.dropped_without_label} without label). Give rows that have both."
        )
    classes = len({label for labels in summary.splits.values() for label in labels})
    for split, labels in summary.splits.items():
        if sum(labels.values()):
            continue
        rows, read = summary.rows_kept, summary.rows_read
        if classes > _FEW_CLASSES:
            raise UserError(
                f"{where}: split {split!r} is empty, since each class is divided by itself, and "
                f"the {rows} rows have {classes} classes. Does data.columns.label name the class? "
                "Give each class more rows."
            )
        raise UserError(
            f"{where}: split {split!r} is empty, since only {rows} rows are left "
            f"of {read} read. Give more rows or raise the share of {split!r}."
        )
