"""Forms of digits that are added to MNIST's training images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mnist_edge import data
from mnist_edge.data import Split
from mnist_edge.training.forms import FORMS, with_forms

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


def test_a_form_adds_ink_and_stays_centred(mnist: data.Splits, added: Split) -> None:
    """The centre of mass is less than a pixel from the middle, unless ink at the rim leaves no room."""
    position = {index: at for at, index in enumerate(mnist.train.indices.tolist())}
    before = mnist.train.images[[position[index] for index in added.indices.tolist()]]
    ink_before, ink_after = (images.astype(np.float64).sum(axis=(1, 2, 3)) for images in (before, added.images))
    assert (ink_after > ink_before).mean() > 0.99
    assert np.median(ink_after / ink_before) < 2
    pixels = added.images[..., 0].astype(np.float64)
    down = (pixels.sum(axis=2) @ np.arange(28)) / pixels.sum(axis=(1, 2)) - 13.5
    across = (pixels.sum(axis=1) @ np.arange(28)) / pixels.sum(axis=(1, 2)) - 13.5
    assert np.quantile(np.abs(np.concatenate([down, across])), 0.95) < 1


def test_the_same_images_are_made_each_time(mnist: data.Splits, added: Split) -> None:
    again = with_forms(mnist.train, mnist, SHARE)
    assert (again.images[len(mnist.train) :] == added.images).all()
    assert (again.images[: len(mnist.train)] == mnist.train.images).all()


def test_other_data_and_a_share_of_0_change_nothing(mnist: data.Splits) -> None:
    named = replace(mnist, class_names=tuple("abcdefghij"))
    for splits, share in ((mnist, 0.0), (named, SHARE), (replace(mnist, preprocessor="resize"), SHARE)):
        assert with_forms(mnist.train, splits, share) is mnist.train


@pytest.mark.parametrize("digit", list(FORMS))
def test_an_image_without_a_whole_digit_gets_no_form(digit: int) -> None:
    draw = np.random.default_rng(0)
    dot = np.zeros((28, 28), np.float32)
    assert FORMS[digit](dot, draw) is None
    dot[14, 14] = 255
    assert FORMS[digit](dot, draw) is None


def test_strokes_at_the_rim_stay_inside_of_the_image() -> None:
    draw = np.random.default_rng(0)
    image = np.zeros((28, 28), np.float32)
    image[:, 26:] = 255
    for change in FORMS.values():
        changed = change(image, draw)
        assert changed is not None
        assert changed.shape == image.shape
        assert changed.max() <= 255
