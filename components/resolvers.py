"""Resolver strategies: what a run is compared with is the latest *other* data or model.

With the stock strategies, a second run on unchanged inputs would find its own first result as the
baseline; its inputs would differ from the first run's, and nothing after them would be cached.
"""

import ml_metadata as mlmd
from tfx import types
from tfx.components.evaluator.constants import (
    ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY as _CURRENT_MODEL_ID,
)
from tfx.dsl.components.common.resolver import ResolverStrategy
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)

from components.validation.gate import STATISTICS_ID


class LatestOtherBlessedModelStrategy(LatestBlessedModelStrategy):
    """Resolves ``model`` to the latest blessed model besides ``candidate``, with its blessing."""

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]] | None:
        """Returns the input with one model and blessing, or none where no other is blessed."""
        candidates = {artifact.id for artifact in input_dict["candidate"]}
        others = [model for model in input_dict["model"] if model.id not in candidates]
        # A model may be judged again, by other thresholds: its last verdict counts.
        verdicts: dict[int, types.Artifact] = {}
        for blessing in sorted(input_dict["model_blessing"], key=lambda artifact: artifact.id):
            verdicts[blessing.get_int_custom_property(_CURRENT_MODEL_ID)] = blessing
        resolved = super().resolve_artifacts(
            store, {"model": others, "model_blessing": list(verdicts.values())}
        )
        return {**(resolved or {}), "candidate": input_dict["candidate"]}


class LatestOtherDataStrategy(ResolverStrategy):
    """Resolves ``accepted`` to the last data that passed the gate besides ``statistics``."""

    def resolve_artifacts(
        self,
        store: mlmd.MetadataStore,  # noqa: ARG002
        input_dict: dict[str, list[types.Artifact]],
    ) -> dict[str, list[types.Artifact]] | None:
        """Returns the input with at most one ``accepted`` artifact."""
        current = {artifact.id for artifact in input_dict["statistics"]}
        others = [
            artifact
            for artifact in input_dict["accepted"]
            if artifact.get_int_custom_property(STATISTICS_ID) not in current
        ]
        latest = sorted(others, key=lambda artifact: artifact.id)[-1:]
        return {"accepted": latest, "statistics": input_dict["statistics"]}
