"""Resolver strategies: what a run is compared with is the latest *other* data or model.

With the stock strategies, a second run on unchanged inputs would find its own first result as the
baseline; its inputs would differ from the first run's, and nothing after them would be cached.
"""

import json
from pathlib import Path

import ml_metadata as mlmd
from tfx import types
from tfx.components.evaluator.constants import (
    ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY as _CURRENT_MODEL_ID,
)
from tfx.dsl.components.common.resolver import ResolverStrategy
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.utils import path_utils

from components.pushing.executor import MODEL_ID
from components.pushing.versions import was_rolled_back
from components.training.report import EXTRA_ASSETS, REPORT
from components.validation.gate import STATISTICS_FILE, STATISTICS_ID


class LatestOtherBlessedModelStrategy(LatestBlessedModelStrategy):
    """Resolves ``model`` to the latest blessed model besides ``candidate``, with its blessing."""

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]] | None:
        """Returns the input with one model and blessing, or none where no other is blessed."""
        candidates = {artifact.id for artifact in input_dict["candidate"]}
        classes = _classes(input_dict["candidate"][0])
        others = [
            model
            for model in input_dict["model"]
            # One that was cleaned away, or that scores other classes, cannot be compared with.
            if model.id not in candidates and classes and _classes(model) == classes
        ]
        # A model may be judged again, by other thresholds: its last verdict counts.
        verdicts: dict[int, types.Artifact] = {}
        for blessing in sorted(input_dict["model_blessing"], key=lambda artifact: artifact.id):
            verdicts[blessing.get_int_custom_property(_CURRENT_MODEL_ID)] = blessing
        resolved = super().resolve_artifacts(
            store, {"model": others, "model_blessing": list(verdicts.values())}
        )
        return {**(resolved or {}), "candidate": input_dict["candidate"]}


def _classes(model: types.Artifact) -> list[str] | None:
    """Returns the classes that a model scores, in order; None where its files are gone."""
    report = Path(path_utils.serving_model_path(model.uri)) / EXTRA_ASSETS / REPORT
    if not report.is_file():
        return None
    return list(json.loads(report.read_text(encoding="utf-8"))["classes"])


class LatestPushStrategy(ResolverStrategy):
    """Resolves ``pushed`` to the last push of a model other than ``model``.

    That is what was served when ``model`` was pushed, and stays the same as long as it is the one
    served, so that a node which takes it is cached. When another model was pushed since it changes,
    and when the version was removed it is that push of ``model`` itself: the node runs again.

    A push that was rolled back counts for nothing there: the one before it is served. But where it
    is the last one of ``model``, ``rolled_back`` resolves to it, so that the node can tell that the
    model was rejected.
    """

    def resolve_artifacts(
        self,
        store: mlmd.MetadataStore,  # noqa: ARG002
        input_dict: dict[str, list[types.Artifact]],
    ) -> dict[str, list[types.Artifact]] | None:
        """Returns the input with at most one ``pushed`` and one ``rolled_back`` artifact."""
        models = {model.id for model in input_dict["model"]}
        pushes = sorted(
            (push for push in input_dict["pushed"] if push.get_int_custom_property("pushed") == 1),
            key=lambda push: push.id,
        )
        own = [push for push in pushes if push.get_int_custom_property(MODEL_ID) in models]
        standing = [push for push in pushes if not was_rolled_back(_destination(push))]
        served = [push for push in standing if push not in own]
        if standing and not _destination(standing[-1]).is_dir():
            served = standing
        return {
            "pushed": served[-1:],
            "rolled_back": [push for push in own[-1:] if push not in standing],
            "model": input_dict["model"],
        }


def _destination(push: types.Artifact) -> Path:
    return Path(push.get_string_custom_property("pushed_destination"))


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
            and (Path(artifact.uri) / STATISTICS_FILE).is_file()
        ]
        latest = sorted(others, key=lambda artifact: artifact.id)[-1:]
        return {"accepted": latest, "statistics": input_dict["statistics"]}
