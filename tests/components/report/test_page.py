"""What the page says against what its sources hold; hostile texts; missing parts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from bs4 import BeautifulSoup, Tag

from components.metrics.bootstrap import bootstrap
from components.report.page import (
    NOTHING,
    between,
    length_statistics,
    number,
    render,
    signed,
    visible,
)
from components.report.run_facts import collect

from .conftest import CLASSES, HUGE, MadeRun


@pytest.fixture(scope="module")
def parsed(page: str) -> BeautifulSoup:
    return BeautifulSoup(page, "html.parser")


def table(parsed: BeautifulSoup, label: str) -> list[dict[str, str]]:
    """The rows of the table in the region of this name, by column; a repeated one is numbered."""
    region = parsed.find(attrs={"aria-label": label, "role": "region"})
    assert isinstance(region, Tag), label
    heads: list[str] = []
    for cell in region.thead.find_all("th"):
        name = words(cell)
        heads.append(f"{name} {heads.count(name) + 1}" if name in heads else name)
    rows = []
    for row in region.tbody.find_all("tr"):
        cells = row.find_all(["td", "th"])
        assert len(cells) == len(heads)
        rows.append(dict(zip(heads, map(words, cells), strict=True)))
    return rows


def words(element: Tag) -> str:
    return " ".join(element.get_text(" ").split())


def test_metrics_and_their_intervals_are_those_of_the_sources(run: MadeRun, parsed) -> None:
    found = {row["Metric"]: row for row in table(parsed, "Metrics with 95 % intervals")}
    expected = bootstrap(run.labels, run.scores, run.baseline)
    overall, earlier = run.metrics["overall"], run.metrics["baseline"]["overall"]
    names = {
        "Accuracy": "accuracy",
        "Macro-F1": "macro_f1",
        "Weighted F1": "weighted_f1",
        "Log loss (nats)": "cross_entropy",
        "ECE": "expected_calibration_error",
    }
    for name, key in names.items():
        row, change = found[name], expected.change.overall[key]
        assert row["This model"] == f"{overall[key]:.4f}"
        assert row["95 % interval"] == between(expected.candidate.overall[key])
        assert row["Earlier model"] == f"{earlier[key]:.4f}"
        assert row["Change"] == signed(overall[key] - earlier[key])
        assert row["95 % interval 2"] == between(change, sign=True)
        less_is_better = key in ("cross_entropy", "expected_calibration_error")
        better = (change.value > 0) != less_is_better
        assert row["In words"] == ("better" if better else "worse")


def test_verdict_names_the_earlier_model_and_where_the_model_went(parsed) -> None:
    verdict = words(parsed.find(id="verdict"))
    assert "✓ Blessed" in verdict
    assert "Pushed to /serving/arxiv/17" in verdict
    assert "artifact 9, /artifacts/model/9" in verdict
    assert parsed.title.get_text().startswith("Blessed")


def test_model_that_is_not_blessed_says_by_which_threshold(
    make_run: Callable[..., MadeRun],
) -> None:
    parsed = BeautifulSoup(make_run(blessed=False).page(), "html.parser")
    verdict = words(parsed.find(id="verdict"))
    assert "✗ Not blessed accuracy 0.7 is below the threshold 0.99 (overall)" in verdict
    assert "Nothing was pushed" in verdict
    (row,) = table(parsed, "Thresholds")
    assert (row["Bound"], row["Outcome"]) == ("0.99", "✗ missed")
    assert parsed.title.get_text().startswith("Not blessed")


def test_first_model_has_nothing_to_be_compared_with(make_run: Callable[..., MadeRun]) -> None:
    run = make_run(compared=False)
    parsed = BeautifulSoup(run.page(), "html.parser")
    assert "There is no earlier pushed model" in words(parsed.find(id="verdict"))
    (row, *_) = table(parsed, "Metrics with 95 % intervals")
    assert list(row) == ["Metric", "This model", "95 % interval"]
    assert "Change of F1" not in table(parsed, "Precision, recall and F1 of each class")[0]


def test_rows_splits_and_classes_are_ingestions(run: MadeRun, parsed) -> None:
    rows = {row["Rows"]: row["Count"] for row in table(parsed, "Rows left out, and rows of note")}
    assert rows["dropped, without text"] == "4"
    assert rows["dropped, duplicate id (the latest is kept)"] == "3"
    assert rows["kept, with the text of another row (in the same split)"] == "6"
    found = {row["Class"]: row for row in table(parsed, "Texts by class and split")}
    assert list(found) == [*CLASSES, "all"]
    for name in CLASSES:
        counts = [run.ingestion.splits[split][name] for split in ("train", "eval", "test")]
        assert [found[name][split] for split in ("train", "eval", "test")] == [
            str(n) for n in counts
        ]
        assert found[name]["All"] == str(sum(counts))
        assert found[name]["Share"] == f"{sum(counts) / 12:.2f} %"
    assert found["all"]["All"] == "1,200"


def test_lengths_are_those_of_all_papers(parsed) -> None:
    (row,) = table(parsed, "Words per cleaned text")
    lengths = np.repeat([10, 100, 300], [100, 1000, 100])
    assert row == {
        "mean": f"{lengths.mean():.1f}", "sd": f"{lengths.std(ddof=1):.1f}", "min": "10",
        "p50": "100", "p90": "100", "p95": "300", "p99": "300", "max": "300",
    }  # fmt: skip
    assert "The model reads the first 160 words; 100 texts are longer." in words(
        parsed.find(id="data")
    )


def test_percentiles_are_numpys() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 400, 5000)
    values, rows = np.unique(lengths, return_counts=True)
    found = length_statistics(dict(zip(values.tolist(), rows.tolist(), strict=True)))
    assert found["p95"] == np.percentile(lengths, 95)
    assert found["sd"] == pytest.approx(lengths.std(ddof=1))
    assert length_statistics({7: 1})["sd"] == 0


def test_words_and_vectors_are_the_trainers(parsed) -> None:
    data = words(parsed.find(id="data"))
    assert "94.1 % of running words" in data
    assert "<gans> 77, qubits 5." in data
    rows = {row["Words of the vocabulary"]: row["Count or value"]
            for row in table(parsed, "Words and their vectors")}  # fmt: skip
    assert rows["mean of the embedding matrix"] == "0.0011"
    assert rows["standard deviation of the embedding matrix"] == "0.4242"


def test_anomalies_and_drift_are_the_gates(parsed) -> None:
    data = words(parsed.find(id="data"))
    assert "warning , split train, column abstract: <odd>" in data
    assert "/artifacts/accepted/4" in data
    (row,) = table(parsed, "Drift and skew")
    assert (row["Distance"], row["Allowed"]) == ("0.0123", "0.1")


def test_training_marks_the_best_epoch_and_the_switch(parsed) -> None:
    training = words(parsed.find(id="training"))
    assert "epoch 3 of 4 (phase 2): eval log loss 0.5500" in training
    assert "phase 2, from epoch 3 on" in training
    assert "NVIDIA <H100>" in training
    assert "cuDNN's LSTM kernel ran" in training
    rows = table(parsed, "Every epoch")
    assert [row["Epoch"] for row in rows] == ["1", "2", "3, best", "4"]
    assert [row["eval"] for row in rows] == ["0.8000", "0.7000", "0.5500", "0.6000"]
    assert {row["Learning rate"] for row in rows} == {"0.002"}


def test_classes_have_their_figures_with_intervals(run: MadeRun, parsed) -> None:
    own = bootstrap(run.labels, run.scores, run.baseline).candidate.per_class
    rows = table(parsed, "Precision, recall and F1 of each class")
    for i, (name, row) in enumerate(zip(CLASSES, rows, strict=True)):
        figures = run.metrics["overall"]["per_class"][name]
        assert (row["Class"], row["Texts"]) == (name, str(figures["support"]))
        for score in ("precision", "recall", "f1"):
            shown = row["F1" if score == "f1" else score.capitalize()]
            assert shown == f"{figures[score]:.3f} ({between(own[score][i], 2)})"


def test_confusion_matrix_has_counts_and_row_shares(run: MadeRun, parsed) -> None:
    for name, counts, row in zip(
        CLASSES, run.metrics["overall"]["confusion_matrix"],
        table(parsed, "Confusion matrix"), strict=True,
    ):  # fmt: skip
        assert (row["True class"], row["All"]) == (name, str(sum(counts)))
        shown = [f"{n} {100 * n / sum(counts):.1f} %" for n in counts]
        assert [row[column] for column in CLASSES] == shown


def test_reliability_bins_are_the_evaluators(run: MadeRun, parsed) -> None:
    bins = [one for one in run.metrics["overall"]["reliability"] if one["examples"]]
    rows = table(parsed, "Reliability diagram")
    assert [row["Texts"] for row in rows] == [str(one["examples"]) for one in bins]
    assert [row["Share that is right"] for row in rows] == [f"{b['accuracy']:.3f}" for b in bins]
    error = run.metrics["overall"]["expected_calibration_error"]
    assert f"(ECE): {error:.4f}" in words(parsed.find(id="quality"))


def test_slices_are_sorted_by_how_far_they_fall_below(run: MadeRun, parsed) -> None:
    rows = table(parsed, "All slices")
    overall = run.metrics["overall"]["accuracy"]
    expected = sorted(run.metrics["slices"], key=lambda one: one["accuracy"])
    assert [row["Accuracy"] for row in rows] == [f"{one['accuracy']:.3f}" for one in expected]
    assert rows[0]["Gap"] == signed(expected[0]["accuracy"] - overall, 3)
    named = {"year": "year", "final_category": "class"}
    sizes = {f"{named[s['feature']]} {s['value']}": s["examples"] for s in run.metrics["slices"]}
    assert {row["Slice"]: int(row["Texts"]) for row in rows} == sizes


def test_hostile_texts_are_shown_and_change_nothing(page: str, parsed) -> None:
    mistakes = parsed.select("ol.mistakes > li")
    assert len(mistakes) == 20
    shown = words(mistakes[0])
    assert "<script>window.ran = true</script>" in shown
    assert "onerror='window.ran = true'" in shown
    assert not parsed.find_all(["script", "img", "iframe", "object", "embed", "form"])
    assert not [one for one in parsed.find_all(True) if any(a.startswith("on") for a in one.attrs)]
    assert not re.search("[\\x00-\\x08\\u202e]", page)
    assert f"the text has {len(HUGE):,} characters" in words(mistakes[1])
    assert len(page) < 400_000


def test_mistakes_are_the_most_confident_ones(run: MadeRun, parsed) -> None:
    answers = run.scores.argmax(axis=1)
    wrong = np.flatnonzero(answers != run.labels)
    order = wrong[np.argsort(-run.scores[wrong, answers[wrong]], kind="stable")][:20]
    heads = [words(one) for one in parsed.select("ol.mistakes .head")]
    assert heads == [
        f"{CLASSES[answers[row]]} at {run.scores[row].max():.3f}, labelled "
        f"{CLASSES[run.labels[row]]} ({run.scores[row, run.labels[row]]:.3f}) · id-{row}"
        for row in order
    ]
    texts = [words(one) for one in parsed.select("ol.mistakes .text")]
    assert texts[2:] == [f"abstract {row} on $x_{row}$" for row in order[2:]]
    assert f"{len(wrong)} of 240 texts" in words(parsed.find(id="quality"))


def test_command_and_configuration_make_the_run_again(parsed) -> None:
    lineage = parsed.find(id="lineage")
    assert "make env\n.venv/bin/python -m pipeline run --config run.toml" in lineage.get_text()
    assert 'name = "arxiv-<test>"' in lineage.get_text()
    assert "[training.phase1]\nepochs = 2" in lineage.get_text()
    assert "tensorflow 2.16.2" in words(lineage)


def test_headings_are_in_order_and_ids_are_unique(parsed) -> None:
    levels = [int(one.name[1]) for one in parsed.find_all(re.compile("^h[1-6]$"))]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    ids = [one["id"] for one in parsed.find_all(id=True)]
    assert len(ids) == len(set(ids))


def test_every_chart_is_named_and_tells_its_figures(run: MadeRun, parsed) -> None:
    drawings = parsed.select("figure svg")
    assert len(drawings) == 10
    assert all(one["role"] == "img" and one["aria-label"] for one in drawings)
    tips = {
        one["aria-label"]: [tip.get_text() for tip in one.find_all("title")] for one in drawings
    }
    assert "cs: 475" not in tips["Texts of each class"]
    assert any(tip.startswith("cs: ") for tip in tips["Texts of each class"])
    assert tips["Log loss by epoch"][:2] == [
        "epoch 1 (phase 1): train 0.8", "epoch 2 (phase 1): train 0.8",
    ]  # fmt: skip
    assert "epoch 3 (phase 2): eval 0.55" in tips["Log loss by epoch"]
    f1 = run.metrics["overall"]["per_class"]["cs"]["f1"]
    assert any(
        tip.startswith(f"cs, this model: F1 {f1:.3f}")
        for tip in tips["F1 of each class with 95 % interval"]
    )


def test_page_needs_nothing_but_itself(page: str, parsed) -> None:
    (policy,) = (
        one["content"] for one in parsed.find_all("meta", {"http-equiv": "Content-Security-Policy"})
    )
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    targets = {one.get("href", "") for one in parsed.find_all(["a", "link", "use"])}
    assert all(target.startswith(("#", "data:")) or not target for target in targets)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_predictions_of_another_model_are_refused(make_run: Callable[..., MadeRun]) -> None:
    run = make_run()
    metrics: dict[str, Any] = json.loads((run.sources.metrics / "metrics.json").read_text())
    metrics["overall"]["accuracy"] -= 0.1
    (run.sources.metrics / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(RuntimeError, match="are not of one model and split"):
        collect(run.sources)


def test_artifacts_without_lengths_and_drift_say_so(make_run: Callable[..., MadeRun]) -> None:
    run = make_run(compared=False)
    ingestion = json.loads((run.sources.examples / "ingestion.json").read_text())
    ingestion["words"] = {}
    (run.sources.examples / "ingestion.json").write_text(json.dumps(ingestion))
    (run.sources.accepted / "distances.json").write_text('{"previous": null, "distances": []}')
    (run.sources.accepted / "findings.json").write_text("[]")
    data = words(BeautifulSoup(render(collect(run.sources)), "html.parser").find(id="data"))
    assert "Length of texts Not recorded." in data
    assert "no earlier accepted data to measure drift against" in data
    assert "None: every split fits the reviewed schema." in data


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x00b", "a\N{REPLACEMENT CHARACTER}b"),
        ("a\u202eb\u2066c", "abc"),
        ("a\r\nb\tc", "a\nb\tc"),
        ("\ud800", "\N{REPLACEMENT CHARACTER}"),
        ("<é∀>", "<é∀>"),
    ],
)
def test_characters_that_steer_are_taken_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(None, NOTHING), (float("nan"), NOTHING), (0.5, "0.5000")]
)
def test_figures_that_are_none_are_dashes(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_page_says_which_code_made_it(run: MadeRun) -> None:
    facts = collect(run.sources)
    made = "make env\n.venv/bin/python -m pipeline run --config run.toml"
    for commit, command in (
        ("ab" * 20 + "-dirty", f"git checkout {'ab' * 20}\n{made}"),
        ("", made),
    ):
        parsed = BeautifulSoup(render(replace(facts, commit=commit)), "html.parser")
        shown = parsed.find(attrs={"aria-label": "Command to reproduce"})
        assert isinstance(shown, Tag)
        assert shown.get_text() == command
        text = parsed.get_text()
        assert ("(modified)" in text) == bool(commit)
        assert ("changes that are not in this commit" in text) == bool(commit)
        assert ("is in no git repository" in text) == (not commit)
