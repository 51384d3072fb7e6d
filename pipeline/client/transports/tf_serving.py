"""The messages of tf_serving.proto, whose compiled form is tf_serving.binpb."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet

_compiled = FileDescriptorSet.FromString(Path(__file__).with_suffix(".binpb").read_bytes())
# The classes by name, such as ``messages.PredictRequest``.
messages: Any = SimpleNamespace(
    **{
        name.split(".")[1]: kind
        for name, kind in message_factory.GetMessages(_compiled.file).items()
    }
)
