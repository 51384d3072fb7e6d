"""The phases of training: frozen layers, losses and optimizer of each."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.model.architectures import (
    CATEGORY_LAYERS,
    DEEP_LAYER,
    EMBEDDING_LAYER,
    LINEAR_LAYERS,
    LOGITS_LAYER,
    PATH_LAYERS,
)
from components.training import dataset, objective
from components.training.optimizer import FusedAdam
from components.training.training_settings import PhaseSettings, TrainingSettings

# Validation needs no gradients, so larger batches fit.
_EVALUATION_FACTOR = 4


@dataclass(frozen=True)
class Phase:
    """A phase of training, with its own optimizer.

    Attributes:
        name: name of its settings under ``training``, and of its TensorBoard folder.
        frozen: :mod:`fnmatch` patterns of the names of frozen layers.
        own: settings of this phase.
        shared: settings of all phases, such as the batch size.
    """

    name: str
    frozen: tuple[str, ...]
    own: PhaseSettings
    shared: TrainingSettings

    def freezes(self, layer: str) -> bool:
        return any(fnmatchcase(layer, pattern) for pattern in self.frozen)

    def frozen_paths(self, model: keras.Model) -> list[str]:
        """Returns the names of the logits of the model's frozen paths."""
        names = {layer.name for layer in model.layers}
        return [name for name in PATH_LAYERS if name in names and self.freezes(name)]

    def loss_weights(self, model: keras.Model) -> dict[str, float]:
        """Returns the weight of each loss by the name of its logits' layer.

        Each trainable path has its own losses. The model's logits always have one, if only of
        weight 0, since the metrics use them.
        """
        names = {layer.name for layer in model.layers}
        trained = {name for name in names if not self.freezes(name)}
        if len(names.intersection(PATH_LAYERS)) > 1:
            weights = {LOGITS_LAYER: 0.0}
            weights |= {name: 1.0 for name in PATH_LAYERS if name in trained}
        else:
            # With one path, the model's logits are the path's.
            weights = {LOGITS_LAYER: 1.0}
        if self.shared.category_loss:
            categories = sorted(trained.intersection(CATEGORY_LAYERS))
            weights |= dict.fromkeys(categories, self.shared.category_loss)
        return weights

    def make_optimizer(self, steps: int) -> FusedAdam:
        """Returns a new optimizer for epochs of ``steps`` steps."""
        rate: Any = self.own.learning_rate
        if self.own.schedule == "cosine":
            rate = keras.optimizers.schedules.CosineDecay(
                rate, steps * self.own.epochs, alpha=self.own.final_rate
            )
        return FusedAdam(
            rate,
            table_learning_rate=self.shared.table_learning_rate,
            table_accumulator=self.shared.table_accumulator,
            global_clipnorm=self.shared.clip_norm or None,
        )

    def compile(self, model: keras.Model, train: dataset.Examples) -> keras.Model:
        """Freezes layers, and returns the compiled model to fit.

        Args:
            model: token ids int [n, length] to logits float32 [n, classes].
            train: the train split.

        Returns:
            A compiled model with the same weights. Its outputs are those of :meth:`loss_weights`.
            Its inputs after the token ids are the logits of :meth:`frozen_paths`, float32
            [n, classes] each, so that they are not computed at each step.
        """
        for layer in model.layers:
            layer.trainable = not self.freezes(layer.name)
        weights = self.loss_weights(model)
        counts = train.class_counts(model.output_shape[-1])
        steps = dataset.steps_per_epoch(train, self.shared.batch_size)
        by_class = objective.class_weights(counts, self.shared.class_weighting)
        with model.distribute_strategy.scope():
            frozen = [model.get_layer(name).output for name in self.frozen_paths(model)]
            compiled = keras.Model(
                [model.input, *frozen] if frozen else model.input,
                {name: model.get_layer(name).output for name in weights},
                name=f"{model.name}_training",
            )
            compiled.compile(
                optimizer=self.make_optimizer(steps),
                loss={
                    name: objective.WeightedCrossEntropy(
                        np.ones(compiled.output[name].shape[-1])
                        if name in CATEGORY_LAYERS
                        else by_class
                    )
                    for name in weights
                },
                loss_weights=weights,
                metrics={LOGITS_LAYER: objective.watched_metrics(len(counts))},
                jit_compile=False,
            )
            # Compiling may have wrapped the optimizer for loss scaling.
            compiled.optimizer.build(compiled.trainable_variables)
        return compiled

    def training_batches(
        self,
        model: keras.Model,
        examples: dataset.Examples,
        groups: dataset.IntArray,
        first_epoch: int,
    ) -> tf.data.Dataset:
        """Returns endless batches of the train split for the compiled ``model``.

        ``groups`` is :func:`dataset.category_groups`'s; epochs are counted over all phases, so that
        each has its own order.
        """
        return dataset.training_dataset(
            examples,
            *self._columns(model, examples, groups),
            self.shared.length_buckets,
            self.shared.batch_size,
            self.shared.seed,
            first_epoch,
        )

    def validation_batches(
        self, model: keras.Model, examples: dataset.Examples, groups: dataset.IntArray
    ) -> tf.data.Dataset:
        """Returns batches of each example once."""
        return dataset.evaluation_dataset(
            examples,
            *self._columns(model, examples, groups),
            self.shared.length_buckets,
            self.shared.batch_size * _EVALUATION_FACTOR,
        )[0]

    def _columns(
        self, model: keras.Model, examples: dataset.Examples, groups: dataset.IntArray
    ) -> tuple[dict[str, dataset.IntArray], list[npt.NDArray[np.float32]]]:
        """Returns the targets by output, int32 [n], and the logits of the frozen paths."""
        categories = dataset.category_targets(examples, groups)
        targets = {
            name: categories if name in CATEGORY_LAYERS else examples.labels
            for name in self.loss_weights(model)
        }
        frozen = [model.get_layer(name).output for name in self.frozen_paths(model)]
        if not frozen:
            return targets, []
        return targets, _predict(keras.Model(model.input, frozen), examples, self.shared)


def make_phases(model: keras.Model, settings: TrainingSettings) -> list[Phase]:
    """Returns the two phases of a model from :func:`build_model`.

    Phase 1 freezes the word vectors. Phase 2 trains them and freezes the linear paths, if there is
    a deep path: training them again with a new optimizer would only overfit.
    """
    deep = any(layer.name == DEEP_LAYER for layer in model.layers)
    linear = LINEAR_LAYERS if deep else ()
    return [
        Phase("phase1", (EMBEDDING_LAYER,), settings.phase1, settings),
        Phase("phase2", linear, settings.phase2, settings),
    ]


def predict_logits(
    model: keras.Model, examples: dataset.Examples, settings: TrainingSettings
) -> npt.NDArray[np.float32]:
    """Returns the logits of each example, float32 [n, classes], in the examples' order."""
    return _predict(model, examples, settings)[0]


def _predict(
    model: keras.Model, examples: dataset.Examples, settings: TrainingSettings
) -> list[npt.NDArray[np.float32]]:
    """Returns each output for each example, in the examples' order."""
    batches, order = dataset.evaluation_dataset(
        examples, {}, [], settings.length_buckets, settings.batch_size * _EVALUATION_FACTOR
    )
    predicted = model.predict(batches.map(lambda tokens, _: tokens), verbose=0)
    back = np.argsort(order)
    return [np.asarray(output, np.float32)[back] for output in keras.tree.flatten(predicted)]
