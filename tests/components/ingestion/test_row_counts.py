import pytest

from components.contracts.ingestion_summary import IngestionSummary
from components.errors import UserError
from components.ingestion.row_counts import check, line, summarize

COUNTS = [
    (("rows_read", ""), 10),
    (("dropped_without_abstract", ""), 2),
    (("dropped_without_label", ""), 1),
    (("dropped_duplicate_ids", ""), 1),
    (("in_split:train", "math"), 3),
    (("in_split:train", "cs"), 1),
    (("in_split:test", "cs"), 2),
    (("with_words", "100"), 1),
    (("with_words", "9"), 5),
    (("unreadable_dates", ""), 3),
    (("unreadable_date", "2 May 07"), 2),
    (("unreadable_date", "1/5/2007"), 1),
]


def test_counts_become_totals_and_a_table_of_splits() -> None:
    summary = summarize(COUNTS, files=2, split_names=["train", "test"])
    assert summary.rows_kept == 6
    assert summary.splits == {"train": {"cs": 1, "math": 3}, "test": {"cs": 2}}
    assert summary.totals()["rows_train"] == 4
    assert summary.totals()["files"] == 2
    assert list(summary.words.items()) == [(9, 5), (100, 1)]
    assert (summary.unreadable_dates, summary.unreadable_date) == (3, "1/5/2007")
    assert "rows_read 10" in line(summary)
    assert "words" not in line(summary)
    assert "\n" not in line(summary)


def test_json_gives_the_same_summary_back() -> None:
    summary = summarize(COUNTS, files=2, split_names=["train", "test"])
    assert IngestionSummary.from_json(summary.to_json()) == summary


def test_no_row_left_says_why() -> None:
    summary = summarize(COUNTS[:3], 1, ["train"])
    with pytest.raises(UserError, match=r"d/\*: no row is left of 10 read \(2 without text, 1 "):
        check(summary, "d/*")


def test_an_empty_split_is_named() -> None:
    summary = summarize(COUNTS, 1, ["train", "eval", "test"])
    with pytest.raises(UserError, match="split 'eval' is empty, since only 6 rows are left of 10"):
        check(summary, "d/x.parquet")


def test_empty_split_of_many_small_classes_names_the_classes() -> None:
    counts = [(("rows_read", ""), 20), *((("in_split:train", f"c{n}"), 1) for n in range(20))]
    summary = summarize(counts, 1, ["train", "eval"])
    with pytest.raises(UserError) as error:
        check(summary, "d/x.parquet")
    assert str(error.value) == (
        "d/x.parquet: split 'eval' is empty, since each class is divided by itself, and the 20 "
        "rows have 20 classes. Does data.columns.label name the class? Give each class more rows."
    )
