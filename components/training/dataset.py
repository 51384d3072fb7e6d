"""Loads transformed examples into memory, and batches them for each epoch."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tfx_bsl.tfxio import dataset_options

from components.contracts import features
from components.errors import UserError

IntArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float32]
# Rows decoded at a time; does not affect the result.
_READ_ROWS = 2048


@dataclass(frozen=True)
class Examples:
    """A split in memory, in an order that depends only on its content.

    Attributes:
        tokens: int32 [n, sequence_length], padded with 0 on the right.
        labels: int32 [n], class ids.
        categories: int32 [n], finer labels, -1 for none.
    """

    tokens: IntArray
    labels: IntArray
    categories: IntArray

    @cached_property
    def lengths(self) -> IntArray:
        """Tokens without padding, int32 [n]."""
        return (self.tokens != features.PAD_ID).sum(axis=1).astype(np.int32)

    @property
    def size(self) -> int:
        return len(self.labels)

    @property
    def sequence_length(self) -> int:
        return int(self.tokens.shape[1])

    def digest(self) -> str:
        """Returns a hex SHA-256 of the content."""
        digest = hashlib.sha256(repr(self.tokens.shape).encode())
        for array in (self.tokens, self.labels, self.categories):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def token_counts(self, vocabulary_size: int) -> npt.NDArray[np.int64]:
        """Returns each id's frequency, int64 [vocabulary_size]; 0 for padding."""
        counts = np.bincount(self.tokens.ravel(), minlength=vocabulary_size).astype(np.int64)
        counts[features.PAD_ID] = 0
        return counts

    def class_counts(self, classes: int) -> npt.NDArray[np.int64]:
        """Returns the number of examples of each class, int64 [classes]."""
        return np.bincount(self.labels, minlength=classes).astype(np.int64)


def make_examples(
    tokens: npt.NDArray[Any], labels: npt.NDArray[Any], categories: npt.NDArray[Any] | None = None
) -> Examples:
    """Sorts examples by a hash of their content.

    Training must not depend on the order of records in files, which varies with workers and shards.
    Tokens are integers [n, sequence_length], the others [n]; without categories, there are none.
    """
    tokens = np.ascontiguousarray(tokens, dtype=np.int32)
    labels = np.ascontiguousarray(labels, dtype=np.int32)
    if categories is None:
        categories = np.full(len(labels), -1)
    categories = np.ascontiguousarray(categories, dtype=np.int32)
    columns = np.column_stack([tokens, labels, categories]).astype(np.uint64)
    # A linear hash modulo 2**64 with random odd multipliers; only equal rows collide in practice.
    multipliers = np.random.default_rng(0).integers(
        1, 2**63, size=columns.shape[1], dtype=np.uint64
    ) * np.uint64(2) + np.uint64(1)
    order = np.argsort((columns * multipliers).sum(axis=1, dtype=np.uint64), kind="stable")
    return Examples(tokens[order], labels[order], categories[order])


def load_examples(
    files: Sequence[str], data_accessor: Any, schema: Any, classes: int, split: str
) -> Examples:
    """Reads a split that Transform wrote.

    Args:
        files: patterns of the split's files.
        data_accessor, schema: TFX's, of the transformed examples.
        classes: labels must lie in [0, classes).
        split: the split's name, for messages.

    Raises:
        UserError: the split is empty, or a label is not a class.
    """
    dataset = data_accessor.tf_dataset_factory(
        list(files),
        dataset_options.TensorFlowDatasetOptions(
            batch_size=_READ_ROWS, num_epochs=1, shuffle=False
        ),
        schema,
    )
    names = (features.TOKENS, features.LABEL_ID, features.CATEGORY_ID)
    batches = [
        [batch[name].astype(np.int32) for name in names] for batch in dataset.as_numpy_iterator()
    ]
    if not batches:
        raise UserError(f"split {split}: no examples to train with; give the pipeline more papers")
    tokens, labels, categories = map(np.concatenate, zip(*batches, strict=True))
    examples = make_examples(tokens, labels.ravel(), categories.ravel())
    outside = int(((examples.labels < 0) | (examples.labels >= classes)).sum())
    if outside:
        raise UserError(
            f"split {split}: {outside} rows have a class that the schema "
            "lacks; add it to data.schema_file or drop the rows"
        )
    return examples


def category_groups(train: Examples, classes: int) -> IntArray:
    """Returns the class of each finer target, int32 [categories + classes].

    A category belongs to the most frequent class of its train papers. The last ``classes`` targets,
    one per class, are for papers without a category, or with a category of another class.
    """
    known = train.categories >= 0
    count = int(train.categories.max(initial=-1)) + 1
    votes = np.zeros((count, classes), np.int64)
    np.add.at(votes, (train.categories[known], train.labels[known]), 1)
    return np.concatenate([votes.argmax(axis=1), np.arange(classes)]).astype(np.int32)


def category_targets(examples: Examples, groups: IntArray) -> IntArray:
    """Returns the finer target of each example, int32 [n], which always belongs to its class."""
    categories = int(len(groups) - (groups.max() + 1))
    usable = (examples.categories >= 0) & (examples.categories < categories)
    usable &= groups[np.where(usable, examples.categories, 0)] == examples.labels
    return np.where(usable, examples.categories, categories + examples.labels).astype(np.int32)


def plan_epoch(
    lengths: IntArray,
    sequence_length: int,
    buckets: Sequence[int],
    batch_size: int,
    seed: int,
    epoch: int,
) -> list[tuple[IntArray, np.int32]]:
    """Plans the batches of one epoch: each row once, grouped by length.

    Rows are shuffled, assigned to the narrowest bucket that fits and cut into batches. A bucket's
    remainder goes to the next wider one, so at most one batch is not full. Then the batches are
    shuffled. The plan depends only on the arguments.

    Args:
        lengths: tokens of each row, int32 [n].
        sequence_length: the last width.
        buckets: further widths, ascending.
        batch_size, seed, epoch: rows per batch, seed of all epochs, and the epoch's number.

    Returns:
        ceil(n / batch_size) batches: the rows, int32 [b], and the width to which they are trimmed.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths)).astype(np.int32)
    widths = [width for width in buckets if width < sequence_length] + [sequence_length]
    bucket_of = np.searchsorted(widths, lengths[order])
    batches = []
    rest = np.empty(0, np.int32)
    for index, width in enumerate(widths):
        rows = np.concatenate([rest, order[bucket_of == index]])
        full = len(rows) // batch_size * batch_size
        batches += [
            (rows[start : start + batch_size], np.int32(width))
            for start in range(0, full, batch_size)
        ]
        rest = rows[full:]
    if len(rest):
        batches.append((rest, np.int32(sequence_length)))
    return [batches[index] for index in generator.permutation(len(batches))]


def steps_per_epoch(examples: Examples, batch_size: int) -> int:
    """Returns the number of batches of :func:`plan_epoch`."""
    return -(-examples.size // batch_size)


def training_dataset(
    examples: Examples,
    targets: Mapping[str, IntArray],
    further: Sequence[FloatArray],
    buckets: Sequence[int],
    batch_size: int,
    seed: int,
    first_epoch: int,
) -> tf.data.Dataset:
    """Returns endless batches from ``first_epoch`` on: tokens int32 [b, width], targets int32 [b].

    Each epoch has :func:`steps_per_epoch` batches. The next epoch's are prepared during validation.

    Args:
        targets: int32 [n] by the name of the model's output.
        further: inputs after the tokens, float32 [n, k] each; if any, the inputs are a tuple.
    """

    def plans() -> Iterator[tuple[IntArray, np.int32]]:
        for epoch in itertools.count(first_epoch):
            yield from plan_epoch(
                examples.lengths, examples.sequence_length, buckets, batch_size, seed, epoch
            )

    return _gathered(plans, examples, targets, further)


def evaluation_dataset(
    examples: Examples,
    targets: Mapping[str, IntArray],
    further: Sequence[FloatArray],
    buckets: Sequence[int],
    batch_size: int,
) -> tuple[tf.data.Dataset, IntArray]:
    """Returns batches of all examples, shortest first, and the examples' rows in that order.

    Targets and further inputs are as for :func:`training_dataset`.
    """
    order = np.argsort(examples.lengths, kind="stable").astype(np.int32)
    widths = [width for width in buckets if width < examples.sequence_length]
    widths.append(examples.sequence_length)

    def plans() -> Iterator[tuple[IntArray, np.int32]]:
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            longest = int(examples.lengths[rows].max())
            yield rows, np.int32(widths[int(np.searchsorted(widths, longest))])

    dataset = _gathered(plans, examples, targets, further)
    steps = -(-len(order) // batch_size)
    return dataset.apply(tf.data.experimental.assert_cardinality(steps)), order


def _gathered(
    plans: Any,
    examples: Examples,
    targets: Mapping[str, IntArray],
    further: Sequence[FloatArray],
) -> tf.data.Dataset:
    """Turns (rows, width) into batches within tf.data, with prefetching."""
    # In host memory, since a split may not fit on a device.
    with tf.device("/CPU:0"):
        tokens = tf.constant(examples.tokens)
        columns = {name: tf.constant(column) for name, column in targets.items()}
        inputs = [tf.constant(column) for column in further]

    def gather(rows: tf.Tensor, width: tf.Tensor) -> tuple[Any, dict[str, tf.Tensor]]:
        read = tf.gather(tokens, rows)[:, :width]
        return (
            (read, *(tf.gather(column, rows) for column in inputs)) if inputs else read,
            {name: tf.gather(column, rows) for name, column in columns.items()},
        )

    signature = (tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32))
    return (
        tf.data.Dataset.from_generator(plans, output_signature=signature)
        .map(gather, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .prefetch(8)
    )
