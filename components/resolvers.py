"""Resolver strategies: what a run is compared with is the latest *other* data or model.

With the stock strategies, a second run on unchanged inputs would find its own first result as the
baseline; its inputs would differ from the first run's, and nothing after them would be cached.
"""

from pathlib import Path

import ml_metadata as mlmd
from tfx import types
from tfx.dsl.components.common.resolver import ResolverStrategy
from tfx.utils import path_utils

from components.contracts import artifact_files, properties
from components.contracts.training_report import TrainingReport
from components.pushing.versions import was_rolled_back


class LatestOtherPushedModelStrategy(ResolverStrategy):
    """Resolves ``model`` to that of the last push besides ``candidate``: the one to beat.

    Blessings alone do not tell: a model may reach the thresholds and be refused by the
    infrastructure's check, or be served and rolled back. Neither was good enough, so that a new one
    need not beat it; and one that is served is to be beaten whatever later thresholds made of it.
    """

    def resolve_artifacts(
        self,
        store: mlmd.MetadataStore,  # noqa: ARG002
        input_dict: dict[str, list[types.Artifact]],
    ) -> dict[str, list[types.Artifact]] | None:
        """Returns the input with one model and its push, or none where no other was pushed."""
        candidates = {artifact.id for artifact in input_dict["candidate"]}
        classes = _classes(input_dict["candidate"][0])
        models = {model.id: model for model in input_dict["model"] if model.id not in candidates}
        chosen: tuple[list[types.Artifact], list[types.Artifact]] = ([], [])
        # Only a model's last push tells whether it was rolled back.
        last = {_model_id(one): one for one in _pushes(input_dict["pushed"])}
        for push in reversed(_standing(list(last.values()))):
            model = models.get(_model_id(push))
            # One that was cleaned away, or that scores other classes, cannot be compared with.
            if model is not None and classes and _classes(model) == classes:
                chosen = ([model], [push])
                break
        return {"model": chosen[0], "pushed": chosen[1], "candidate": input_dict["candidate"]}


def _pushes(artifacts: list[types.Artifact]) -> list[types.Artifact]:
    """Those by which a model was pushed, in their order."""
    pushed = (one for one in artifacts if one.get_int_custom_property(properties.PUSHED) == 1)
    return sorted(pushed, key=lambda one: one.id)


def _standing(artifacts: list[types.Artifact]) -> list[types.Artifact]:
    """Those of the pushes that were not rolled back."""
    return [push for push in _pushes(artifacts) if not was_rolled_back(_destination(push))]


def _classes(model: types.Artifact) -> tuple[str, ...]:
    """Returns the classes that a model scores, in order; empty where its files are gone."""
    folder = Path(path_utils.serving_model_path(model.uri)) / artifact_files.EXTRA_ASSETS
    report = TrainingReport.find(folder / artifact_files.TRAINING_REPORT)
    return report.classes if report else ()


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
        pushes = _pushes(input_dict["pushed"])
        own = [push for push in pushes if _model_id(push) in models]
        standing = _standing(pushes)
        served = [push for push in standing if push not in own]
        if standing and not _destination(standing[-1]).is_dir():
            served = standing
        return {
            "pushed": served[-1:],
            "rolled_back": [push for push in own[-1:] if push not in standing],
            "model": input_dict["model"],
        }


def _model_id(push: types.Artifact) -> int:
    return int(push.get_int_custom_property(properties.MODEL_ID))


def _destination(push: types.Artifact) -> Path:
    return Path(push.get_string_custom_property(properties.PUSHED_DESTINATION))


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
            if artifact.get_int_custom_property(properties.STATISTICS_ID) not in current
            and (Path(artifact.uri) / artifact_files.TRAIN_STATISTICS).is_file()
        ]
        latest = sorted(others, key=lambda artifact: artifact.id)[-1:]
        return {"accepted": latest, "statistics": input_dict["statistics"]}
