"""Counts what a corpus holds: classes, lengths, words, empty and repeated texts."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from components.arrow import pa
from components.ingestion import columns as roles

# A vocabulary needs no more texts than this to be estimated; all rows are counted.
_WORD_ROWS = 200_000


class Profile(NamedTuple):
    """What a corpus holds.

    Attributes:
        rows: all rows.
        without_text, without_label: rows that ingestion drops.
        classes: rows with a text by label, in the order of the scores.
        padded_labels: rows whose label has blanks around it; they are read without.
        similar_labels: pairs of labels that differ only in case or punctuation.
        duplicate_texts: rows whose cleaned text occurs in an earlier row.
        repeated_ids: rows whose id occurs in another row; ingestion keeps one of each.
        without_words: rows whose text has no words after cleaning.
        mean_bytes: mean length of a text in bytes of UTF-8.
        words: words of a cleaned text at quantiles .5 and .95, and at most.
        vocabulary: words that occur in two texts or more.
        with_id, with_date: shares of the rows.
        unreadable_dates: rows whose date is no date, and counts as missing.
    """

    rows: int
    without_text: int
    without_label: int
    classes: dict[str, int]
    padded_labels: int
    similar_labels: list[tuple[str, str]]
    duplicate_texts: int
    repeated_ids: int
    without_words: int
    mean_bytes: float
    words: tuple[int, int, int]
    vocabulary: int
    with_id: float
    with_date: float
    unreadable_dates: int

    @property
    def kept(self) -> int:
        """Rows with a text and a label."""
        return sum(self.classes.values())

    @property
    def majority(self) -> float:
        """Share of the largest class: the accuracy of always guessing it."""
        return max(self.classes.values()) / self.kept

    @property
    def entropy(self) -> float:
        """Log loss of guessing by the classes' shares, in nats."""
        shares = [count / self.kept for count in self.classes.values()]
        return -sum(share * math.log(share) for share in shares)


def profile(batches: Iterable[roles.Canonical], clean: Callable[[bytes], bytes]) -> Profile:
    """Counts a corpus in one pass; memory grows with its distinct words and by 16 bytes per row.

    Args:
        batches: from `components.ingestion.columns.canonical`.
        clean: the text cleaning, from UTF-8 to UTF-8.
    """
    rows = without_text = without_label = padded = without_words = total_bytes = 0
    with_id = with_date = unreadable = 0
    classes: Counter[str] = Counter()
    documents: Counter[bytes] = Counter()
    lengths: Counter[int] = Counter()
    texts, ids = bytearray(), bytearray()
    for batch, unreadable_dates, _, padded_labels in batches:
        unreadable += unreadable_dates
        padded += padded_labels
        rows += len(batch)
        text, label = batch.column(roles.TEXT), batch.column(roles.LABEL)
        known = batch.column(roles.ID).drop_null()
        with_id += len(known)
        ids += b"".join(map(_digest, known.cast(pa.binary()).to_pylist()))
        with_date += len(batch) - batch.column(roles.DATE).null_count
        for one, name in zip(text.cast(pa.binary()).to_pylist(), label.to_pylist(), strict=True):
            without_text += one is None
            without_label += one is not None and name is None
            if one is None or name is None:
                continue
            classes[name] += 1
            total_bytes += len(one)
            words = clean(one).split()
            without_words += not words
            lengths[len(words)] += 1
            texts += _digest(b" ".join(words))
            if len(texts) <= 8 * _WORD_ROWS:
                documents.update(set(words))
    kept = max(sum(classes.values()), 1)
    return Profile(
        rows=rows,
        without_text=without_text,
        without_label=without_label,
        classes={name: classes[name] for name in sorted(classes, key=_order)},
        padded_labels=padded,
        similar_labels=_similar(classes),
        duplicate_texts=_repeats(texts),
        repeated_ids=_repeats(ids),
        without_words=without_words,
        mean_bytes=total_bytes / kept,
        words=_quantiles(lengths),
        vocabulary=sum(count > 1 for count in documents.values()),
        with_id=with_id / max(rows, 1),
        with_date=with_date / max(rows, 1),
        unreadable_dates=unreadable,
    )


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=8).digest()


def _repeats(digests: bytearray) -> int:
    found = np.frombuffer(digests, "<u8")
    return len(found) - len(np.unique(found))


def _order(label: str) -> tuple[int, float, str]:
    """Orders integers by value, before all other labels."""
    return (0, int(label), label) if _is_integer(label) else (1, 0, label)


def _is_integer(label: str) -> bool:
    return re.fullmatch(r"-?[0-9]{1,18}", label) is not None


def _similar(labels: Iterable[str]) -> list[tuple[str, str]]:
    seen: dict[str, str] = {}
    pairs = []
    for label in sorted(label for label in labels if not _is_integer(label)):
        key = "".join(char for char in label.casefold() if char.isalnum())
        if key and key in seen:
            pairs.append((seen[key], label))
        seen.setdefault(key, label)
    return pairs


def _quantiles(lengths: Counter[int]) -> tuple[int, int, int]:
    if not lengths:
        return 0, 0, 0
    values = np.array(sorted(lengths))
    reached = np.cumsum([lengths[value] for value in values.tolist()])
    median, most = (int(values[np.searchsorted(reached, q * reached[-1])]) for q in (0.5, 0.95))
    return median, most, int(values[-1])
