"""Decides which versions TF Serving loads and which have the labels stable and canary.

TF Serving assigns an unused label to a version that is not loaded yet (with
``--allow_version_labels_for_unavailable_models``), but moves a label in use only to a loaded
version. So a new version becomes the canary first, and stable once it is loaded.
"""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from components import atomic
from components.errors import UserError
from components.pushing.versions import numbered, servable_versions
from components.scoring.saved_model import SAVED_MODEL, defect

STABLE = "stable"
CANARY = "canary"
CONFIG_FILE = "models.config"


def mounted(model: str) -> str:
    """Returns the path at which containers have a model's push folder, as in compose.yaml."""
    return f"/models/{model}"


def labelled(folder: Path, stable: int | None, canary: int | None) -> dict[str, int]:
    """Returns {label: version} for the labels that are given.

    Raises:
        UserError: the folder has no model or not that version, or one that would be served (without
            labels the newest) cannot be loaded or is not as it was pushed.
    """
    given = ((STABLE, stable), (CANARY, canary))
    labels = {label: version for label, version in given if version is not None}
    servable, present = servable_versions(folder), numbered(folder)
    if not servable:
        raise UserError(
            f"{folder}: no model: no numeric folder in it with {SAVED_MODEL}; "
            "name the push folder of a run that was blessed"
        )
    for label, version in labels.items():
        if version not in servable:
            listed = ", ".join(map(str, servable))
            raise UserError(f"{label} {version}: not in {folder}, which has {listed}")
    for version in labels.values() or [max(present)]:
        if problem := defect(present[version], contents=True):
            raise UserError(
                f"{present[version]} cannot be served: {problem}; remove it, roll back, or name "
                f"another version with --{STABLE}"
            )
    return labels


def named_versions(config_file: Path, model: str) -> set[int]:
    """Returns a model's versions that a config file names in policy or labels; may be empty.

    Raises:
        UserError: the file is not a ModelServerConfig or lacks the model.
    """
    entry = _entry(_read(config_file), model)
    if entry is None:
        raise UserError(f"{config_file}: no config of a model {model!r} in it")
    return {*entry.model_version_policy.specific.versions, *entry.version_labels.values()}


def models_config(model: str, base_path: str, labels: dict[str, int]) -> str:
    """Returns a ``ModelServerConfig`` in text format; without labels, for the newest version."""
    config = model_server_config_pb2.ModelServerConfig()
    _set_model(config, model, base_path, labels)
    return text_format.MessageToString(config)


def _set_model(
    config: model_server_config_pb2.ModelServerConfig,
    model: str,
    base_path: str,
    labels: dict[str, int],
) -> None:
    """Sets the model's entry; other entries stay."""
    entry = _entry(config, model) or config.model_config_list.config.add(name=model)
    entry.base_path, entry.model_platform = base_path, "tensorflow"
    entry.ClearField("model_version_policy")
    entry.ClearField("version_labels")
    if labels:
        entry.model_version_policy.specific.versions.extend(sorted(set(labels.values())))
        entry.version_labels.update(labels)
    else:
        entry.model_version_policy.latest.num_versions = 1


def assign(
    folder: Path,
    config_file: Path,
    model: str,
    stable: int,
    canary: int | None,
    base_path: str | None = None,
) -> dict[str, int]:
    """Writes a config file with labels, atomically.

    Args:
        folder: the push folder as this machine sees it.
        config_file: a running server's, which polls it, or one for a new server. Entries of other
            models stay; comments are lost.
        model: its name on the server.
        stable, canary: versions that get the labels; None removes the label.
        base_path: the push folder as the server sees it; by default the file's, or the containers'
            if there is no file.

    Returns:
        {label: version}.

    Raises:
        UserError: a version is missing, or a server with the file's present content would refuse
            the new one.
    """
    labels = labelled(folder, stable, canary)
    content = _read(config_file)
    earlier = _entry(content, model) or model_server_config_pb2.ModelConfig()
    before = dict(earlier.version_labels)
    loaded = set(earlier.model_version_policy.specific.versions)
    base_path = base_path or earlier.base_path or mounted(model)
    for label, version in labels.items():
        if before.get(label, version) != version and version not in loaded:
            way = (
                f"assign it as {CANARY} first, and as {STABLE} when it is AVAILABLE"
                if label == STABLE
                else f"take the label away first (no --{CANARY}), and assign it a minute later"
            )
            raise UserError(
                f"{label} {version}: TF Serving moves a label in use (now {before[label]}) only to "
                f"a version that it has loaded; {way}"
            )
    try:
        _set_model(content, model, base_path, labels)
        atomic.write_text(config_file, text_format.MessageToString(content))
    except OSError as error:
        raise UserError(f"{config_file}: cannot be written: {error.strerror}") from error
    except UnicodeError:
        raise UserError(f"{base_path!r}: not UTF-8, which the file needs; name another") from None
    return labels


def _read(config_file: Path) -> model_server_config_pb2.ModelServerConfig:
    """Returns the file's content; an empty config if there is no file."""
    config = model_server_config_pb2.ModelServerConfig()
    try:
        text_format.Parse(config_file.read_text(encoding="utf-8"), config)
    except FileNotFoundError:
        return config
    except (OSError, ValueError, text_format.ParseError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{config_file}: not a ModelServerConfig: {reason}") from error
    return config


def _entry(
    config: model_server_config_pb2.ModelServerConfig, model: str
) -> model_server_config_pb2.ModelConfig | None:
    return next((one for one in config.model_config_list.config if one.name == model), None)
