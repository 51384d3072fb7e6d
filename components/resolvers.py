"""Resolver strategies that find the latest *other* data or model as the baseline.

With TFX's own strategies, a second run on unchanged inputs would resolve the first run's result as
its baseline. Its inputs would then differ, and no later node would be cached.
"""

from pathlib import Path

import ml_metadata as mlmd
from tfx import types
from tfx.dsl.components.common.resolver import ResolverStrategy
from tfx.utils import path_utils

from components.contracts import artifact_files, properties
from components.contracts.columns import Columns
from components.contracts.training_report import TrainingReport
from components.pushing.versions import was_rolled_back


class LatestOtherPushedModelStrategy(ResolverStrategy):
    """Resolves ``model`` to the last pushed model other than ``candidate``: the baseline.

    A blessing is not enough: a blessed model may fail infrastructure validation or be rolled back,
    and a candidate need not beat such a model. It must beat the served one, even if that would no
    longer reach today's thresholds.
    """

    def resolve_artifacts(
        self,
        store: mlmd.MetadataStore,  # noqa: ARG002
        input_dict: dict[str, list[types.Artifact]],
    ) -> dict[str, list[types.Artifact]] | None:
        """Returns the input with one model and its push, or with neither if there is none."""
        candidates = {artifact.id for artifact in input_dict["candidate"]}
        task = _task(input_dict["candidate"][0])
        models = {model.id: model for model in input_dict["model"] if model.id not in candidates}
        chosen: tuple[list[types.Artifact], list[types.Artifact]] = ([], [])
        # A model may be pushed again after a rollback: only its last push counts.
        last = {_model_id(one): one for one in _pushes(input_dict["pushed"])}
        for push in reversed(_standing(list(last.values()))):
            model = models.get(_model_id(push))
            # A removed model or one with other texts or classes cannot be a baseline.
            if model is not None and task and _task(model) == task:
                chosen = ([model], [push])
                break
        return {"model": chosen[0], "pushed": chosen[1], "candidate": input_dict["candidate"]}


def _pushes(artifacts: list[types.Artifact]) -> list[types.Artifact]:
    """Returns the artifacts of nodes that did push a model, oldest first."""
    pushed = (one for one in artifacts if one.get_int_custom_property(properties.PUSHED) == 1)
    return sorted(pushed, key=lambda one: one.id)


def _standing(artifacts: list[types.Artifact]) -> list[types.Artifact]:
    """Returns the pushes that were not rolled back, oldest first."""
    return [push for push in _pushes(artifacts) if not was_rolled_back(_destination(push))]


def _task(model: types.Artifact) -> tuple[str, ...]:
    """Returns the columns of a model's texts and label, and its classes; empty if unknown."""
    folder = Path(path_utils.serving_model_path(model.uri)) / artifact_files.EXTRA_ASSETS
    path = folder / artifact_files.TRAINING_REPORT
    # A damaged report raises: without its classes the gate would have no baseline.
    if not path.is_file():
        return ()
    report = TrainingReport.read(path)
    columns = Columns.model_validate(report.columns)
    return (*columns.text, "", columns.label, *report.classes) if report.classes else ()


class LatestPushStrategy(ResolverStrategy):
    """Resolves ``pushed`` to the last push of a model other than ``model``.

    This is the model that was served before ``model``. It stays the same while ``model`` is served,
    so a node with this input is cached. The node runs again when another model was pushed since, or
    when the pushed version was removed: then ``pushed`` is that push of ``model`` itself.

    Pushes that were rolled back are skipped. If the last push of ``model`` is one of them,
    ``rolled_back`` resolves to it: the model was rejected.
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
    """Resolves ``accepted`` to the last accepted data other than those of ``statistics``."""

    def resolve_artifacts(
        self,
        store: mlmd.MetadataStore,  # noqa: ARG002
        input_dict: dict[str, list[types.Artifact]],
    ) -> dict[str, list[types.Artifact]] | None:
        current = {artifact.id for artifact in input_dict["statistics"]}
        others = [
            artifact
            for artifact in input_dict["accepted"]
            if artifact.get_int_custom_property(properties.STATISTICS_ID) not in current
            and (Path(artifact.uri) / artifact_files.TRAIN_STATISTICS).is_file()
        ]
        latest = sorted(others, key=lambda artifact: artifact.id)[-1:]
        return {"accepted": latest, "statistics": input_dict["statistics"]}
