"""Settings of the network; every default is the measured best."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from components.settings import Settings

Pooling = Literal["max", "mean", "attention"]


class ModelSettings(Settings):
    """Architecture and sizes of the network."""

    architecture: Literal["bilstm_wide", "notebook"] = "bilstm_wide"
    """Network, either bilstm_wide (masked BiLSTM plus linear models over n-grams) or notebook (the
    original model of fixed size, with which the other keys of this table keep their defaults)."""
    embedding_dropout: float = Field(0.2, ge=0, lt=1)
    """Share of the LSTM's input channels dropped for a whole text."""
    lstm_units: int = Field(64, ge=0, le=1024)
    """Units per direction; 0 leaves the recurrent path out."""
    lstm_pooling: tuple[Pooling, ...] = ("max", "mean", "attention")
    """How the LSTM's states become one vector."""
    categories: bool = True
    """Score primary categories and add them up to classes; false scores the classes themselves."""
    dense_units: int = Field(512, ge=1, le=4096)
    """Units of the hidden layer."""
    dense_dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout before and after the hidden layer."""
    wide_ngrams: int = Field(150_000, ge=0, le=2**24)
    """N-grams in each wide path, the most frequent ones; 0 leaves both paths out."""
    wide_letters: int = Field(5, ge=0, le=100)
    """Letters of the word prefixes whose n-grams a second wide path reads; 0 leaves that path
    out."""
    wide_orders: tuple[int, ...] = (1, 2)
    """Lengths of the n-grams in the wide paths, each 1 to 4."""
    wide_scale: float = Field(5.0, gt=0, le=100)
    """Factor on a wide path's sum: with an adaptive optimizer, its relative learning rate."""

    @field_validator("wide_orders")
    @classmethod
    def _orders(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or any(not 1 <= order <= 4 for order in value):
            raise ValueError("must hold at least one length, each 1 to 4")
        return value

    @field_validator("lstm_pooling", "wide_orders")
    @classmethod
    def _distinct(cls, value: tuple[object, ...]) -> tuple[object, ...]:
        if len(set(value)) != len(value):
            raise ValueError("must not repeat an entry")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "ModelSettings":
        if self.architecture == "notebook":
            for name, field in type(self).model_fields.items():
                if name != "architecture" and getattr(self, name) != field.default:
                    raise ValueError(f'{name} has no effect with architecture = "notebook"')
        elif self.lstm_units and not self.lstm_pooling:
            raise ValueError("lstm_pooling must not be empty while lstm_units is above 0")
        elif not (self.lstm_units or self.wide_ngrams):
            raise ValueError("lstm_units and wide_ngrams leave no path at all")
        return self
