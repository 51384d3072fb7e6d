"""The graph with and without the search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tfx.orchestration.pipeline import Pipeline
from tfx.utils import json_utils

from components.contracts import node_ids
from pipeline.config.pipeline_config import load_config
from pipeline.graph import create_pipeline

NODES = {
    value for name, value in vars(node_ids).items() if name.isupper() and value != node_ids.TUNER
}


def graph_of(folder: Path, text: str = "") -> Pipeline:
    for name in ("papers.parquet", "glove.txt"):
        (folder / name).touch()
    path = folder / "run.toml"
    path.write_text(
        '[run]\nname = "arxiv"\noutput_dir = "out"\n[data]\nparquet = "papers.parquet"\n'
        f'glove = "glove.txt"\n{text}'
    )
    return create_pipeline(load_config(path))


def properties(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    return {node.id: dict(node.exec_properties) for node in pipeline.components}


@pytest.fixture(scope="module")
def searching(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pipeline, Pipeline]:
    """The graph of one configuration, without and with the search."""
    folder = tmp_path_factory.mktemp("graph")
    return graph_of(folder), graph_of(folder, "[tuning]\nenabled = true\ntrials = 3\n")


def test_search_is_a_node_only_where_it_is_asked_for(searching) -> None:
    without, with_search = (properties(pipeline) for pipeline in searching)
    assert set(without) == NODES
    assert set(with_search) == NODES | {node_ids.TUNER}
    # So a search leaves every other node cached, but for the page with the whole configuration.
    differing = {name for name in NODES if with_search[name] != without[name]}
    assert differing == {"RunReport"}


def test_search_trains_like_the_trainer_and_nothing_waits_for_it(searching) -> None:
    by_id = {node.id: node for node in searching[1].components}
    tuner, trainer = by_id["Tuner"], by_id["Trainer"]
    own, other = (
        json_utils.loads(node.exec_properties["custom_config"]) for node in (tuner, trainer)
    )
    shared = set(other) - {"checkpoint_dir", "fingerprint"}
    assert {key: own[key] for key in shared} == {key: other[key] for key in shared}
    assert own["tuning"]["trials"] == 3
    assert Path(own["tuning_dir"]).parent == Path(searching[1].pipeline_info.pipeline_root).parent
    assert not tuner.downstream_nodes
    assert {node.id for node in tuner.upstream_nodes} == {
        "Transform",
        "ImportSchemaGen",
        "RunReport",
    }
