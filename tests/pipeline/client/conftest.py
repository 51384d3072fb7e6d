"""A tiny SavedModel with the classifier's signature: its scores depend on the text alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

CLASSES = ["bio", "cs", "econ", "engineering", "math", "physics", "stat"]
NOT_A_NUMBER = "not a number"


class TinyClassifier(tf.Module):
    """Scores from hashes of the text, so that rows that are swapped are noticed."""

    def __init__(self, salt: str) -> None:
        """Keeps what tells two of them apart."""
        super().__init__()
        self._salt = salt

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="abstract")])
    def score(self, abstract: tf.Tensor) -> dict[str, tf.Tensor]:
        """String [n] to label [n], scores [n, 7] and classes [n, 7]."""
        columns = [
            tf.strings.to_hash_bucket_fast(tf.strings.join([abstract, self._salt, name]), 997)
            for name in CLASSES
        ]
        scores = tf.nn.softmax(tf.cast(tf.stack(columns, axis=1), tf.float32) / 200.0)
        broken = (abstract == NOT_A_NUMBER)[:, tf.newaxis]
        return {
            "label": tf.gather(tf.constant(CLASSES), tf.argmax(scores, axis=1)),
            "scores": tf.where(broken, tf.fill(tf.shape(scores), float("nan")), scores),
            "classes": tf.tile(tf.constant(CLASSES)[tf.newaxis], [tf.shape(scores)[0], 1]),
        }


def save(folder: Path, salt: str) -> Path:
    """Writes a model whose scores differ from those of another salt."""
    module = TinyClassifier(salt)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.score})
    return folder


@pytest.fixture(scope="session")
def push_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A push folder: versions 5 and 12, and what a push in progress leaves beside them."""
    folder = tmp_path_factory.mktemp("serving") / "tiny"
    save(folder / "5", "five")
    save(folder / "12", "twelve")
    (folder / ".staging-99").mkdir()
    (folder / ".push.lock").touch()
    return folder
