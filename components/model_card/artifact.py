"""The artifact type of model cards."""

from tfx.types import artifact


class ModelCard(artifact.Artifact):  # type: ignore[misc]
    """Folder with a `components.contracts.model_card.Card` as JSON and as Markdown."""

    TYPE_NAME = "ModelCard"
