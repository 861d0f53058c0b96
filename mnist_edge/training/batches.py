"""From uint8 arrays in memory to batches of inputs and targets, all inside the graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from mnist_edge.data import Split
from mnist_edge.training.augment import augment
from mnist_edge.training.recipes import Recipe

# What the random numbers of one seed are for.
ORDER, CHANGES = 0, 1
# Seeds that one batch may use.
DRAWS_A_BATCH = 8


def steps_of(split: Split, recipe: Recipe) -> int:
    """Batches in an epoch; the last may be smaller."""
    return -(-len(split) // recipe.batch_size)


def batches(
    split: Split,
    recipe: Recipe,
    seed: int,
    classes: int,
    *,
    epoch: Any = 0,
    scale: float = 1 / 255,
    shape: tuple[int, ...] | None = None,
    teacher: Any = None,
) -> Any:
    """An epoch's batches, as a ``tf.data.Dataset`` of inputs and targets, float32 (n, *shape) and (n, classes).

    The order of an epoch depends on the seed and the epoch alone, the changes to a batch on the seed and its number.

    Args:
        split: what is trained on.
        recipe: batch size, augmentation, epochs.
        seed: of order and changes.
        classes: length of a target.
        epoch: its number: a constant, or an int64 ``tf.Variable``, looked at whenever an epoch begins.
        scale: what pixels are multiplied with.
        shape: the net's input shape; None for that of the images.
        teacher: a function from inputs to float32 targets (n, classes); None for the labels.
    """
    import tensorflow as tf

    steps = steps_of(split, recipe)
    images, labels = tf.constant(split.images), tf.constant(split.labels)
    shape = shape or split.images.shape[1:]

    def key(stream: int, number: Any) -> Any:
        return tf.stack([tf.constant(2 * seed + stream, tf.int64), number * DRAWS_A_BATCH])

    def ordered(_: Any) -> Any:
        number = tf.convert_to_tensor(epoch, tf.int64)
        order = tf.random.experimental.stateless_shuffle(tf.range(len(split)), key(ORDER, number))
        return tf.data.Dataset.from_tensor_slices(order).batch(recipe.batch_size).enumerate(number * steps)

    def batch(step: Any, rows: Any) -> Any:
        pictures = tf.gather(images, rows)
        pixels = tf.cast(pictures, tf.float32)
        if recipe.augmentation is not None:
            ranges, is_changed = recipe.augmentation, step < (recipe.epochs - recipe.clean_epochs) * steps
            pixels = tf.cond(is_changed, lambda: augment(pictures, ranges, key(CHANGES, step)), lambda: pixels)
        inputs = tf.reshape(pixels * np.float32(scale), (-1, *shape))
        return inputs, tf.one_hot(tf.gather(labels, rows), classes) if teacher is None else teacher(inputs)

    result = tf.data.Dataset.from_tensors(0).flat_map(ordered)
    result = result.map(batch, num_parallel_calls=2, deterministic=True).prefetch(4)
    return result.apply(tf.data.experimental.assert_cardinality(steps))
