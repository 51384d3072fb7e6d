import pytest

from components.arrow import pa
from components.contracts.columns import ARXIV, Columns
from components.errors import UserError
from pipeline.corpora.roles import find_columns

ROWS = 40
PROSE = [f"a text of {i} and some more words" for i in range(ROWS)]


def table(**columns: list) -> pa.Table:
    return pa.table(columns)


def test_arxiv_columns_are_found() -> None:
    found = find_columns(
        table(
            id=[f"07{i:02}.1234" for i in range(ROWS)],
            title=["A short title here"] * ROWS,
            abstract=PROSE,
            doi=[None] * ROWS,
            primary_category=[["math.AG", "math.CO", "cs.LG", "cs.CL"][i % 4] for i in range(ROWS)],
            final_category=[["math", "math", "cs", "cs"][i % 4] for i in range(ROWS)],
            update_date=["2019-01-02"] * ROWS,
        )
    )
    assert found == ARXIV


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            {"review": PROSE, "rating": ["good", "bad", "so so", "bad"] * 10},
            Columns(text=("review",), label="rating", id="", date="", category=""),
        ),
        (
            {"text": PROSE, "y": [0, 1] * 20},
            Columns(text=("text",), label="y", id="", date="", category=""),
        ),
        (
            {
                "uid": list(range(ROWS)),
                "headline": [f"On {i}" for i in range(ROWS)],
                "body": PROSE,
                "topic": ["Физика 1", 'naïve "art" 2'] * 20,
            },
            Columns(text=("body",), label="topic", id="uid", date="", category=""),
        ),
        (
            {"message": PROSE, "spam": [True, False] * 20, "sent_date": ["2020-01-02T03"] * ROWS},
            Columns(text=("message",), label="spam", id="", date="sent_date", category=""),
        ),
    ],
)
def test_other_corpora_are_told_by_names_types_and_values(columns: dict, expected: Columns) -> None:
    assert find_columns(table(**columns)) == expected


def test_what_the_user_names_is_taken() -> None:
    rows = table(a=PROSE, b=PROSE[::-1], kind=["x", "y"] * 20, id=["same"] * ROWS)
    found = find_columns(rows, text=["b", "a"], label="kind", id="id", date="", category="")
    assert found == Columns(text=("b", "a"), label="kind", id="id", date="", category="")


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"n": [1, 2]}, {}, "no column holds texts of 3 or more words; name it with --text."),
        ({"text": PROSE}, {}, "no column looks like a label"),
        (
            {"text": PROSE, "a": ["x", "y"] * 20, "b": ["1", "2", "3", "4"] * 10},
            {},
            "several columns may be the label: 'a' (2 values), 'b' (4 values); name it with",
        ),
        ({"text": PROSE}, {"label": "topic"}, "there is no column 'topic'; the file has text"),
    ],
)
def test_what_cannot_be_told_is_asked_for(columns: dict, options: dict, message: str) -> None:
    with pytest.raises(UserError) as error:
        find_columns(table(**columns), **options)
    assert message in str(error.value)


def test_repeated_values_are_no_id_and_a_category_across_classes_is_none() -> None:
    found = find_columns(
        table(
            id=["a", "b"] * 20,
            abstract=PROSE,
            primary_category=["p", "q", "r", "s", "p"] * 8,
            final_category=["math", "cs"] * 20,
        )
    )
    assert (found.id, found.category) == ("", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": ["text", "text"]}, "column 'text' is named twice; give each one role"),
        ({"text": ["text"], "label": "text"}, "column 'text' is named twice"),
        ({"label": "kind", "date": "kind"}, "column 'kind' is named twice"),
    ],
)
def test_contradictory_options_are_one_line(options: dict, message: str) -> None:
    with pytest.raises(UserError) as error:
        find_columns(table(text=PROSE, kind=["x", "y"] * 20), **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_columns_of_one_name_and_broken_text() -> None:
    twice = pa.table([PROSE, PROSE, ["a", "b"] * 20], names=["text", "text", "label"])
    with pytest.raises(UserError, match="column 'text' occurs 2 times; keep one of them"):
        find_columns(twice)
    broken = pa.array([b"\xff one two three"] * ROWS, pa.binary())
    broken = pa.Array.from_buffers(pa.string(), ROWS, broken.buffers())
    found = find_columns(pa.table({"text": broken, "label": ["a", "b"] * 20}))
    assert found.text == ("text",)
