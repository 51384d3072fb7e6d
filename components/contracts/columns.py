"""The columns of a user's corpus: which one is the text, the label, the id and the date."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError, model_validator

from components.contracts import features
from components.errors import UserError
from components.settings import Settings

# Metrics are sliced by the label's name among these.
_TRANSFORMED = (
    features.TOKENS, features.LABEL_ID, features.CATEGORY_ID, *features.SLICE_FEATURES,
)  # fmt: skip


class Columns(Settings):
    """Names of the input's columns; the defaults are those of the arXiv metadata dump.

    The same names are the features of the examples, the statistics and the schema. Several text
    columns become one feature: their values, without empty ones, joined by a newline.
    """

    text: tuple[str, ...] = Field((features.ABSTRACT,), min_length=1)
    """Text columns, joined in this order."""
    label: str = Field(features.LABEL, min_length=1)
    """Column of the class: strings, integers or booleans."""
    id: str = features.ID
    """Column that names a row, of which the latest is kept; "" if there is none."""
    date: str = features.DATE
    """Column of dates, for slices by year; "" if there is none."""
    category: str = features.CATEGORY
    """Column of a finer label within the class, a second training target where the file has it; ""
    if there is none."""

    @model_validator(mode="after")
    def _distinct(self) -> Columns:
        names = self.required + self.optional
        if "" in self.text:
            raise ValueError("data.columns.text: a column has no name")
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"column {name!r} is named twice; give each one role")
        if self.label in _TRANSFORMED:
            raise ValueError(f"label {self.label!r} is a transformed feature; rename it")
        if len(self.text) > 1 and self.feature in names:
            raise ValueError(
                f"the joined text is called {self.feature!r}, as a column is; rename it"
            )
        return self

    @property
    def feature(self) -> str:
        """Name of the text in examples: the column's, or all columns' with "_" between them."""
        return "_".join(self.text)

    def by_role(self) -> dict[str, tuple[str, ...]]:
        """Returns the names of the columns of each role that has any."""
        named = {
            "id": (self.id,),
            "text": self.text,
            "label": (self.label,),
            "date": (self.date,),
            "category": (self.category,),
        }
        return {role: names for role, names in named.items() if all(names)}

    def features(self) -> dict[str, str]:
        """Returns the name of each role's feature in the examples."""
        return {role: "_".join(names) for role, names in self.by_role().items()}

    @property
    def required(self) -> tuple[str, ...]:
        """Columns that every file must have."""
        return (*self.text, self.label, *filter(None, (self.id, self.date)))

    @property
    def optional(self) -> tuple[str, ...]:
        """Columns that a file may lack."""
        return (self.category,) if self.category else ()

    @classmethod
    def named(cls, **roles: Any) -> Columns:
        """Returns the columns that options name.

        Raises:
            UserError: a column has two roles, or no name.
        """
        try:
            return cls(**roles)
        except ValidationError as error:
            raise UserError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None


ARXIV = Columns()
"""The columns of the arXiv metadata dump."""
