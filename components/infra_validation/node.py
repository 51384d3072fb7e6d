"""ServingValidator: the infrastructure blessing of models that can be served."""

from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components.infra_validation.budgets import InfraValidationSettings
from components.infra_validation.infra_executor import validate


@component  # type: ignore[untyped-decorator]
def ServingValidator(  # noqa: N802
    model: InputArtifact[standard_artifacts.Model],
    blessing: OutputArtifact[standard_artifacts.InfraBlessing],
    settings: Parameter[str],
    fingerprint: Parameter[str],
) -> None:
    """Emits the InfraBlessing that Pusher takes.

    Args:
        model: the Trainer's model.
        blessing: ``reasons`` says why a model is not blessed; the node itself does not fail then.
        settings: budgets and tolerance, JSON of `InfraValidationSettings`.
        fingerprint: hash of the sources that the node uses; part of the cache key.
    """
    del fingerprint
    folder = Path(path_utils.serving_model_path(model.uri))
    validate(folder, blessing, InfraValidationSettings.model_validate_json(settings))
