"""The training loop: runs a recipe on two splits, with a seed, and resumable after each epoch."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge import models
from mnist_edge.data import Split, one_hot
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import StageError, missing_extra
from mnist_edge.models.backend import import_keras, import_tensorflow
from mnist_edge.store.workspace import KERAS_SUFFIXES
from mnist_edge.training import folding
from mnist_edge.training.batches import Targets, batches, steps_of
from mnist_edge.training.checkpoint import Checkpoint, Record
from mnist_edge.training.recipes import Recipe, TrainConfig
from mnist_edge.training.source import require_fit

# Batches that Keras runs in one call of the graph.
STEPS_PER_EXECUTION = 32
# Number of evaluations on the validation split in a run.
VALIDATIONS = 20
# Called with the epoch's number and its metrics.
OnEpoch = Callable[[int, dict[str, float]], None]
CPU_FLAGS = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class FitOptions:
    """Options of `fit`.

    Attributes:
        tensorboard: folder for TensorBoard's logs.
        checkpoint: the run's state is saved there, and resumed from there; None for a run without a checkpoint.
        progress: called with the number of finished steps and of all.
        on_epoch: called with the metrics of each epoch, those of the validation split included; an exception that it
            raises ends the run.
    """

    tensorboard: Path | None = None
    checkpoint: Checkpoint | None = None
    progress: Progress = no_progress
    on_epoch: OnEpoch | None = None


DEFAULT_OPTIONS = FitOptions()


def fit(
    config: TrainConfig, train: Split, validation: Split, classes: int, options: FitOptions = DEFAULT_OPTIONS
) -> tuple[Any, Record]:
    """Train a model by a recipe.

    Args:
        config: model, recipe and seed.
        train: the images to train on.
        validation: the images that the ``val_`` metrics of the record are measured on.
        classes: number of classes.
        options: everything that may be left out.

    Returns:
        The Keras model with exactly the deployed layers, and the record of the epochs.

    Raises:
        UsageError: there is no such model.
        ContentError: the model in a file has another input or other classes than the data.
        StageError: the loss became NaN, or a file could not be written.
        MissingError: TensorFlow is not installed.
    """
    tf, keras = import_tensorflow(), import_keras()
    recipe, start = config.recipe, Path(config.model)
    keras.utils.set_random_seed(config.seed)
    is_file = start.suffix in KERAS_SUFFIXES
    model = models.load(start) if is_file else models.build(config.model, train.images.shape[1:], classes)
    taken, answered = tuple(model.inputs[0].shape)[1:], int(model.outputs[0].shape[1])
    require_fit(taken, answered, train.images, classes)
    needs_folding = not is_file and folding.is_plain_chain(model)
    trainable = model
    if needs_folding:
        trainable = folding.trainable_model(model, batch_norm=recipe.batch_norm, precision=precision_of(recipe))
    steps = steps_of(train, recipe)
    _compile(trainable, recipe, steps)
    record = (options.checkpoint and options.checkpoint.resume(trainable)) or Record()
    scale, shape = models.pixel_scale(model), tuple(model.inputs[0].shape)[1:]
    targets = Targets(classes, config.seed, scale, shape)
    epoch = tf.Variable(record.epochs, dtype=tf.int64)
    trainable.fit(
        batches(train, recipe, targets, epoch),
        epochs=recipe.epochs,
        initial_epoch=record.epochs,
        shuffle=False,
        verbose=0,
        validation_data=(
            (validation.images * np.float32(scale)).reshape(-1, *shape),
            one_hot(validation.labels, classes),
        ),
        validation_batch_size=500,
        validation_freq=1 if options.on_epoch else max(1, recipe.epochs // VALIDATIONS),
        callbacks=[
            *([_tensorboard(options.tensorboard)] if options.tensorboard else []),
            _watcher(recipe, steps, epoch, record, options),
        ],
    )
    if recipe.batch_norm:
        # Batch norm statistics from training include augmentation, but inference sees images without it.
        clean = replace(recipe, clean_epochs=recipe.epochs, batch_size=500)
        inputs = batches(train, clean, targets).map(lambda x, y: x)
        folding.reestimate_norms(trainable, inputs.take(100))
    if needs_folding:
        folding.fold(trainable, model)
    return model, record


def _tensorboard(folder: Path) -> Any:
    import keras

    try:
        importlib.import_module("tensorboard")
    except ImportError as error:
        raise missing_extra("TensorBoard", "train") from error
    return keras.callbacks.TensorBoard(folder)


def _compile(model: Any, recipe: Recipe, steps: int) -> None:
    import keras

    rate: Any = recipe.learning_rate
    if recipe.cosine:
        warmup = round(recipe.warmup_epochs * steps)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate, max(1, recipe.epochs * steps - warmup),
            warmup_target=rate if warmup else None, warmup_steps=warmup,
        )  # fmt: skip
    optimizer = keras.optimizers.get(recipe.optimizer)
    optimizer.learning_rate = rate
    loss = keras.losses.CategoricalCrossentropy(from_logits=not _ends_in_softmax(model))
    model.compile(optimizer, loss, metrics=["accuracy"], steps_per_execution=min(STEPS_PER_EXECUTION, steps))


def _ends_in_softmax(model: Any) -> bool:
    last = model.layers[-1]
    # getattr: only some Keras layers have an activation, which may be any callable, with or without a name.
    return type(last).__name__ == "Softmax" or getattr(getattr(last, "activation", None), "__name__", "") == "softmax"


def _watcher(recipe: Recipe, steps: int, current_epoch: Any, record: Record, options: FitOptions) -> Any:
    """Keras callback that reports progress, extends the record, and saves the checkpoint after each epoch.

    Args:
        recipe, steps: what is trained, and the number of batches in an epoch.
        current_epoch: ``tf.Variable`` that is set to the number of the epoch when it begins.
        record: gets a row for each epoch.
        options: the options of the run.
    """
    import keras

    class Watcher(keras.callbacks.Callback):  # type: ignore[misc]
        first = record.epochs

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            current_epoch.assign(epoch)
            self.started = time.monotonic()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            done = (record.epochs - self.first) * steps + batch + 1
            what = f"training, epochs {self.first + 1} to {recipe.epochs}"
            options.progress(what, done, (recipe.epochs - self.first) * steps)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            row = {name: float(value) for name, value in (logs or {}).items()}
            if not np.isfinite(row["loss"]):
                raise StageError("The loss became NaN or infinite.", "Choose a smaller --learning-rate.")
            row["seconds"] = time.monotonic() - self.started
            record.history.append(row)
            if options.checkpoint:
                options.checkpoint.save(self.model, record, recipe.epochs)
            if options.on_epoch:
                options.on_epoch(epoch, row)

    return Watcher()


def precision_of(recipe: Recipe) -> str:
    """Name of the Keras dtype policy: bfloat16 only if the processor has instructions for it, else it is slower."""
    try:
        flags = CPU_FLAGS.read_text()
    except OSError:
        flags = ""
    fast = "avx512_bf16" in flags or "amx_bf16" in flags
    return "mixed_bfloat16" if recipe.mixed_precision and fast else "float32"
