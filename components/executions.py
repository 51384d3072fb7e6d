"""How TFX writes executions into ML Metadata: the names that those who read them there go by."""

from __future__ import annotations

import re

from ml_metadata.proto import metadata_store_pb2 as pb

RUN_CONTEXT = "pipeline_run"
NODE_CONTEXT = "node"
# A resolver's events are of other kinds: it makes nothing of what it was given.
INPUTS = (pb.Event.INPUT, pb.Event.DECLARED_INPUT)
OUTPUTS = (pb.Event.OUTPUT, pb.Event.DECLARED_OUTPUT)
# Inputs that a node compares with, or looks up, but makes nothing of; their chain goes back to the
# first run.
COMPARED = frozenset(("baseline_model", "previous", "rolled_back", "served"))

# Inside a property that holds JSON, however often escaped.
_FINGERPRINT = re.compile(r"\bfingerprint\W+([0-9a-f]{64})")


def node_id(context: pb.Context) -> str:
    """Returns the node's id of a node context, which is named <pipeline>.<node>."""
    return str(context.name.partition(".")[2])


def key_of(event: pb.Event) -> str:
    """Returns the name of the input or output that an event is about; empty where it has none."""
    return next((str(step.key) for step in event.path.steps if step.HasField("key")), "")


def fingerprint(execution: pb.Execution) -> str:
    """Returns the hash of the sources that an execution used, hex; empty where it names none."""
    for properties in (execution.properties, execution.custom_properties):
        for name, value in properties.items():
            if name == "fingerprint" and value.string_value:
                return str(value.string_value)
            found = _FINGERPRINT.search(value.string_value)
            if found:
                return found.group(1)
    return ""
