"""From uint8 arrays in memory to batches of inputs and targets, all inside the graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from mnist_edge.data import Split
from mnist_edge.training.augment import augment
from mnist_edge.training.recipes import Recipe

# With echoes, so many batches are changed at a time, and their images mixed again every time they are shown.
MIXED_BATCHES = 8


def steps_of(split: Split, recipe: Recipe) -> int:
    """Batches in an epoch; the last ones may be smaller."""
    chunk = _chunk(recipe)
    whole, rest = divmod(len(split) // recipe.echoes, chunk)
    return recipe.echoes * (whole * (chunk // recipe.batch_size) - (-rest // recipe.batch_size))


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

    The order of an epoch and the changes to its images depend on the seed and the epoch alone.

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

    images, labels, total = tf.constant(split.images), tf.constant(split.labels), len(split)
    shape = shape or split.images.shape[1:]
    chunk = _chunk(recipe)

    def key(stream: int, *numbers: Any) -> Any:
        """A seed of its own for every use; the chunk's number in the low digits."""
        folded = tf.cast(0, tf.int64)
        for number in numbers:
            folded = folded * 1_000_003 + tf.cast(number, tf.int64)
        return tf.stack([tf.constant(4 * seed + stream, tf.int64), folded * 8])

    def ordered(_: Any) -> Any:
        number = tf.convert_to_tensor(epoch, tf.int64)
        order = tf.random.experimental.stateless_shuffle(tf.range(total), key(0, number // recipe.echoes))
        part = tf.cast(number % recipe.echoes, tf.int32)
        share = total // recipe.echoes
        rows = tf.data.Dataset.from_tensor_slices(order[part * share : (part + 1) * share])
        return rows.batch(chunk).enumerate().map(lambda at, rows: (number, at, rows))

    def changed(number: Any, at: Any, rows: Any) -> Any:
        pictures = tf.gather(images, rows)
        plain = tf.cast(pictures, tf.float32)
        if recipe.augmentation is not None:
            ranges, is_changed = recipe.augmentation, number < recipe.epochs - recipe.clean_epochs
            plain = tf.cond(is_changed, lambda: augment(pictures, ranges, key(1, number, at)), lambda: plain)
        inputs = tf.reshape(plain * np.float32(scale), (-1, *shape))
        targets = tf.one_hot(tf.gather(labels, rows), classes) if teacher is None else teacher(inputs)
        return key(2, number, at), inputs, targets

    def echoed(seeds: Any, inputs: Any, targets: Any) -> Any:
        def again(place: Any) -> Any:
            order = tf.random.experimental.stateless_shuffle(tf.range(tf.shape(inputs)[0]), seeds + place)
            return tf.data.Dataset.from_tensor_slices(order).batch(recipe.batch_size)

        rows = tf.data.Dataset.range(recipe.echoes).flat_map(again)
        return rows.map(lambda rows: (tf.gather(inputs, rows), tf.gather(targets, rows)))

    result = tf.data.Dataset.from_tensors(0).flat_map(ordered)
    result = result.map(changed, num_parallel_calls=2, deterministic=True)
    if recipe.echoes > 1:
        result = result.flat_map(echoed)
    else:
        result = result.map(lambda seeds, inputs, targets: (inputs, targets))
    return result.prefetch(4).apply(tf.data.experimental.assert_cardinality(steps_of(split, recipe)))


def _chunk(recipe: Recipe) -> int:
    """How many images are changed at a time."""
    return recipe.batch_size * (MIXED_BATCHES if recipe.echoes > 1 else 1)
