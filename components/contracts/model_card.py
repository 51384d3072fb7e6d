"""The model card's content: parts of other nodes' records, and sentences."""

from __future__ import annotations

from components.contracts.evaluation_metrics import Scores
from components.contracts.infra_verdict import InfraVerdict
from components.contracts.ingestion_summary import IngestionSummary
from components.contracts.record import Record
from components.contracts.training_report import Code, TrainingFacts


class CardSlice(Record):
    """Metrics of a slice; see `evaluation_metrics.SliceMetrics`."""

    feature: str = ""
    value: str = ""
    examples: int = 0
    accuracy: float | None = None
    macro_f1: float | None = None
    cross_entropy: float | None = None


class CardEvaluation(Record):
    """The verdict on the test split; see `evaluation_metrics.Evaluation`."""

    blessed: bool = False
    reasons: tuple[str, ...] = ()
    overall: Scores = Scores()
    slices: tuple[CardSlice, ...] = ()


class Card(Record):
    """The model card; all numbers are copied unrounded from other nodes' records."""

    format_version: int = 1
    name: str = ""
    description: str = ""
    """What the texts are."""
    network: str = ""
    """The network's parts, in words."""
    classes: tuple[str, ...] = ()
    data: IngestionSummary = IngestionSummary()
    training: TrainingFacts = TrainingFacts()
    evaluation: CardEvaluation = CardEvaluation()
    serving: InfraVerdict = InfraVerdict()
    limits: tuple[str, ...] = ()
    """Sentences on what the model cannot do."""
    versions: dict[str, str] = {}
    """Of libraries."""
    code: Code = Code()
