"""The Pusher node: what it pushes, what it marks, what it refuses."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tfx.components.pusher import executor as stock
from tfx.types import standard_artifacts

from components import push_gate
from components.contracts.artifact_files import CARD_JSON, CARD_MARKDOWN
from components.contracts.manifest import Manifest
from components.errors import UserError
from components.model_card.artifact import ModelCard
from components.pushing.node import VersionedPusher
from components.pushing.owner import Owner

_WORDS = itertools.count()


@pytest.fixture
def push(saved_model: Callable[..., Path]) -> Callable[..., Any]:
    """Runs the node on a new model; returns the ``pushed_model`` artifact."""

    def run(
        root: Path,
        blessed: bool,
        infra: bool = True,
        folder: str | None = None,
        change: Callable[[Path], object] = Path.exists,
        owner: Owner = Owner(),  # noqa: B008
        **inputs_besides: Any,
    ) -> Any:
        model = standard_artifacts.Model()
        model.uri = str(root / "model")
        saved = saved_model(root / "model" / "Format-Serving", next(_WORDS))
        card = ModelCard()
        card.uri = str(root / "card")
        Path(card.uri).mkdir(exist_ok=True)
        inputs = {"model": [model], "model_card": [card], **inputs_besides}
        for key, kind, verdict in (
            ("model_blessing", standard_artifacts.ModelBlessing, blessed),
            ("infra_blessing", standard_artifacts.InfraBlessing, infra),
        ):
            blessing = kind()
            blessing.uri = str(root / key)
            blessing.set_int_custom_property("blessed", int(verdict))
            inputs[key] = [blessing]
        digest = Manifest.of(saved).digest
        inputs["infra_blessing"][0].set_string_custom_property("model_digest", digest)
        change(saved)
        pushed = standard_artifacts.PushedModel()
        pushed.uri = str(root / "pushed")
        VersionedPusher.EXECUTOR_SPEC.executor_class().Do(
            inputs,
            {"pushed_model": [pushed]},
            {
                "folder": str(root / "serving") if folder is None else folder,
                "owner": owner.to_json(),
                "fingerprint": "f00d",
            },
        )
        return pushed

    return run


def test_blessed_model_is_pushed_and_marked(push, tmp_path):
    pushed = push(tmp_path, True)

    (version,) = (entry for entry in (tmp_path / "serving").iterdir() if entry.is_dir())
    source = tmp_path / "model" / "Format-Serving"
    for name in ("saved_model.pb", "assets/vocabulary", "variables/variables.index"):
        assert (version / name).read_bytes() == (source / name).read_bytes()
    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_string_custom_property("pushed_version") == version.name
    assert pushed.get_string_custom_property("pushed_destination") == str(version)
    assert Path(pushed.uri, "saved_model.pb").is_file()


def test_push_holds_the_gate_until_its_node_has_ended(push, tmp_path):
    def taken_by_a_stop() -> bool:
        other = os.fork()
        if other == 0:
            os._exit(push_gate.take())
        return os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]) == 1

    push_gate.make()
    push(tmp_path, False)
    assert taken_by_a_stop()
    push(tmp_path, True)
    assert not taken_by_a_stop()
    push_gate.release()
    assert taken_by_a_stop()


def test_push_waits_where_a_stop_has_the_gate(push, tmp_path):
    push_gate.make()
    pusher = os.fork()
    if pusher == 0:
        time.sleep(0.3)
        push(tmp_path, True)
        os._exit(0)
    assert push_gate.take()
    time.sleep(1.5)
    os.kill(pusher, signal.SIGKILL)
    os.waitpid(pusher, 0)
    push_gate.release()
    assert not (tmp_path / "serving").exists()
    assert (tmp_path / "pushed" / "saved_model.pb").exists()


@pytest.mark.parametrize(("blessed", "infra"), [(False, False), (False, True), (True, False)])
def test_model_without_a_blessing_is_not_pushed(push, tmp_path, blessed, infra):
    pushed = push(tmp_path, blessed, infra)

    assert pushed.get_int_custom_property("pushed") == 0
    assert not pushed.has_custom_property("pushed_version")
    assert not (tmp_path / "serving").exists()


def test_properties_are_the_stock_ones(push, tmp_path):
    expected = standard_artifacts.PushedModel()
    stock.Executor()._MarkPushed(expected, pushed_destination="/a/1", pushed_version="1")
    ours = push(tmp_path, True)

    stock_ones = set(expected.mlmd_artifact.custom_properties)
    assert set(ours.mlmd_artifact.custom_properties) == {*stock_ones, "model_id"}


def test_each_push_is_a_new_version(push, tmp_path):
    numbers = [
        int(push(tmp_path, True).get_string_custom_property("pushed_version")) for _ in range(3)
    ]

    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("folder", ["gs://bucket/model", ""])
def test_destination_that_is_not_a_local_folder_is_refused(push, tmp_path, folder):
    with pytest.raises(UserError, match="needs a local folder"):
        push(tmp_path, True, folder=folder)


def test_model_card_travels_in_the_version_and_in_the_archive(push, tmp_path):
    (tmp_path / "card").mkdir()
    (tmp_path / "card" / CARD_JSON).write_text("{}")
    (tmp_path / "card" / CARD_MARKDOWN).write_text("# A card")
    extra = tmp_path / "model" / "Format-Serving" / "assets.extra"
    extra.mkdir(parents=True)
    (extra / "training.json").write_text("[]")
    pushed = push(tmp_path, True)

    for root in (pushed.uri, pushed.get_string_custom_property("pushed_destination")):
        found = {path.name: path.read_text() for path in (Path(root) / "assets.extra").iterdir()}
        # Of the version, not of the copy among the artifacts.
        assert (found.pop("manifest.json", None) is None) == (root == pushed.uri)
        assert found == {CARD_JSON: "{}", CARD_MARKDOWN: "# A card", "training.json": "[]"}


def test_model_that_was_rolled_back_is_not_pushed_and_the_reason_is_kept(push, tmp_path):
    rejected = standard_artifacts.PushedModel()
    rejected.set_string_custom_property("pushed_version", "1234")
    pushed = push(tmp_path, True, True, rolled_back=[rejected])

    assert pushed.get_int_custom_property("pushed") == 0
    assert pushed.get_string_custom_property("reason") == (
        "this model was served as version 1234 and rolled back; to push it all the same, remove "
        ".rolled-back-1234 from the serving folder"
    )
    assert not (tmp_path / "serving").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("assets/vocabulary", b"teh\nof\n"),
        ("variables/variables.data-00000-of-00001", b"v" * 300_000),
        ("assets.extra/golden_predictions.json", b"{}"),
    ],
)
def test_model_changed_after_its_blessing_is_not_pushed(push, tmp_path, name, content):
    def change(model: Path) -> None:
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).write_bytes(content)

    with pytest.raises(UserError) as refused:
        push(tmp_path, True, True, change=change)

    model = tmp_path / "model"
    assert str(refused.value) == (
        f"{model}/Format-Serving was changed after it was blessed; remove the folder {model} and "
        "run again: the model is made anew"
    )
    assert [path for path in (tmp_path / "serving").iterdir() if path.name.isdecimal()] == []


def test_only_the_owner_of_the_folder_pushes_into_it(push, tmp_path):
    first = Owner(pipeline="one", output_dir="/runs")
    push(tmp_path, True, True, owner=first)

    with pytest.raises(UserError, match="belongs to the pipeline one"):
        push(tmp_path, True, True, owner=Owner(pipeline="two", output_dir="/runs"))
    push(tmp_path, True, True, owner=first)
    assert len([path for path in (tmp_path / "serving").iterdir() if path.name.isdecimal()]) == 2
