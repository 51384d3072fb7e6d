"""Finds which columns of a table are the text, the label, the id and the date."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from components.arrow import is_text, pa, pc
from components.contracts.columns import ARXIV, Columns
from components.errors import UserError

# In order of preference, as whole names or after an underscore.
_TEXT_NAMES = (
    "text", "abstract", "body", "content", "description", "review", "message", "document",
    "summary",
)  # fmt: skip
_LABEL_NAMES = (
    "final_category", "label", "class", "category", "topic", "subject", "target", "sentiment",
    "rating", "section", "tag", "y",
)  # fmt: skip
_ID_NAMES = ("id", "uid", "uuid", "guid", "key")
_DATE_NAMES = ("update_date", "date", "published", "created", "updated", "time", "timestamp")

_MIN_WORDS = 3
_MAX_CLASSES = 1000
_ISO_DATE = rb"^\s*\d{4}-\d{2}-\d{2}"


def find_columns(
    table: pa.Table,
    *,
    text: Sequence[str] = (),
    label: str = "",
    id: str | None = None,
    date: str | None = None,
    category: str | None = None,
) -> Columns:
    """Chooses a column for each role from names, types and values.

    Args:
        table: the file's columns with some thousands of rows.
        text, label: what the user named; empty to find it.
        id, date, category: what the user named; "" for none, None to find it.

    Raises:
        UserError: a named column does not exist, or the text or the label cannot be told; lists the
            candidates and the option that decides.
    """
    for name in table.column_names:
        if (times := table.column_names.count(name)) > 1:
            raise UserError(f"column {name!r} occurs {times} times; keep one of them")
    named = [*text, label, id or "", date or "", category or ""]
    if missing := [name for name in named if name and name not in table.column_names]:
        raise UserError(
            f"there is no column {', '.join(map(repr, missing))}; "
            f"the file has {', '.join(table.column_names)}"
        )
    free = {name: table[name] for name in table.column_names if name not in named}
    found_text = tuple(text) or (_text(free),)
    for name in found_text:
        free.pop(name, None)
    if id is None:
        id = _first(free, _ID_NAMES, _is_unique)
        free.pop(id, None)
    if date is None:
        date = _first(free, _DATE_NAMES, _is_date)
    found_label = label or _label({name: free[name] for name in free if name != date})
    if category is None:
        default = ARXIV.category
        refines = default in free and default != found_label
        category = default if refines and _refines(free[default], table[found_label]) else ""
    return Columns.named(text=found_text, label=found_label, id=id, date=date, category=category)


def prose(columns: dict[str, pa.ChunkedArray]) -> dict[str, float]:
    """Returns the mean number of words of each column of texts of some length."""
    words = {name: _mean_words(column) for name, column in columns.items() if is_text(column.type)}
    return {name: mean for name, mean in words.items() if mean >= _MIN_WORDS}


def _text(columns: dict[str, pa.ChunkedArray]) -> str:
    words = prose(columns)
    if not words:
        raise UserError(
            f"no column holds texts of {_MIN_WORDS} or more words; name it with --text. "
            f"The file has {', '.join(columns)}"
        )
    return _by_name(words, _TEXT_NAMES) or max(words, key=lambda name: words[name])


def _label(columns: dict[str, pa.ChunkedArray]) -> str:
    classes = {name: _classes(column) for name, column in columns.items()}
    candidates = [name for name, count in classes.items() if count]
    if not candidates:
        raise UserError(
            "no column looks like a label (2 or more values, each on many rows); name it with "
            f"--label. Left besides the text: {', '.join(columns) or 'no column'}"
        )
    preferred = _by_name(candidates, _LABEL_NAMES)
    if not preferred and len(candidates) > 1:
        shown = ", ".join(f"{name!r} ({classes[name]} values)" for name in candidates)
        raise UserError(f"several columns may be the label: {shown}; name it with --label")
    return preferred or candidates[0]


def _classes(column: pa.ChunkedArray) -> int:
    """Returns the number of classes of a column that may be a label, else 0."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        return 0
    distinct = int(pc.count_distinct(_plain(column)).as_py())
    rows = len(column) - column.null_count
    return distinct if 2 <= distinct <= min(_MAX_CLASSES, rows // 2) else 0


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    return column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column


def _mean_words(column: pa.ChunkedArray) -> float:
    texts = [value for value in _plain(column).cast(pa.binary()).to_pylist() if value]
    return sum(len(text.split()) for text in texts) / max(len(texts), 1)


def _is_unique(column: pa.ChunkedArray) -> bool:
    kind = column.type
    if not (is_text(kind) or pa.types.is_integer(kind)) or not len(column):
        return False
    distinct = int(pc.count_distinct(_plain(column)).as_py())
    # Some ids occur twice in most files; the latest row of an id is kept.
    return column.null_count == 0 and distinct >= 0.99 * len(column)


def _is_date(column: pa.ChunkedArray) -> bool:
    if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
        return True
    if not is_text(column.type):
        return False
    values = [value for value in _plain(column).cast(pa.binary()).to_pylist() if value]
    shaped = sum(bool(re.match(_ISO_DATE, value)) for value in values)
    return bool(values) and shaped >= 0.95 * len(values)


def _refines(fine: pa.ChunkedArray, coarse: pa.ChunkedArray) -> bool:
    """Returns whether nearly each value of a column occurs with one value of the other only."""
    if not is_text(fine.type):
        return False
    pairs = pa.table({"fine": _plain(fine), "coarse": _plain(coarse)}).drop_null()
    counts = pairs.group_by(["fine", "coarse"]).aggregate([("coarse", "count")])
    best = counts.group_by("fine").aggregate([("coarse_count", "max")])
    total = pc.sum(best["coarse_count_max"]).as_py() or 0
    return len(best) > 2 and bool(total >= 0.95 * len(pairs))


def _first(
    columns: dict[str, pa.ChunkedArray],
    names: Sequence[str],
    fits: Callable[[pa.ChunkedArray], bool],
) -> str:
    return _by_name([name for name, column in columns.items() if fits(column)], names)


def _by_name(candidates: Iterable[str], names: Sequence[str]) -> str:
    """Returns the candidate with the most preferred name, or ""."""
    for wanted in names:
        for name in candidates:
            if name.lower() == wanted or name.lower().endswith("_" + wanted):
                return name
    return ""
