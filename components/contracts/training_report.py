"""The Trainer's report: settings, epochs and results."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

from components.contracts.record import Record


class Epoch(Record):
    """Metrics of one epoch, on the train split and, as ``val_``, on the eval split.

    Further fields are the losses of the network's outputs.
    """

    model_config = ConfigDict(extra="allow")

    phase: int = 0
    epoch: int = 0
    """Within its phase, from 1."""
    accuracy: float | None = None
    log_loss: float | None = None
    """In nats, without label smoothing and class weights."""
    macro_f1: float | None = None
    loss: float | None = None
    """What the optimizer minimized."""
    val_accuracy: float | None = None
    val_log_loss: float | None = None
    val_macro_f1: float | None = None
    val_loss: float | None = None
    learning_rate: float | None = None
    seconds: float = 0.0


class GloveCoverage(Record):
    """How much of the vocabulary and of the train split has GloVe vectors."""

    words: int = 0
    """Words of the vocabulary, without the padding and out-of-vocabulary ids."""
    found: int = 0
    """Words with a vector."""
    token_share: float | None = None
    """Share of the running words of the train split with a vector."""
    matrix_mean: float | None = None
    """Over all numbers of the embedding matrix, like the next."""
    matrix_sd: float | None = None
    missing: tuple[tuple[str, int], ...] = ()
    """The most frequent words without a vector, with their counts, in descending order."""

    @property
    def word_share(self) -> float:
        """Share of the vocabulary's words with a vector."""
        return self.found / max(1, self.words)


class EvalMetrics(Record):
    """Metrics of the exported model on the eval split."""

    log_loss: float | None = None
    accuracy: float | None = None
    macro_f1: float | None = None


class Code(Record):
    """The code that trained the model."""

    commit: str | None = None
    """Git's hash, with "-dirty" if files differ from it; None outside git."""
    fingerprint: str | None = None
    """Hex hash of the sources."""


class TrainingFacts(Record):
    """The part of the report that the model card repeats."""

    examples: dict[str, int] = {}
    """Rows by split."""
    best: Epoch = Epoch()
    """The epoch that the model's weights come from."""
    seconds: float = 0.0
    device: str = ""
    mixed_precision: str = ""
    parameters: int = 0
    vocabulary_size: int = 0
    """Including the padding and out-of-vocabulary ids."""
    categories: int = 0
    """Primary categories that the network scores; 0 if it scores classes directly."""
    sequence_length: int = 0
    """Words read of a text."""
    temperature: float = 1.0
    glove: GloveCoverage = GloveCoverage()


class TrainingReport(TrainingFacts):
    """The whole report."""

    history: tuple[Epoch, ...] = ()
    """Over both phases."""
    resumed_epochs: int = 0
    """Epochs finished by an earlier, killed run."""
    cudnn: bool = False
    """Whether cuDNN's LSTM kernel ran."""
    eval: EvalMetrics = EvalMetrics()
    logit_bias: tuple[float, ...] = ()
    classes: tuple[str, ...] = ()
    columns: dict[str, Any] = {}
    """A dump of `components.contracts.columns.Columns`; empty for arXiv's."""
    """In the order of the scores."""
    code: Code = Code()
    versions: dict[str, str] = {}
    model: dict[str, Any] = {}
    """`ModelSettings`; older models may have other keys."""
    training: dict[str, Any] = {}
    """`TrainingSettings`; older models may have other keys."""
