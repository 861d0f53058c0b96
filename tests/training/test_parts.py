"""The parts of training by themselves: changes to pictures, batches, the twin that folds back, checkpoints."""

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
from mnist_edge.training.batches import batches, steps_of
from mnist_edge.training.checkpoint import Checkpoint, Record

tf = import_tensorflow()


def changed(images: NDArray[np.uint8], seed: int = 1, **ranges: float) -> NDArray[np.float32]:
    return np.asarray(augment(tf.constant(images), Augmentation(**ranges), tf.constant([seed, 0], tf.int64)))


@pytest.fixture(scope="module")
def digits(mnist: data.Splits) -> NDArray[np.uint8]:
    return mnist.train.images[:64]


def test_no_change_is_no_change_at_all(digits: NDArray[np.uint8]) -> None:
    assert np.array_equal(changed(digits), digits.astype(np.float32))
    assert np.array_equal(changed(digits, photometric=1.0), digits.astype(np.float32))


GEOMETRIC = ["rotation", "scale", "stretch", "shear", "shift", "perspective", "elastic"]
PHOTOMETRIC = ["pen", "contrast", "blur", "background", "noise", "invert"]


def test_every_range_is_tried_here() -> None:
    assert {field.name for field in fields(Augmentation)} == {*GEOMETRIC, *PHOTOMETRIC, "photometric"}


@pytest.mark.parametrize("name", GEOMETRIC + PHOTOMETRIC)
def test_a_change_changes_stays_in_range_and_depends_on_the_seed_alone(digits: NDArray[np.uint8], name: str) -> None:
    amount = {"rotation": 10.0, "shift": 2.0, "elastic": 1.0, "contrast": 3.0, "invert": 0.5}.get(name, 0.2)
    ranges = {name: amount, "photometric": 1.0 if name in PHOTOMETRIC else 0.0}
    first = changed(digits, 1, **ranges)
    assert first.min() >= 0
    assert first.max() <= 255.001
    assert 0.2 < np.abs(first - digits).mean() < 130
    assert np.array_equal(first, changed(digits, 1, **ranges))
    assert not np.array_equal(first, changed(digits, 2, **ranges))
    assert len({image.tobytes() for image in first - digits}) > 16, "images are changed each in its own way"


def test_only_the_share_asked_for_is_photographed(digits: NDArray[np.uint8]) -> None:
    moved = (changed(digits, photometric=0.25, background=0.5, noise=0.2) != digits).any(axis=(1, 2, 3))
    assert moved[:16].sum() >= 15
    assert not moved[16:].any()


def test_a_shift_is_a_shift_and_a_rotation_turns(digits: NDArray[np.uint8]) -> None:
    """Against a resampling by scipy: the same matrix, the same bilinear rule."""
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
        inside = np.s_[2:-2, 2:-2]  # at the very rim scipy cuts off where we blend into black
        assert np.abs(found[at, ..., 0] - expected)[inside].max() < 0.05


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(20, 40), st.integers(20, 40))
def test_pictures_of_any_size(count: int, height: int, width: int) -> None:
    images = np.full((count, height, width, 1), 200, np.uint8)
    assert changed(images, shift=1.0, elastic=0.5, photometric=0.5, pen=0.5).shape == images.shape


def small(mnist: data.Splits, count: int = 300) -> data.Split:
    """So many images, each of which tells its number by its first two pixels."""
    images = mnist.train.images[:count].copy()
    images[:, 0, 0, 0], images[:, 0, 1, 0] = np.arange(count) // 256, np.arange(count) % 256
    return data.Split(images, mnist.train.labels[:count], np.arange(count))


def rows(split: data.Split, dataset: Any) -> NDArray[np.int64]:
    inputs, targets = (np.concatenate(parts) for parts in zip(*dataset.as_numpy_iterator(), strict=True))
    numbers = np.rint(inputs[:, 0, 0, 0] * 255) * 256 + np.rint(inputs[:, 0, 1, 0] * 255)
    numbers = numbers.astype(np.int64)
    assert np.array_equal(targets.argmax(axis=1), split.labels[numbers])
    return np.asarray(numbers)


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own(mnist: data.Splits) -> None:
    split, recipe = small(mnist), replace(RECIPES["tutorial"]["*"], batch_size=64)
    epoch = tf.Variable(0, dtype=tf.int64)
    dataset = batches(split, recipe, 7, 10, epoch=epoch)
    assert steps_of(split, recipe) == len(list(dataset)) == 5
    first = rows(split, dataset)
    assert np.array_equal(np.sort(first), np.arange(300))
    epoch.assign(1)
    second = rows(split, dataset)
    assert not np.array_equal(first, second)
    assert np.array_equal(second, rows(split, batches(split, recipe, 7, 10, epoch=1)))
    assert not np.array_equal(second, rows(split, batches(split, recipe, 8, 10, epoch=1)))


def test_the_twin_means_the_same_as_the_net_that_it_folds_into() -> None:
    """A convolution net with everything that moves: pooling, batch norm, dense layers."""
    net = models.build("cnn", (28, 28, 1), 10)
    twin = folding.twin(net, batch_norm=True)
    draw = np.random.default_rng(0)
    for variable in twin.variables:
        scale = 0.05 if "kernel" in variable.name else 0.3
        value = draw.normal(size=variable.shape) * scale
        positive = "gamma" in variable.path or "variance" in variable.path
        variable.assign(np.abs(value) + 0.1 if positive else value)
    folding.fold(twin, net)
    images = draw.random((16, 28, 28, 1)).astype(np.float32)
    assert net.count_params() == 421_642
    assert np.abs(np.asarray(twin(images, training=False)) - np.asarray(net(images))).max() < 2e-5


def test_norms_are_estimated_over_all_batches() -> None:
    net = models.build("dense", (28, 28, 1), 10)
    twin = folding.twin(net, batch_norm=True)
    images = np.random.default_rng(1).random((200, 28, 28, 1)).astype(np.float32)
    folding.reestimate_norms(twin, [images[:100], images[100:]])
    hidden = images.reshape(200, -1) @ np.asarray(twin.get_layer("hidden").get_weights()[0])
    mean = np.asarray(twin.get_layer("hidden_norm").get_weights()[2])
    assert np.abs(mean - hidden.mean(axis=0)).max() < 1e-4


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_not_taken(tmp_path: Path) -> None:
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
