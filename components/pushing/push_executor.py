"""The Pusher's executor: TFX's checks, then an atomic push under a new version."""

import json
from pathlib import Path
from typing import Any

from absl import logging
from tfx import types
from tfx.components.pusher import executor
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, proto_utils

from components import push_gate
from components.contracts import artifact_files, properties
from components.errors import UserError
from components.pushing import versions
from components.pushing.owner import Owner


class VersionedPusherExecutor(executor.Executor):  # type: ignore[misc]
    """Pushes a blessed model, with its model card, to a local folder with `versions.publish`.

    A model that is not blessed, or that was rolled back, is marked as not pushed. The
    ``pushed_model`` artifact has a copy of the version and TFX's properties ``pushed``,
    ``pushed_destination`` (the version's folder) and ``pushed_version``.
    """

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes the model, or marks it as not pushed.

        Args:
            input_dict: ``model``; optionally ``model_blessing``, ``infra_blessing``, ``model_card``
                and ``rolled_back`` (the model's last push, if it was rolled back).
            output_dict: ``pushed_model``.
            exec_properties: ``push_destination``, JSON of a ``PushDestination``; ``custom_config``,
                JSON with the ``owner`` of the folder.

        Raises:
            UserError: the destination is not a local folder or another pipeline's, the model was
                changed after it was blessed, or the push failed.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.PUSHED_MODEL_KEY]
        )
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            logging.warning("The model is not blessed: nothing was pushed.")
            return
        if input_dict.get("rolled_back"):
            rejected = artifact_utils.get_single_instance(input_dict["rolled_back"])
            version = rejected.get_string_custom_property(properties.PUSHED_VERSION)
            reason = (
                f"this model was served as version {version} and rolled back; to push it all the "
                f"same, remove {versions.ROLLED_BACK_PREFIX}{version} from the serving folder"
            )
            self._MarkNotPushed(pushed)
            pushed.set_string_custom_property(properties.REASON, reason)
            logging.warning("Nothing was pushed: %s.", reason)
            return
        additions = {
            f"{artifact_files.EXTRA_ASSETS}/{file.name}": file
            for card in input_dict.get("model_card", [])
            for file in sorted(Path(card.uri).iterdir())
        }
        model = self.GetModelPath(input_dict)
        folder = _push_folder(exec_properties[standard_component_specs.PUSH_DESTINATION_KEY])
        # The copy first: nothing may fail once a version is visible.
        io_utils.copy_dir(model, pushed.uri)
        for name, file in additions.items():
            io_utils.copy_file(str(file), str(Path(pushed.uri) / name), overwrite=True)
        push_gate.hold()
        digests = (
            one.get_string_custom_property(properties.MODEL_DIGEST)
            for one in input_dict.get(standard_component_specs.INFRA_BLESSING_KEY, [])
        )
        owner = json.loads(exec_properties["custom_config"]).get("owner")
        version, path = versions.publish(
            Path(model),
            folder,
            additions=additions,
            owner=Owner.model_validate(owner) if owner else None,
            digest=next(digests, ""),
        )
        candidate = artifact_utils.get_single_instance(
            input_dict[standard_component_specs.MODEL_KEY]
        )
        pushed.set_int_custom_property(properties.MODEL_ID, candidate.id)
        self._MarkPushed(pushed, pushed_destination=str(path), pushed_version=str(version))
        logging.info("Model pushed to %s.", path)


def _push_folder(push_destination: str) -> Path:
    destination = pusher_pb2.PushDestination()
    proto_utils.json_to_proto(push_destination, destination)
    folder = destination.filesystem.base_directory
    if not folder or "://" in folder:
        raise UserError(
            f"push_destination {folder!r}: needs a local folder, where a rename is atomic"
        )
    return Path(folder)
