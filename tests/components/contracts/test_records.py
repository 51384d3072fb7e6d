"""Records come back from their files as they were written, and files of other code can be read."""

from __future__ import annotations

import dataclasses
import importlib
import json
import pkgutil
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import RootModel

from components import contracts
from components.contracts.data_findings import Distances, Findings
from components.contracts.evaluation_metrics import Evaluation
from components.contracts.golden_predictions import GoldenPredictions
from components.contracts.infra_verdict import InfraVerdict
from components.contracts.ingestion_summary import IngestionSummary
from components.contracts.model_card import Card
from components.contracts.record import Record
from components.contracts.training_report import Epoch, TrainingReport

for module in pkgutil.iter_modules(contracts.__path__, "components.contracts."):
    importlib.import_module(module.name)


def subclasses(kind: type) -> list[type]:
    return [found for one in kind.__subclasses__() for found in (one, *subclasses(one))]


RECORDS = [
    kind
    for kind in subclasses(Record)
    if kind.__module__.startswith("components.contracts") and "[" not in kind.__name__
]
_PLAIN = {
    bool: st.booleans(),
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: st.text(max_size=5),
    NoneType: st.none(),
    Any: st.none() | st.booleans() | st.integers() | st.text(max_size=5),
}


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in _PLAIN:
        return _PLAIN[kind]
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is UnionType:
        return st.one_of(*map(values, arguments))
    if origin is dict:
        return st.dictionaries(*map(values, arguments), max_size=1)
    if origin is list or arguments[1:] == (...,):
        return st.lists(values(arguments[0]), max_size=1).map(origin)
    if origin is tuple:
        return st.tuples(*map(values, arguments))
    if dataclasses.is_dataclass(kind):
        return st.builds(kind, **{name: values(one) for name, one in get_type_hints(kind).items()})
    fields = {name: values(field.annotation) for name, field in kind.model_fields.items()}
    return fields["root"].map(kind) if issubclass(kind, RootModel) else st.builds(kind, **fields)


# Those that are files; the others lie in them.
@pytest.mark.parametrize(
    "kind",
    [
        Card, Distances, Evaluation, Findings, GoldenPredictions, InfraVerdict, IngestionSummary,
        TrainingReport,
    ],
)  # fmt: skip
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_what_is_written_is_read_again(kind: type[Record], data: st.DataObject) -> None:
    record = data.draw(values(kind))
    text = record.to_json()
    assert kind.from_json(text) == record
    assert text.isascii()


@pytest.mark.parametrize("kind", RECORDS)
def test_every_field_has_a_default(kind: type[Record]) -> None:
    assert kind.from_json(kind().to_json()) == kind()


@pytest.mark.parametrize(("kind", "name"), [(Evaluation, "metrics"), (TrainingReport, "training")])
def test_files_of_a_real_run_hold_what_the_records_say_and_may_lack_any_key(
    kind: type[Record], name: str, tmp_path: Path
) -> None:
    file = Path(__file__).parent / "run" / f"{name}.json"
    content = json.loads(file.read_text())
    kind.read(file).write(tmp_path / "again")
    assert json.loads((tmp_path / "again").read_text()) == content
    for path in keys(content):
        found = json.loads(kind.from_json(json.dumps(without(content, path))).to_json())
        assert {key: found[key] for key in content if key != path[0]} == {
            key: content[key] for key in content if key != path[0]
        }, path
    assert kind.from_json(json.dumps({**content, "of_later_code": 1})) == kind.read(file)


def keys(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of every key in nested tables and in the first row of lists."""
    if isinstance(content, list):
        return keys(content[0], (*path, 0)) if content else []
    if not isinstance(content, dict):
        return []
    inner = [one for key, value in content.items() for one in keys(value, (*path, key))]
    return [(*path, key) for key in content] + inner


def without(content: Any, path: tuple[Any, ...]) -> Any:
    head, *rest = path
    if not rest:
        return {key: value for key, value in content.items() if key != head}
    copy = content.copy()
    copy[head] = without(content[head], tuple(rest))
    return copy


def test_epochs_keep_the_losses_of_the_networks_outputs() -> None:
    epoch = Epoch.model_validate({"phase": 1, "deep_logits_loss": 0.25})
    assert json.loads(epoch.to_json())["deep_logits_loss"] == 0.25
    assert Epoch.from_json(epoch.to_json()) == epoch != Epoch(phase=1)


def test_report_that_counts_borrowed_vectors_is_read() -> None:
    glove = {"words": 40, "found": 30, "borrowed": 6, "filled": 4, "mean": 0.1, "word_share": 0.75}
    assert TrainingReport.from_json(json.dumps({"glove": glove})).glove.word_share == 0.75


def test_files_that_are_missing_or_broken_are_found_as_nothing(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    assert Evaluation.find(file) is None
    with pytest.raises(OSError, match=r"metrics\.json"):
        Evaluation.read(file)
    for broken in ("", "[]", '{"overall": 1}', "\udcff"):
        file.write_bytes(broken.encode("utf-8", "surrogateescape"))
        assert Evaluation.find(file) is None
        with pytest.raises(ValueError, match=r"."):
            Evaluation.read(file)
    Evaluation(blessed=True).write(file)
    assert Evaluation.find(file) == Evaluation(blessed=True)


def test_number_that_json_has_no_word_for_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        TrainingReport(temperature=float("nan")).write(tmp_path / "training.json")
    assert not list(tmp_path.iterdir())


def test_totals_are_flat_and_name_the_rows_of_each_split() -> None:
    summary = IngestionSummary(files=2, splits={"train": {"cs": 1, "math": 2}}, words={9: 3})
    assert summary.totals() == {
        **{name: n for name, n in summary if isinstance(n, int)},
        "files": 2,
        "rows_train": 3,
    }
