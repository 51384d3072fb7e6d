"""Reads the files that people review: schema and checks on statistics. Imports no TensorFlow."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message
from tensorflow_metadata.proto.v0 import schema_pb2

from components.contracts import features
from components.errors import UserError

_Message = TypeVar("_Message", bound=Message)


def parse(path: Path, message: _Message) -> _Message:
    """Reads a text-format file into a message, and returns it.

    Raises:
        UserError: the file cannot be read, or is not such a message.
    """
    try:
        text_format.Parse(path.read_text(encoding="utf-8"), message)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a valid {message.DESCRIPTOR.name}: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    return message


def read_classes(schema_file: Path, label: str = features.LABEL) -> list[str]:
    """Returns the classes in the order of the label's string domain in the schema.

    Args:
        schema_file: the reviewed schema.
        label: the label's feature.

    Raises:
        UserError: the file is not a schema, or the label has no domain of at least two values.
    """
    schema = parse(schema_file, schema_pb2.Schema())
    domains = {domain.name: list(domain.value) for domain in schema.string_domain}
    for feature in schema.feature:
        if feature.name == label:
            classes = list(feature.string_domain.value) or domains.get(feature.domain, [])
            odd = next((name for name in classes if not name.isprintable()), None)
            if odd is not None:
                raise UserError(
                    f"{schema_file}: class {odd!r} has a character that cannot be printed, such as "
                    "a no-break space; replace it there and in the data"
                )
            if len(classes) >= 2 and len(set(classes)) == len(classes):
                return classes
    raise UserError(
        f"{schema_file}: feature {label} needs a string_domain with two or more distinct classes"
    )


def no_validations() -> Any:
    """Returns an empty ``CustomValidationConfig`` without importing TFDV (and so TensorFlow)."""
    package = importlib.util.find_spec("tensorflow_data_validation")
    if package is None or package.origin is None:
        raise UserError("tensorflow_data_validation is not installed")
    name = "custom_validation_config_pb2"
    file = Path(package.origin).parent / "anomalies" / "proto" / f"{name}.py"
    loader = importlib.machinery.SourceFileLoader(f"_{name}", str(file))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    if spec is None:
        raise UserError(f"{file} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module.CustomValidationConfig()
