"""Batches: every example once an epoch, padding trimmed and nothing else, order by the seed."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.contracts import features
from components.errors import UserError
from components.training.dataset import (
    Examples,
    category_groups,
    category_targets,
    evaluation_dataset,
    load_examples,
    make_examples,
    plan_epoch,
    steps_per_epoch,
    training_dataset,
)


def examples_of(count: int, length: int = 20, seed: int = 0) -> Examples:
    random = np.random.default_rng(seed)
    tokens = random.integers(1, 50, size=(count, length))
    lengths = random.integers(1, length + 1, size=count)
    tokens[np.arange(length) >= lengths[:, None]] = 0
    return make_examples(tokens, random.integers(0, 3, size=count))


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=200),
    buckets=st.sets(st.integers(1, 40), max_size=5).map(sorted),
    batch_size=st.integers(1, 17),
    epoch=st.integers(0, 5),
)
def test_plan_holds_every_row_once_within_its_width(
    lengths: list[int], buckets: list[int], batch_size: int, epoch: int
) -> None:
    array = np.array(lengths, np.int32)
    plan = plan_epoch(array, 30, buckets, batch_size, 3, epoch)
    rows = np.concatenate([rows for rows, _ in plan])
    assert sorted(rows) == list(range(len(lengths)))
    assert all(array[rows].max() <= width <= 30 for rows, width in plan)
    assert len(plan) == -(-len(lengths) // batch_size)
    assert sum(len(rows) < batch_size for rows, _ in plan) <= 1


def test_plan_depends_on_seed_and_epoch_alone() -> None:
    lengths = np.random.default_rng(0).integers(1, 30, size=300).astype(np.int32)

    def rows(seed: int, epoch: int) -> list[list[int]]:
        return [list(rows) for rows, _ in plan_epoch(lengths, 30, (10, 20), 16, seed, epoch)]

    assert rows(1, 0) == rows(1, 0)
    assert rows(1, 0) != rows(1, 1)
    assert rows(1, 0) != rows(2, 0)


def test_bucketing_saves_most_of_the_padding() -> None:
    lengths = np.clip(np.random.default_rng(0).normal(130, 50, 4000), 1, 256).astype(np.int32)

    def cells(buckets: tuple[int, ...]) -> int:
        plan = plan_epoch(lengths, 256, buckets, 64, 0, 0)
        return sum(len(rows) * width for rows, width in plan)

    assert cells((64, 96, 128, 160, 192, 224)) < 0.62 * cells(())


def test_order_of_records_does_not_matter() -> None:
    examples = examples_of(200)
    shuffle = np.random.default_rng(5).permutation(200)
    again = make_examples(examples.tokens[shuffle], examples.labels[shuffle])
    np.testing.assert_array_equal(again.tokens, examples.tokens)
    np.testing.assert_array_equal(again.labels, examples.labels)
    assert again.digest() == examples.digest()
    changed = examples.labels.copy()
    changed[0] = (changed[0] + 1) % 3
    assert make_examples(examples.tokens, changed).digest() != examples.digest()


def test_batches_hold_the_rows_with_only_padding_trimmed() -> None:
    examples = examples_of(150)
    steps = steps_per_epoch(examples, 16)
    targets = {"logits": examples.labels}
    batches = training_dataset(examples, targets, [], (5, 10), 16, 9, first_epoch=2)
    taken = list(itertools.islice(batches.as_numpy_iterator(), 2 * steps))
    for epoch in (0, 1):
        plan = plan_epoch(examples.lengths, 20, (5, 10), 16, 9, 2 + epoch)
        for (rows, width), (tokens, targets) in zip(
            plan, taken[epoch * steps : (epoch + 1) * steps], strict=True
        ):
            assert tokens.shape == (len(rows), width)
            np.testing.assert_array_equal(tokens, examples.tokens[rows, :width])
            assert not examples.tokens[rows, width:].any()
            np.testing.assert_array_equal(targets["logits"], examples.labels[rows])
    assert {tokens.shape[1] for tokens, _ in taken} == {5, 10, 20}


def test_evaluation_batches_hold_each_example_once_in_the_order_given() -> None:
    examples = examples_of(70)
    further = np.random.default_rng(1).normal(size=(70, 3)).astype(np.float32)
    batches, order = evaluation_dataset(examples, {"y": examples.labels}, [further], (5, 10), 16)
    taken = list(batches.as_numpy_iterator())
    labels = np.concatenate([targets["y"] for _, targets in taken])
    np.testing.assert_array_equal(labels, examples.labels[order])
    inputs = np.concatenate([inputs[1] for inputs, _ in taken])
    np.testing.assert_array_equal(inputs, further[order])
    assert sorted(order) == list(range(70))
    assert int(batches.cardinality()) == 5


def test_counts() -> None:
    examples = make_examples(np.array([[2, 2, 0], [1, 3, 2]]), np.array([0, 2]))
    assert list(examples.token_counts(5)) == [0, 1, 3, 1, 0]
    assert list(examples.class_counts(3)) == [1, 0, 1]


def test_category_targets_are_always_of_the_examples_own_class() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 0])
    categories = np.array([0, 0, 1, 2, 2, -1, 0, 2])
    examples = make_examples(np.arange(8)[:, None] + 2, labels, categories)
    groups = category_groups(examples, 3)
    np.testing.assert_array_equal(groups, [0, 0, 1, 0, 1, 2])
    targets = category_targets(examples, groups)
    np.testing.assert_array_equal(groups[targets], examples.labels)
    by_token = dict(zip(examples.tokens[:, 0] - 2, targets, strict=True))
    # None, one of another class, and one of another class again: the class's own target.
    assert [by_token[i] for i in range(8)] == [0, 0, 1, 2, 2, 5, 5, 3]
    unseen = make_examples(np.full((1, 1), 2), np.array([1]), np.array([7]))
    assert list(category_targets(unseen, groups)) == [4]


def test_without_categories_the_classes_are_the_targets() -> None:
    examples = examples_of(20)
    groups = category_groups(examples, 3)
    np.testing.assert_array_equal(groups, [0, 1, 2])
    np.testing.assert_array_equal(category_targets(examples, groups), examples.labels)


def test_reads_what_transform_wrote(workbench, tmp_path) -> None:
    import tensorflow_transform as tft

    arguments = workbench.fn_args(tmp_path)
    transform = tft.TFTransformOutput(str(workbench.graph))
    read = load_examples(
        arguments.train_files, arguments.data_accessor,
        transform.transformed_metadata.schema, 7, features.TRAIN,
    )  # fmt: skip
    assert read.size == 480
    assert read.sequence_length == 24
    assert read.categories.min() == -1
    groups = category_groups(read, 7)
    np.testing.assert_array_equal(groups[category_targets(read, groups)], read.labels)
    # A category of the corpus lies in one class, so only papers without one get the class's own.
    own = category_targets(read, groups) >= len(groups) - 7
    np.testing.assert_array_equal(own, read.categories == -1)
    classes = workbench.rows[features.TRAIN]
    labels = arguments.custom_config["classes"]
    expected = np.bincount([labels.index(row[features.LABEL]) for row in classes], minlength=7)
    np.testing.assert_array_equal(read.class_counts(7), expected)
    with pytest.raises(UserError, match=r"split train: .* rows have a class that the schema lacks"):
        load_examples(
            arguments.train_files, arguments.data_accessor,
            transform.transformed_metadata.schema, 3, features.TRAIN,
        )  # fmt: skip
