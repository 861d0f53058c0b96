"""The parts of training: augmentation, batches, folding of the trainable model, checkpoints."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mnist_edge import data, models
from mnist_edge.models.backend import import_tensorflow
from mnist_edge.training import RECIPES, folding
from mnist_edge.training.augment import Augmentation, augment
from mnist_edge.training.batches import Targets, batches, steps_of
from mnist_edge.training.checkpoint import Checkpoint, Record

tf = import_tensorflow()


def changed(images: NDArray[np.uint8], seed: int = 1, **ranges: float) -> NDArray[np.float32]:
    return np.asarray(augment(tf.constant(images), Augmentation(**ranges), tf.constant([seed, 0], tf.int64)))


@pytest.fixture(scope="module")
def digits(mnist: data.Splits) -> NDArray[np.uint8]:
    return mnist.train.images[:64]


def test_augmentation_without_ranges_changes_no_pixel(digits: NDArray[np.uint8]) -> None:
    assert np.array_equal(changed(digits), digits.astype(np.float32))
    assert np.array_equal(changed(digits, photometric=1.0), digits.astype(np.float32))


GEOMETRIC = ["rotation", "scale", "stretch", "shear", "shift", "perspective", "elastic"]
PHOTOMETRIC = ["pen", "contrast", "blur", "background", "noise", "invert"]
STROKES = ["pens", "resample", "binarize"]


def test_each_range_of_augmentation_has_a_test() -> None:
    assert {field.name for field in fields(Augmentation)} == {*GEOMETRIC, *PHOTOMETRIC, *STROKES, "photometric"}


@pytest.mark.parametrize("name", GEOMETRIC + PHOTOMETRIC + STROKES)
def test_a_change_alters_each_image_within_the_range_of_grey_values_and_depends_on_the_seed_alone(
    digits: NDArray[np.uint8], name: str
) -> None:
    amount = {"rotation": 10.0, "shift": 2.0, "elastic": 1.0, "contrast": 3.0, "invert": 0.5}.get(name, 0.2)
    amount = 1.0 if name in STROKES else amount
    ranges = {name: amount, "photometric": 1.0 if name in PHOTOMETRIC else 0.0}
    first = changed(digits, 1, **ranges)
    assert first.min() >= 0
    assert first.max() <= 255.001
    assert 0.2 < np.abs(first - digits).mean() < 130
    assert np.array_equal(first, changed(digits, 1, **ranges))
    assert not np.array_equal(first, changed(digits, 2, **ranges))
    assert len({image.tobytes() for image in first - digits}) > 16, "images get the same change"


def test_photometric_changes_reach_only_the_given_share_of_a_batch(digits: NDArray[np.uint8]) -> None:
    is_changed = (changed(digits, photometric=0.25, background=0.5, noise=0.2) != digits).any(axis=(1, 2, 3))
    assert is_changed[:16].sum() >= 15
    assert not is_changed[16:].any()


@pytest.mark.parametrize("name", STROKES)
def test_changes_of_strokes_reach_only_the_given_share_of_a_batch(digits: NDArray[np.uint8], name: str) -> None:
    is_changed = (changed(digits, **{name: 0.25}) != digits).any(axis=(1, 2, 3))
    assert is_changed.sum() == 16
    assert is_changed[:32].any(), "only the end of a batch is changed"
    assert is_changed[32:].any(), "only the beginning of a batch is changed"


def test_black_and_white_images_have_no_grey(digits: NDArray[np.uint8]) -> None:
    assert set(np.unique(changed(digits, binarize=1.0))) == {0.0, 255.0}


def test_pens_and_resampling_keep_the_area_of_ink_within_bounds(digits: NDArray[np.uint8]) -> None:
    def ink(images: NDArray[np.float32]) -> NDArray[np.float64]:
        return images.mean(axis=(1, 2, 3)) / digits.mean(axis=(1, 2, 3))

    pens, coarse = ink(changed(digits, pens=1.0)), ink(changed(digits, resample=1.0))
    assert pens.min() < 0.9
    assert 1.5 < pens.max() < 4
    assert np.abs(coarse - 1).max() < 0.1


@pytest.mark.parametrize("count", [1, 2, 5, 13])
def test_changes_of_strokes_work_on_batches_of_any_length(digits: NDArray[np.uint8], count: int) -> None:
    shares = dict.fromkeys(STROKES, 0.5)
    assert changed(digits[:count], **shares).shape == (count, 28, 28, 1)


def test_a_strength_is_the_same_as_scaled_ranges(digits: NDArray[np.uint8]) -> None:
    ranges = Augmentation(**dict.fromkeys(GEOMETRIC + PHOTOMETRIC, 0.2), photometric=0.5, pens=0.2)
    seed = tf.constant([1, 0], tf.int64)
    weaker = np.asarray(augment(tf.constant(digits), ranges, seed, 0.5))
    assert np.allclose(weaker, np.asarray(augment(tf.constant(digits), ranges.scaled(0.5), seed)), atol=1e-2)


def test_shift_and_rotation_agree_with_scipy(digits: NDArray[np.uint8]) -> None:
    """`scipy.ndimage.affine_transform` with the same matrix, also bilinear."""
    from scipy import ndimage

    seed = tf.constant([3, 0], tf.int64)
    draws = np.asarray(tf.random.stateless_uniform((15, 64), seed, -1, 1))
    found = np.asarray(augment(tf.constant(digits), Augmentation(shift=3.0, rotation=30.0), seed))
    for at in range(8):
        angle = np.deg2rad(30 * draws[0, at])
        matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # of (y, x)
        move = 3 * draws[[5, 4], at]
        offset = np.array([13.5, 13.5]) + move - matrix @ [13.5, 13.5]
        expected = ndimage.affine_transform(digits[at, ..., 0].astype(float), matrix, offset, order=1)
        inside = np.s_[2:-2, 2:-2]  # at the rim augment interpolates towards black, and scipy does not
        assert np.abs(found[at, ..., 0] - expected)[inside].max() < 0.05


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(20, 40), st.integers(20, 40))
def test_images_of_any_size_keep_their_shape(count: int, height: int, width: int) -> None:
    images = np.full((count, height, width, 1), 200, np.uint8)
    assert changed(images, shift=1.0, elastic=0.5, photometric=0.5, pen=0.5).shape == images.shape


def small(mnist: data.Splits, count: int = 300) -> data.Split:
    """Images whose first two pixels hold their number."""
    images = mnist.train.images[:count].copy()
    images[:, 0, 0, 0], images[:, 0, 1, 0] = np.arange(count) // 256, np.arange(count) % 256
    return data.Split(images, mnist.train.labels[:count], np.arange(count))


def rows(split: data.Split, dataset: Any) -> NDArray[np.int64]:
    """Numbers of the images of a data set made of `small`, in order; checks their labels."""
    inputs, targets = (np.concatenate(parts) for parts in zip(*dataset.as_numpy_iterator(), strict=True))
    numbers = np.rint(inputs[:, 0, 0, 0] * 255) * 256 + np.rint(inputs[:, 0, 1, 0] * 255)
    numbers = numbers.astype(np.int64)
    assert np.array_equal(targets.argmax(axis=1), split.labels[numbers])
    return np.asarray(numbers)


def test_an_epoch_holds_each_image_once_in_an_order_that_depends_on_epoch_and_seed(mnist: data.Splits) -> None:
    split, recipe = small(mnist), replace(RECIPES["tutorial"]["*"], batch_size=64)
    epoch = tf.Variable(0, dtype=tf.int64)
    dataset = batches(split, recipe, Targets(10, seed=7), epoch)
    assert steps_of(split, recipe) == len(list(dataset)) == 5
    first = rows(split, dataset)
    assert np.array_equal(np.sort(first), np.arange(300))
    epoch.assign(1)
    second = rows(split, dataset)
    assert not np.array_equal(first, second)
    assert np.array_equal(second, rows(split, batches(split, recipe, Targets(10, seed=7), epoch=1)))
    assert not np.array_equal(second, rows(split, batches(split, recipe, Targets(10, seed=8), epoch=1)))


def test_a_trainable_model_and_its_folded_model_compute_the_same() -> None:
    """With convolutions, pooling and dense layers, and random values of batch norm."""
    net = models.build("cnn", (28, 28, 1), 10)
    trainable = folding.trainable_model(net, batch_norm=True)
    draw = np.random.default_rng(0)
    for variable in trainable.variables:
        scale = 0.05 if "kernel" in variable.name else 0.3
        value = draw.normal(size=variable.shape) * scale
        positive = "gamma" in variable.path or "variance" in variable.path
        variable.assign(np.abs(value) + 0.1 if positive else value)
    folding.fold(trainable, net)
    images = draw.random((16, 28, 28, 1)).astype(np.float32)
    assert net.count_params() == 421_642
    assert np.abs(np.asarray(trainable(images, training=False)) - np.asarray(net(images))).max() < 2e-5


def test_batch_norm_statistics_are_means_over_all_batches() -> None:
    net = models.build("dense", (28, 28, 1), 10)
    trainable = folding.trainable_model(net, batch_norm=True)
    images = np.random.default_rng(1).random((200, 28, 28, 1)).astype(np.float32)
    folding.reestimate_norms(trainable, [images[:100], images[100:]])
    hidden = images.reshape(200, -1) @ np.asarray(trainable.get_layer("hidden").get_weights()[0])
    mean, variance = (np.asarray(value) for value in trainable.get_layer("hidden_norm").get_weights()[2:])
    assert np.abs(mean - hidden.mean(axis=0)).max() < 1e-4
    batches = [hidden[:100].var(axis=0, ddof=1), hidden[100:].var(axis=0, ddof=1)]
    assert np.abs(variance - np.mean(batches, axis=0)).max() < 1e-4


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 2e-4), ("mixed_bfloat16", 0.02)])
@pytest.mark.parametrize("shape", [(64, 6), (16, 5, 5, 6)])
def test_fused_batch_norm_computes_what_keras_computes(
    shape: tuple[int, ...], precision: str, tolerance: float
) -> None:
    """Outputs, gradients and moving averages, in training and at inference."""
    import keras

    net = keras.Sequential([
        keras.Input(shape[1:]), keras.layers.Conv2D(6, 1, activation="relu") if len(shape) == 4
        else keras.layers.Dense(6, activation="relu"), keras.layers.Flatten(), keras.layers.Dense(2, name="last"),
    ])  # fmt: skip
    trainable = folding.trainable_model(net, batch_norm=True, precision=precision)
    fused = next(layer for layer in trainable.layers if "_norm" in layer.name)
    peer = keras.layers.BatchNormalization(momentum=0.9, dtype=precision)
    values = tf.constant(np.random.default_rng(2).normal(3, 2, shape), tf.float32)
    weights = tf.constant(np.random.default_rng(3).normal(size=shape), tf.float32)
    peer.build(shape)
    found = []
    for layer in (fused, peer):
        for variable, value in zip(layer.trainable_variables, (1.5, -0.5), strict=True):
            variable.assign(tf.fill(variable.shape, value))
        with tf.GradientTape() as tape:
            tape.watch(values)
            result = tf.cast(layer(values, training=True), tf.float32)
            loss = tf.reduce_sum(result * weights)
        gradients = tape.gradient(loss, [values, *layer.trainable_variables])
        found.append([np.asarray(item) for item in (result, *gradients, layer.moving_mean)])
    count = values.shape.num_elements() // 6
    for ours, keras_value in zip(*found, strict=True):
        assert np.abs(ours - keras_value).max() < tolerance * max(1, np.abs(keras_value).max())
    unbiased = 0.9 + 0.1 * np.var(np.reshape(values, (-1, 6)), axis=0) * count / (count - 1)
    assert np.abs(np.asarray(fused.moving_variance) - unbiased).max() < tolerance
    peer.set_weights(fused.get_weights())
    assert np.array_equal(fused(values, training=False), peer(values, training=False))


def test_a_checkpoint_that_is_damaged_or_of_another_run_is_not_resumed(tmp_path: Path) -> None:
    net = models.build("dense", (28, 28, 1), 10)
    net.compile("adam", "mse")
    net.optimizer.build(net.trainable_variables)
    path = tmp_path / "checkpoint.npz"
    assert Checkpoint(path, "key").resume(net) is None
    Checkpoint(path, "key").save(net, Record([{"loss": 1.0, "seconds": 2.0}]), 5)
    assert Checkpoint(path, "key").planned() == 5
    assert Checkpoint(path, "key").resume(net) == Record([{"loss": 1.0, "seconds": 2.0}])
    assert Checkpoint(path, "other").resume(net) is None
    other = models.build("cnn", (28, 28, 1), 10)
    other.compile("adam", "mse")
    assert Checkpoint(path, "key").resume(other) is None
    path.write_bytes(path.read_bytes()[:1000])
    assert Checkpoint(path, "key").resume(net) is None
