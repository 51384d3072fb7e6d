"""What is read of executions: the names of inputs, and the hash of the sources wherever it sits."""

import json

import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from components import executions

HASH = "ab" * 32


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"fingerprint": HASH}, HASH),
        ({"custom_config": json.dumps({"fingerprint": HASH})}, HASH),
        ({"eval_config": json.dumps({"a": [json.dumps({"b": {"fingerprint": HASH}})]})}, HASH),
        ({"custom_config": json.dumps({"c": json.dumps(json.dumps({"fingerprint": HASH}))})}, HASH),
        ({"input_fingerprint": HASH, "fingerprint": ""}, ""),
        ({"custom_config": json.dumps({"input_fingerprint": HASH})}, ""),
        ({"module_path": "/somewhere"}, ""),
    ],
)
def test_hash_of_the_sources_is_found_however_deep(
    properties: dict[str, str], expected: str
) -> None:
    for table in ("properties", "custom_properties"):
        execution = pb.Execution()
        for name, value in properties.items():
            getattr(execution, table)[name].string_value = value
        assert executions.fingerprint(execution) == expected


def test_inputs_and_nodes_are_named() -> None:
    event = pb.Event(type=pb.Event.INPUT)
    assert executions.key_of(event) == ""
    event.path.steps.add().key = "baseline_model"
    event.path.steps.add().index = 0
    assert executions.key_of(event) == "baseline_model"
    assert executions.key_of(event) in executions.COMPARED
    assert executions.node_id(pb.Context(name="arxiv.real.Trainer")) == "real.Trainer"
