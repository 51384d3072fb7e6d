"""Base class of all groups of settings: strict about types, and immutable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic.config import JsonDict

BASIC: JsonDict = {"level": "basic"}
"""``json_schema_extra`` of the few keys that users set; the others are for experts."""


class Settings(BaseModel):
    """Immutable settings that are validated without type coercion.

    Unknown keys and values of another type are refused: ``true``, ``"64"`` and ``64.0`` are not
    integers. An integer is accepted as a float, a boolean is not. Floats are finite. Lists, as TOML
    and JSON have them, become tuples where a tuple is declared.

    A key's docstring is one sentence; the configuration reference is generated from it.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _tuple_of_list(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, list) or info.field_name is None:
            return value
        declared = get_origin(cls.model_fields[info.field_name].annotation)
        return tuple(value) if declared is tuple else value


def is_group(kind: Any) -> bool:
    """Returns whether a declared type is a group of keys, a TOML table."""
    return isinstance(kind, type) and issubclass(kind, Settings)


def declared_keys(kind: type[Settings], prefix: str = "") -> dict[str, Any]:
    """Returns the declared type of each key by its dotted name, including inner groups' keys."""
    keys: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        if is_group(field.annotation):
            keys |= declared_keys(field.annotation, f"{prefix}{name}.")  # type: ignore[arg-type]
        else:
            keys[prefix + name] = field.annotation
    return keys


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the values of nested tables by dotted key."""
    values: dict[str, Any] = {}
    for name, value in table.items():
        key = prefix + name
        values |= flat(value, f"{key}.") if isinstance(value, Mapping) else {key: value}
    return values
