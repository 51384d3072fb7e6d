import pytest

from components.arrow import pa
from components.ingestion.columns import CANONICAL, Canonical
from pipeline.corpora.profile import profile


def batch(*rows: tuple[str | None, str | None]) -> Canonical:
    columns = {
        "id": [None] * len(rows),
        "text": [text for text, _ in rows],
        "label": [label for _, label in rows],
        "date": ["2020-01-01"] + [None] * (len(rows) - 1),
        "category": [None] * len(rows),
    }
    return Canonical(pa.RecordBatch.from_pydict(columns, CANONICAL), 0, "", 3)


def test_rows_classes_words_and_repeats_are_counted() -> None:
    found = profile(
        [
            batch(("a b c", "cs"), ("A  b c", "CS"), (None, "cs"), ("d", None)),
            batch(("é", "10"), ("b c d e", "9"), ("a b", "math")),
        ],
        lambda text: b" ".join(w for w in text.lower().split() if w.isalnum()),
    )
    assert (found.rows, found.kept, found.without_text, found.without_label) == (7, 5, 1, 1)
    assert found.classes == {"9": 1, "10": 1, "CS": 1, "cs": 1, "math": 1}
    assert list(found.classes) == ["9", "10", "CS", "cs", "math"]
    assert found.similar_labels == [("CS", "cs")]
    assert found.padded_labels == 6
    assert found.repeated_ids == 0
    assert found.duplicate_texts == 1
    assert found.without_words == 1
    assert found.words == (3, 4, 4)
    assert found.vocabulary == 3
    assert found.mean_bytes == pytest.approx((5 + 6 + 2 + 7 + 3) / 5)
    assert found.with_date == pytest.approx(2 / 7)
    assert found.majority == pytest.approx(0.2)
    assert found.entropy == pytest.approx(1.6094, abs=1e-4)
