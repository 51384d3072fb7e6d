"""Charts of little, odd or no data; what they draw of plenty, the page's tests see."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from components.contracts.training_report import Epoch
from components.metrics.bootstrap import Interval, wilson
from components.report import charts

NONE = Interval(float("nan"), float("nan"), float("nan"))
SVG = "{http://www.w3.org/2000/svg}"


def words(drawing: str) -> list[str]:
    """The texts in a drawing, which must be well-formed."""
    return [text.text or "" for text in ET.fromstring(drawing).iter(f"{SVG}text")]


def tips(drawing: str) -> list[str]:
    return [title.text or "" for title in ET.fromstring(drawing).iter(f"{SVG}title")]


def test_class_names_are_not_taken_for_formulas_or_markup() -> None:
    drawing = charts.class_bars(["a$_b$", "<i>&"], [3, 1])
    assert {"a$_b$", "<i>&", "75.0%"} <= set(words(drawing))
    assert tips(drawing) == ["<i>&: 1 texts, 25.0%", "a$_b$: 3 texts, 75.0%"]


def test_class_without_a_figure_is_named_and_not_drawn() -> None:
    drawing = charts.f1_intervals(["cs", "econ"], [Interval(0.5, 0.4, 0.6), NONE], None)
    assert "econ" in words(drawing)
    assert tips(drawing)[0] == "cs, this model: F1 0.500 (0.400 to 0.600)"


def test_one_length_is_a_histogram() -> None:
    drawing = charts.length_histogram({7: 40}, {"p50": 7.0}, None)
    assert "7 to 7 words: 40 texts" in tips(drawing)
    assert sum(int(tip.split(": ")[1].split()[0]) for tip in tips(drawing)) == 40


def test_the_longest_texts_are_in_the_last_bar() -> None:
    drawing = charts.length_histogram({10: 99_990, 90: 5, 5000: 5}, {}, None)
    assert [tip for tip in tips(drawing) if not tip.endswith(": 0 texts")] == [
        "10 or more words: 100,000 texts"
    ]
    drawing = charts.length_histogram({10: 990, 100: 10}, {}, 64)
    assert "100 to 101 words: 10 texts" in tips(drawing)
    assert "cut off " in words(drawing)


def test_no_slice_and_no_bin_are_empty_charts() -> None:
    assert "overall, 0.800" in " ".join(words(charts.slice_intervals([], [], [], 0.8)))
    assert "100%" in words(charts.reliability([]))


def test_slices_below_the_whole_stand_out() -> None:
    drawing = charts.slice_intervals(
        ["year 2001", "year 2002"], [400, 10], [wilson(200, 400), wilson(5, 10)], 0.8
    )
    # Half of 400 is clearly below 80 %, half of 10 is not.
    assert tips(drawing) == [
        "year 2001: 50.0% of 400 texts (45.1% to 54.9%)",
        "year 2002: 50.0% of 10 texts (23.7% to 76.3%)",
    ]
    assert drawing.count("var(--second)") > 0


@pytest.mark.parametrize("rate", [0.001, 0.0])
def test_one_epoch_is_a_curve(rate: float) -> None:
    history = [Epoch(phase=1, learning_rate=rate)]
    drawing = charts.training_curve(
        "rate", "Rate", "rate", history, {"learning_rate": "rate"}, 0, log=rate > 0
    )
    assert f"epoch 1 (phase 1): rate {rate:.4g}" in tips(drawing)
    assert "phase 2" not in words(drawing)


def test_same_figures_give_the_same_drawing() -> None:
    first, second = (charts.class_bars(["cs", "math"], [2, 5]) for _ in range(2))
    assert first == second
    assert "#0101" not in first
