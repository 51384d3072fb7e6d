"""What is written is read back the same."""

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from components.report.config_toml import to_toml

KEYS = st.text(st.characters(blacklist_categories=("Cs",)), max_size=6)
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**60), 2**60),
    st.floats(allow_nan=False),
    st.text(st.characters(blacklist_categories=("Cs",))),
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3))


@given(st.dictionaries(KEYS, st.one_of(VALUES, st.dictionaries(KEYS, VALUES, max_size=3))))
def test_tables_come_back(table: dict[str, object]) -> None:
    # An empty table has no line of its own.
    expected = {name: value for name, value in table.items() if value != {}}
    assert tomli.loads(to_toml(table)) == expected


def test_nothing_is_left_out_and_order_does_not_matter() -> None:
    table = {"a": {"b": {"c": 1}, "d": None, "e": [0.5, 1e-7]}, "f": "x"}
    assert to_toml(table) == 'f = "x"\n\n[a]\ne = [0.5, 1e-07]\n\n[a.b]\nc = 1\n'


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="has no form in TOML"):
        to_toml({"a": object()})
