"""The outcome of a run's model: its metrics, its blessings, and where it was pushed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from components.contracts import artifact_files, node_ids, properties
from components.contracts.evaluation_metrics import Evaluation, Metrics
from components.metadata_store import Artifact


@dataclass(frozen=True)
class Verdict:
    """The outcome of a run's model.

    Attributes:
        blessed: the Evaluator's blessing; None if the run has no result of the Evaluator.
        reasons: a sentence per failed threshold or, for a blessed model, per threshold.
        accuracy, macro_f1, cross_entropy: on the test split; None if not measured.
        infra_blessed: the InfraValidator's blessing; None if the run has none.
        infra_reasons: a line per failed check of the InfraValidator.
        held_back: why a blessed model was not pushed; empty if it was.
        pushed_to: the version folder for TF Serving, which may be gone; None if nothing was pushed.
        pushed_copy: the pushed model's copy among the artifacts; None if nothing was pushed.
    """

    blessed: bool | None = None
    reasons: tuple[str, ...] = ()
    accuracy: float | None = None
    macro_f1: float | None = None
    cross_entropy: float | None = None
    infra_blessed: bool | None = None
    infra_reasons: tuple[str, ...] = ()
    held_back: str = ""
    pushed_to: Path | None = None
    pushed_copy: Path | None = None


def verdict_of(put_out: Callable[[str], list[Artifact]]) -> Verdict:
    """Returns the outcome of a run's model; ``put_out`` returns a node's artifacts in the run."""
    judged = (one.properties for one in put_out(node_ids.EVALUATOR))
    summary = next(iter(put_out(node_ids.EVALUATION_SUMMARY)), None)
    evaluation = read_evaluation(summary) if summary else None
    if summary and not evaluation:
        # The summary's file is gone, but ML Metadata has these properties.
        reasons = str(summary.properties.get(properties.REASONS, "")).splitlines()
        kept = {name: summary.properties.get(name) for name in properties.KEPT_METRICS}
        evaluation = Evaluation.model_validate({"overall": kept, "reasons": reasons})
    overall = evaluation.overall if evaluation else Metrics()
    infra = next((one.properties for one in put_out(node_ids.INFRA_VALIDATOR)), {})
    push = next(iter(put_out(node_ids.PUSHER)), None)
    pushing = push.properties if push else {}
    pushed = pushing.get(properties.PUSHED) == 1 and pushing.get(properties.PUSHED_DESTINATION)
    blessings = (one[properties.BLESSED] == 1 for one in judged if properties.BLESSED in one)
    return Verdict(
        blessed=next(blessings, None),
        reasons=evaluation.reasons if evaluation else (),
        accuracy=overall.accuracy,
        macro_f1=overall.macro_f1,
        cross_entropy=overall.cross_entropy,
        infra_blessed=infra.get(properties.BLESSED) == 1 if infra else None,
        infra_reasons=tuple(str(infra.get(properties.REASONS, "")).splitlines()),
        held_back=str(pushing.get(properties.REASON, "")),
        pushed_to=Path(pushed) if pushed else None,
        pushed_copy=Path(push.uri) if push and pushed else None,
    )


def read_evaluation(summary: Artifact) -> Evaluation | None:
    """Reads an EvaluationSummary artifact; None if its file is gone."""
    return Evaluation.find(Path(summary.uri) / artifact_files.METRICS)
