"""The loop: a recipe on two splits, seeded, and resumable after every epoch."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge import models
from mnist_edge.data import Split, one_hot
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import StageError, missing_extra
from mnist_edge.models.backend import import_keras, import_tensorflow
from mnist_edge.training import folding
from mnist_edge.training.batches import batches, steps_of
from mnist_edge.training.checkpoint import Checkpoint, Record
from mnist_edge.training.recipes import Recipe, TrainConfig

STEPS_PER_EXECUTION = 32
# How often a run looks at the validation split.
VALIDATIONS = 20
OnEpoch = Callable[[int, dict[str, float]], None]
CPU_FLAGS = Path("/proc/cpuinfo")


def fit(
    config: TrainConfig,
    train: Split,
    validation: Split,
    classes: int,
    *,
    teacher: Any = None,
    tensorboard: Path | None = None,
    checkpoint: Checkpoint | None = None,
    progress: Progress = no_progress,
    on_epoch: OnEpoch | None = None,
) -> tuple[Any, Record]:
    """Run a recipe. The test images are nowhere near.

    Args:
        config: model, recipe and seed.
        train: what is trained on.
        validation: what the record's ``val_`` figures are of.
        classes: how many there are.
        teacher: a function from inputs to targets (n, classes), in place of the labels.
        tensorboard: a folder for its logs.
        checkpoint: where the run's state is kept, and goes on from; None for a run that is not kept.
        progress: told of the steps done, of all.
        on_epoch: told of every epoch's metrics, validation included; what it raises ends the run.

    Returns:
        The Keras model, of exactly the deployed layers, and the record of the epochs.

    Raises:
        UsageError: no such model.
        StageError: the loss became NaN, or the disk refused.
        MissingError: TensorFlow is not installed.
    """
    tf, keras = import_tensorflow(), import_keras()
    recipe, start = config.recipe, Path(config.model)
    keras.utils.set_random_seed(config.seed)
    if start.suffix == ".keras":
        model = models.load(start)
    else:
        height, width = train.images.shape[1:3]
        model = models.build(config.model, (height, width, 1), classes)
    twinned = start.suffix != ".keras" and folding.can_be_twinned(model)
    learner = model
    if twinned:
        learner = folding.twin(model, batch_norm=recipe.batch_norm, precision=precision_of(recipe))
    steps = steps_of(train, recipe)
    _compile(learner, recipe, steps)
    record = (checkpoint and checkpoint.resume(learner)) or Record()
    scale, shape = models.pixel_scale(model), tuple(model.inputs[0].shape)[1:]
    epoch = tf.Variable(record.epochs, dtype=tf.int64)
    learner.fit(
        batches(train, recipe, config.seed, classes, epoch=epoch, scale=scale, shape=shape, teacher=teacher),
        epochs=recipe.epochs,
        initial_epoch=record.epochs,
        shuffle=False,
        verbose=0,
        validation_data=(
            (validation.images * np.float32(scale)).reshape(-1, *shape),
            one_hot(validation.labels, classes),
        ),
        validation_batch_size=500,
        validation_freq=1 if on_epoch else max(1, recipe.epochs // VALIDATIONS),
        callbacks=[
            *([_tensorboard(tensorboard)] if tensorboard else []),
            _watcher(recipe, steps, epoch, record, checkpoint, progress, on_epoch),
        ],
    )
    if recipe.batch_norm:
        clean = replace(recipe, clean_epochs=recipe.epochs, batch_size=500)
        inputs = batches(train, clean, config.seed, classes, scale=scale, shape=shape).map(lambda x, y: x)
        folding.reestimate_norms(learner, inputs.take(100))
    if twinned:
        folding.fold(learner, model)
    return model, record


def _tensorboard(folder: Path) -> Any:
    import keras

    try:
        importlib.import_module("tensorboard")
    except ImportError as error:
        raise missing_extra("TensorBoard", "train") from error
    return keras.callbacks.TensorBoard(folder)


def _compile(learner: Any, recipe: Recipe, steps: int) -> None:
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
    loss = keras.losses.CategoricalCrossentropy(from_logits=not _ends_in_softmax(learner))
    learner.compile(optimizer, loss, metrics=["accuracy"], steps_per_execution=min(STEPS_PER_EXECUTION, steps))


def _ends_in_softmax(model: Any) -> bool:
    last = model.layers[-1]
    return type(last).__name__ == "Softmax" or getattr(getattr(last, "activation", None), "__name__", "") == "softmax"


def _watcher(
    recipe: Recipe,
    steps: int,
    current: Any,
    record: Record,
    checkpoint: Checkpoint | None,
    progress: Progress,
    on_epoch: OnEpoch | None,
) -> Any:
    """Tells of progress, keeps the record, and saves after every epoch."""
    import keras

    class Watcher(keras.callbacks.Callback):  # type: ignore[misc]
        first = record.epochs

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            current.assign(epoch)
            self.started = time.monotonic()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            done = (record.epochs - self.first) * steps + batch + 1
            what = f"training, epochs {self.first + 1} to {recipe.epochs}"
            progress(what, done, (recipe.epochs - self.first) * steps)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            row = {name: float(value) for name, value in (logs or {}).items()}
            if not np.isfinite(row["loss"]):
                raise StageError("The loss became NaN or infinite.", "Choose a smaller --learning-rate.")
            row["seconds"] = time.monotonic() - self.started
            record.history.append(row)
            if checkpoint:
                checkpoint.save(self.model, record, recipe.epochs)
            if on_epoch:
                on_epoch(epoch, row)

    return Watcher()


def precision_of(recipe: Recipe) -> str:
    """The Keras dtype policy: bfloat16 only where the processor multiplies it, elsewhere it would be slower."""
    try:
        flags = CPU_FLAGS.read_text()
    except OSError:
        flags = ""
    fast = "avx512_bf16" in flags or "amx_bf16" in flags
    return "mixed_bfloat16" if recipe.mixed_precision and fast else "float32"
