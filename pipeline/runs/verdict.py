"""What came of a run's model: its metrics, whether it was blessed, and where it was pushed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.metadata_store import Artifact

# As components.evaluation.node names it; importing that takes TFX.
METRICS_FILE = "metrics.json"


@dataclass(frozen=True)
class Verdict:
    """What came of the model.

    Attributes:
        blessed: the Evaluator's blessing; None if the run has no Evaluator's result.
        reasons: a sentence for each threshold that does not hold or, of a blessed model, for each.
        accuracy: on the test split, 0 to 1; None if it was not measured.
        macro_f1: on the test split, 0 to 1; None if it was not measured.
        cross_entropy: on the test split, nats; None if it was not measured.
        infra_blessed: the InfraValidator's blessing; None if the run has none.
        infra_reasons: a line for each of its checks that failed.
        held_back: why a blessed model was not pushed all the same; empty if it was.
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
    """Returns what came of the model.

    Args:
        put_out: returns the artifacts that a node put out in the run.
    """
    judged = (one.properties for one in put_out("Evaluator"))
    summary = next(iter(put_out("EvaluationSummary")), None)
    metrics = read_metrics(summary) if summary else {}
    if summary and not metrics:
        # ML Metadata keeps these of a summary whose file is gone.
        kept = summary.properties
        metrics = {"overall": kept, "reasons": str(kept.get("reasons", "")).splitlines()}
    overall = metrics.get("overall", {})
    infra = next((one.properties for one in put_out("InfraValidator")), {})
    push = next(iter(put_out("Pusher")), None)
    pushing = push.properties if push else {}
    pushed = push and pushing.get("pushed") == 1 and pushing.get("pushed_destination")
    return Verdict(
        blessed=next((one["blessed"] == 1 for one in judged if "blessed" in one), None),
        reasons=tuple(str(reason) for reason in metrics.get("reasons", ())),
        accuracy=overall.get("accuracy"),
        macro_f1=overall.get("macro_f1"),
        cross_entropy=overall.get("cross_entropy"),
        infra_blessed=infra.get("blessed") == 1 if infra else None,
        infra_reasons=tuple(str(infra.get("reasons", "")).splitlines()),
        held_back=str(pushing.get("reason", "")),
        pushed_to=Path(pushed) if pushed else None,
        pushed_copy=Path(push.uri) if push and pushed else None,
    )


def read_metrics(summary: Artifact) -> dict[str, Any]:
    """Reads the ``metrics.json`` of an EvaluationSummary artifact; empty if there is none."""
    file = Path(summary.uri) / METRICS_FILE
    content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return content if isinstance(content, dict) else {}
