"""Input pipeline: batches of inputs and targets from uint8 arrays in memory, computed inside the TensorFlow graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mnist_edge.data import Split
from mnist_edge.training.augment import augment
from mnist_edge.training.recipes import Recipe

# The two streams of random numbers of one seed: for the order of the images, and for augmentation.
ORDER, CHANGES = 0, 1
# Distance of the seeds of consecutive batches: augmentation adds small numbers to its seed.
SEEDS_PER_BATCH = 8


@dataclass(frozen=True)
class Targets:
    """Inputs and targets of a model: how they are made from images and labels.

    Attributes:
        classes: number of classes, the length of a target.
        seed: of the order of the images and of augmentation.
        scale: factor from a pixel's value to the model's input.
        shape: shape of one input; None for the shape of an image.
    """

    classes: int
    seed: int = 0
    scale: float = 1 / 255
    shape: tuple[int, ...] | None = None


def steps_of(split: Split, recipe: Recipe) -> int:
    """Number of batches in an epoch; the last batch may be smaller."""
    return -(-len(split) // recipe.batch_size)


def batches(split: Split, recipe: Recipe, targets: Targets, epoch: Any = 0) -> Any:
    """Batches of one epoch, as a ``tf.data.Dataset`` of inputs and targets, float32 (n, *shape) and (n, classes).

    The order of the images depends on the seed and the epoch alone, the augmentation of a batch on the seed and the
    batch's number since the beginning of training. So a resumed run continues with the same batches.

    Args:
        split: the images to train on.
        recipe: batch size, augmentation and number of epochs.
        targets: how inputs and targets are made.
        epoch: the epoch's number: a constant, or an int64 ``tf.Variable`` that is read when an epoch begins.
    """
    import tensorflow as tf

    steps = steps_of(split, recipe)
    images, labels = tf.constant(split.images), tf.constant(split.labels)
    shape = targets.shape or split.images.shape[1:]

    def key(stream: int, number: Any) -> Any:
        return tf.stack([tf.constant(2 * targets.seed + stream, tf.int64), number * SEEDS_PER_BATCH])

    def ordered(_: Any) -> Any:
        number = tf.convert_to_tensor(epoch, tf.int64)
        order = tf.random.experimental.stateless_shuffle(tf.range(len(split)), key(ORDER, number))
        return tf.data.Dataset.from_tensor_slices(order).batch(recipe.batch_size).enumerate(number * steps)

    def batch(step: Any, rows: Any) -> Any:
        pictures = tf.gather(images, rows)
        pixels = tf.cast(pictures, tf.float32)
        if recipe.augmentation is not None:
            ranges, is_changed = recipe.augmentation, step < (recipe.epochs - recipe.clean_epochs) * steps
            done = tf.cast(step, tf.float32) / (recipe.epochs * steps)
            strength = 1 + (recipe.final_strength - 1) * done
            pixels = tf.cond(
                is_changed, lambda: augment(pictures, ranges, key(CHANGES, step), strength), lambda: pixels
            )
        inputs = tf.reshape(pixels * np.float32(targets.scale), (-1, *shape))
        return inputs, tf.one_hot(tf.gather(labels, rows), targets.classes)

    result = tf.data.Dataset.from_tensors(0).flat_map(ordered)
    result = result.map(batch, num_parallel_calls=2, deterministic=True).prefetch(4)
    return result.apply(tf.data.experimental.assert_cardinality(steps))
