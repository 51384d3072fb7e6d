"""The Pusher node: pushes a blessed model under a new version, and takes rollbacks into account."""

from pathlib import Path

from absl import logging
from tfx.components.util import model_utils
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import io_utils, path_utils

from components import push_gate
from components.contracts import artifact_files, properties
from components.errors import UserError
from components.model_card.artifact import ModelCard
from components.pushing import versions
from components.pushing.owner import Owner


@component  # type: ignore[untyped-decorator]
def VersionedPusher(  # noqa: N802
    model: InputArtifact[standard_artifacts.Model],
    model_blessing: InputArtifact[standard_artifacts.ModelBlessing],
    infra_blessing: InputArtifact[standard_artifacts.InfraBlessing],
    model_card: InputArtifact[ModelCard],
    pushed_model: OutputArtifact[standard_artifacts.PushedModel],
    folder: Parameter[str],
    owner: Parameter[str],
    fingerprint: Parameter[str],
    served: InputArtifact[standard_artifacts.PushedModel] = None,
    rolled_back: InputArtifact[standard_artifacts.PushedModel] = None,
) -> None:
    """Pushes a blessed model, with its model card, to a local folder with `versions.publish`.

    Args:
        model: the Trainer's.
        model_blessing: the Evaluator's.
        infra_blessing: the ServingValidator's, with the digest of the model that it blessed.
        model_card: copied into the version's ``assets.extra``.
        pushed_model: receives a copy of the version, and TFX's properties ``pushed``,
            ``pushed_destination`` (the version's folder) and ``pushed_version``.
        folder: local folder of the numeric version folders.
        owner: JSON of the `Owner`, who must own that folder or be the first to push into it.
        fingerprint: hash of the sources that the node uses; part of the cache key.
        served: the push that was served before ``model``; may resolve to nothing. Part of the cache
            key: if another model was served since, the same model is pushed again.
        rolled_back: the last push of ``model`` if it was rolled back, else nothing. Such a model is
            not pushed.

    Raises:
        UserError: the folder is not a local one or another pipeline's, the model was changed after
            it was blessed, or the push failed.
    """
    del fingerprint, served
    pushed_model.set_int_custom_property(properties.PUSHED, 0)
    blessed = model_utils.is_model_blessed(model_blessing)
    if not (blessed and model_utils.is_infra_validated(infra_blessing)):
        logging.warning("The model is not blessed: nothing was pushed.")
        return
    if rolled_back is not None:
        rejected = rolled_back.get_string_custom_property(properties.PUSHED_VERSION)
        reason = (
            f"this model was served as version {rejected} and rolled back; to push it all the "
            f"same, remove {versions.ROLLED_BACK_PREFIX}{rejected} from the serving folder"
        )
        pushed_model.set_string_custom_property(properties.REASON, reason)
        logging.warning("Nothing was pushed: %s.", reason)
        return
    if not folder or "://" in folder:
        raise UserError(f"push folder {folder!r}: needs a local folder, where a rename is atomic")
    saved_model = path_utils.serving_model_path(model.uri)
    additions = {
        f"{artifact_files.EXTRA_ASSETS}/{file.name}": file
        for file in sorted(Path(model_card.uri).iterdir())
    }
    # The copy first: nothing may fail once a version is visible.
    io_utils.copy_dir(saved_model, pushed_model.uri)
    for name, file in additions.items():
        io_utils.copy_file(str(file), str(Path(pushed_model.uri) / name), overwrite=True)
    push_gate.hold()
    version, path = versions.publish(
        Path(saved_model),
        Path(folder),
        additions=additions,
        owner=Owner.from_json(owner),
        digest=infra_blessing.get_string_custom_property(properties.MODEL_DIGEST),
    )
    pushed_model.set_int_custom_property(properties.MODEL_ID, model.id)
    pushed_model.set_int_custom_property(properties.PUSHED, 1)
    pushed_model.set_string_custom_property(properties.PUSHED_DESTINATION, str(path))
    pushed_model.set_string_custom_property(properties.PUSHED_VERSION, str(version))
    logging.info("Model pushed to %s.", path)
