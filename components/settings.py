"""The base of every group of settings: strict about types, and fixed once made."""

from __future__ import annotations

from typing import Any, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Settings(BaseModel):
    """Frozen settings that take each value as it was written, or not at all.

    A key that is not declared is refused, and so is a value of another type: ``true``, ``"64"`` and
    ``64.0`` are no integers. An integer will do for a float, unless it is a boolean. Floats are
    finite. Lists, which is what TOML and JSON have, become tuples where a tuple is declared.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _tuple_of_list(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, list) or info.field_name is None:
            return value
        declared = get_origin(cls.model_fields[info.field_name].annotation)
        return tuple(value) if declared is tuple else value
