"""Forms of digits that are added to MNIST's training images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mnist_edge import data
from mnist_edge.data import Split
from mnist_edge.training.forms import FORMS, with_forms
from mnist_edge.vision.digit import is_normalized
from mnist_edge.vision.strokes import SOFT

SHARE = 0.1


@pytest.fixture(scope="module")
def added(mnist: data.Splits) -> Split:
    """The images that are added to the train split."""
    whole = with_forms(mnist.train, mnist, SHARE)
    rows = slice(len(mnist.train), None)
    return Split(whole.images[rows], whole.labels[rows], whole.indices[rows])


def test_images_are_added_to_the_digits_with_other_forms_alone(mnist: data.Splits, added: Split) -> None:
    assert set(added.labels) == set(FORMS)
    for digit in FORMS:
        of_digit = np.count_nonzero(mnist.train.labels == digit)
        assert 0.08 * of_digit < np.count_nonzero(added.labels == digit) <= 0.1 * of_digit + 1
    assert added.images.dtype == np.uint8
    assert added.images.shape[1:] == mnist.image_shape
    assert set(added.indices) <= set(mnist.train.indices)


def test_an_added_image_differs_from_its_source_and_is_normalized_as_mnist_is(mnist: data.Splits, added: Split) -> None:
    position = {index: at for at, index in enumerate(mnist.train.indices.tolist())}
    before = mnist.train.images[[position[index] for index in added.indices.tolist()]]
    assert (before != added.images).any(axis=(1, 2, 3)).all()
    # The sides are those of the ink above the level that the preprocessor measures.
    normalized = [is_normalized(np.where(image > SOFT, image, 0), (28, 28)) for image in added.images[..., 0]]
    assert np.mean(normalized) > 0.95


def test_the_same_images_are_made_each_time(mnist: data.Splits, added: Split) -> None:
    again = with_forms(mnist.train, mnist, SHARE)
    assert (again.images[len(mnist.train) :] == added.images).all()
    assert (again.images[: len(mnist.train)] == mnist.train.images).all()


def test_other_data_and_a_share_of_0_change_nothing(mnist: data.Splits) -> None:
    inverted = replace(mnist, sha256=mnist.sha256 | {"train_images": "0" * 64})  # with MNIST's labels and test images
    for splits, share in ((mnist, 0.0), (inverted, SHARE), (replace(mnist, sha256={}), SHARE)):
        assert with_forms(mnist.train, splits, share) is mnist.train


@pytest.mark.parametrize("digit", list(FORMS))
def test_an_image_without_a_whole_digit_gets_no_form(digit: int) -> None:
    draw = np.random.default_rng(0)
    dot = np.zeros((28, 28), np.float32)
    assert FORMS[digit](dot, draw) is None
    dot[14, 14] = 255
    assert FORMS[digit](dot, draw) is None


@pytest.mark.parametrize(("lean", "widest"), [(0.0, 0.75), (0.5, 1.0)])
def test_an_upstroke_is_steeper_than_the_top_of_a_seven(lean: float, widest: float) -> None:
    """Check the angle between drawn upstrokes and the vertical, on an upright and on a slanted stem.

    95 % of pendigits' sevens have a top stroke at more than 0.84 radians to the stem, and 1.25 to the vertical.

    Args:
        lean: angle of the stem, in radians, its top to the right.
        widest: largest angle between the upstroke and the vertical.
    """
    y, x = np.mgrid[:28, :28]
    stem = np.where((abs(x - 14 - (13.5 - y) * np.tan(lean)) < 1.5) & (y >= 4) & (y < 24), 255, 0).astype(np.float32)
    draw = np.random.default_rng(0)
    for _ in range(200):
        changed = FORMS[1](stem, draw)
        assert changed is not None
        rows, columns = np.nonzero((changed > stem) & (y < 22))  # without the foot, which some ones get
        left, height = x[4, stem[4] > 0].min() - columns.min(), rows.max() - 4
        assert left <= height * np.tan(widest) + 2


def test_strokes_at_the_rim_stay_inside_of_the_image() -> None:
    draw = np.random.default_rng(0)
    image = np.zeros((28, 28), np.float32)
    image[:, 26:] = 255
    for change in FORMS.values():
        changed = change(image, draw)
        assert changed is not None
        assert changed.shape == image.shape
        assert changed.max() <= 255
