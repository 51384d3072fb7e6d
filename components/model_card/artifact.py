"""The artifact that a model card is, and the names of its files."""

from tfx.types import artifact

CARD_JSON = "model_card.json"
CARD_MARKDOWN = "model_card.md"


class ModelCard(artifact.Artifact):  # type: ignore[misc]
    """Folder with `CARD_JSON` and `CARD_MARKDOWN`; see `components.model_card.card.make_card`."""

    TYPE_NAME = "ModelCard"
