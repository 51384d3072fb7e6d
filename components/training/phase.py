"""What a phase trains, what it leaves as it is, and the model compiled for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import keras
import numpy as np
import numpy.typing as npt

from components.errors import UserError
from components.model.architectures import (
    CATEGORY_LAYER_OF,
    CATEGORY_LAYERS,
    DEEP_LAYER,
    EMBEDDING_LAYER,
    LOGITS_LAYER,
    PATH_LAYERS,
)
from components.model.layers import WideNgrams
from components.training import dataset, objective
from components.training.schedule import make_optimizer
from components.training.training_settings import TrainingSettings

# Validation keeps no gradients, so larger batches fit.
EVALUATION_FACTOR = 4


def held_paths(model: keras.Model, number: int) -> list[str]:
    """Names of the paths that phase ``number`` leaves as they are.

    Phase 2 leaves the linear paths, if there is another one: a second pass over them with a new
    optimizer would only memorize.
    """
    names = {layer.name for layer in model.layers}
    if number == 1 or EMBEDDING_LAYER not in names:
        return []
    return [name for name in PATH_LAYERS if name in names and name != DEEP_LAYER]


def objective_outputs(
    model: keras.Model, settings: TrainingSettings, number: int
) -> dict[str, float]:
    """Names of the logits whose losses phase ``number`` adds up, and their weights.

    The model's own logits are always among them, since they are what is watched; those of paths
    that the phase leaves as they are never.

    Raises:
      UserError: nothing that the model has carries a weight.
    """
    held = held_paths(model, number)
    names = {layer.name for layer in model.layers}
    names -= {*held, *(CATEGORY_LAYER_OF[name] for name in held)}
    outputs = {LOGITS_LAYER: settings.whole_loss}
    paths = [name for name in PATH_LAYERS if name in names]
    if len(paths) + len(held) > 1:
        if settings.path_loss:
            outputs |= dict.fromkeys(paths, settings.path_loss)
    else:
        # With one path, the model's logits are the path's.
        outputs[LOGITS_LAYER] += settings.path_loss
    if settings.category_loss:
        outputs |= dict.fromkeys(
            sorted(names.intersection(CATEGORY_LAYERS)), settings.category_loss
        )
    if not any(outputs.values()):
        raise UserError(
            "training.whole_loss = 0 and path_loss = 0: this model has no categories to train by; "
            "set one above 0"
        )
    return outputs


def with_outputs(model: keras.Model, names: Iterable[str], held: Sequence[str] = ()) -> keras.Model:
    """A model on the same weights that gives the logits of several layers, by layer name.

    Args:
      model: token ids int [n, length] to logits.
      names: of the layers.
      held: layers that are not computed: their logits, float32 [n, classes], are inputs after the
        token ids.
    """
    outputs = {
        name: model.output if name == LOGITS_LAYER else model.get_layer(name).output
        for name in names
    }
    inputs = [model.input, *(model.get_layer(name).output for name in held)]
    return keras.Model(inputs if held else model.input, outputs, name=f"{model.name}_training")


def make_targets(
    examples: dataset.Examples, groups: dataset.IntArray, names: Iterable[str]
) -> dict[str, dataset.IntArray]:
    """What each of the named logits is to predict, int32 [n]."""
    return {
        name: dataset.category_targets(examples, groups)
        if name in CATEGORY_LAYERS
        else examples.labels
        for name in names
    }


def compile_phase(
    model: keras.Model,
    number: int,
    settings: TrainingSettings,
    class_counts: npt.NDArray[np.int64],
    steps: int,
) -> keras.Model:
    """Makes a model ready for phase ``number``: what is trainable, new optimizer, loss, metrics.

    Args:
      model: see :func:`train_two_phases`; call in the scope of its strategy.
      number: 1 or 2.
      settings: of the training.
      class_counts: examples of each class, int64 [k].
      steps: of one epoch.

    Returns:
      The compiled model on the same weights, whose outputs are :func:`objective_outputs` and whose
      inputs after the token ids are the logits of :func:`held_paths`.
    """
    held = held_paths(model, number)
    for layer in model.layers:
        if layer.name == EMBEDDING_LAYER:
            layer.trainable = number == 2
        elif isinstance(layer, WideNgrams):
            layer.trainable = not held
    phase = settings.phase1 if number == 1 else settings.phase2
    outputs = objective_outputs(model, settings, number)
    by_class = objective.WeightedCrossEntropy(
        objective.class_weights(class_counts, settings.class_weighting),
        settings.label_smoothing,
        settings.loss_adjustment * objective.log_shares(class_counts),
    )
    compiled = with_outputs(model, outputs, held)
    compiled.compile(
        optimizer=make_optimizer(phase, settings, steps * phase.epochs),
        loss={
            name: objective.cross_entropy(compiled.output[name].shape[-1])
            if name in CATEGORY_LAYERS
            else by_class
            for name in outputs
        },
        loss_weights=outputs,
        metrics={LOGITS_LAYER: objective.watched_metrics(len(class_counts))},
        jit_compile=False,
    )
    # Compiling may have wrapped it for loss scaling.
    compiled.optimizer.build(compiled.trainable_variables)
    return compiled


def predict_logits(
    model: keras.Model, examples: dataset.Examples, settings: TrainingSettings
) -> npt.NDArray[np.float32]:
    """Logits of each example, float32 [n, classes], in the examples' order."""
    return _predict(model, examples, settings)[0]


def held_logits(
    model: keras.Model,
    names: Sequence[str],
    examples: dataset.Examples,
    settings: TrainingSettings,
) -> list[npt.NDArray[np.float32]]:
    """Logits of each example from the named layers, float32 [n, classes] each."""
    if not names:
        return []
    outputs = [model.get_layer(name).output for name in names]
    return _predict(keras.Model(model.input, outputs), examples, settings)


def _predict(
    model: keras.Model, examples: dataset.Examples, settings: TrainingSettings
) -> list[npt.NDArray[np.float32]]:
    """Each output for each example, in the examples' order."""
    batches, order = dataset.evaluation_dataset(
        examples, {}, [], settings.length_buckets, settings.batch_size * EVALUATION_FACTOR
    )
    predicted = model.predict(batches.map(lambda tokens, _: tokens), verbose=0)
    back = np.argsort(order)
    return [np.asarray(output, np.float32)[back] for output in keras.tree.flatten(predicted)]
