"""Digits on sheets of paper in front of anything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from mnist_edge.vision.digit import NoDigit, find_digits
from mnist_edge.vision.sheet_search import find_digits_on_sheets

SHAPE = (28, 28)


def clutter(seed: int = 0) -> NDArray[np.uint8]:
    """A background of squares of many grey levels, 480 x 640, none as light as paper."""
    squares = np.random.default_rng(seed).integers(20, 170, (40, 54))
    return np.kron(squares, np.ones((12, 12), np.int64))[:480, :640].astype(np.uint8)


def with_sheet(scene: NDArray[np.uint8], left: int, top: int) -> tuple[int, int, int, int]:
    """Put a sheet of 200 x 200 pixels with a 1 on it into a scene; return the box of the 1."""
    scene[top : top + 200, left : left + 200] = 230
    scene[top + 50 : top + 150, left + 90 : left + 104] = 30
    return left + 90, top + 50, 14, 100


@pytest.mark.parametrize("seed", range(3))
def test_a_digit_on_a_sheet_before_a_background_with_details_is_found_with_its_box(seed: int) -> None:
    scene = clutter(seed)
    box = with_sheet(scene, 70 + 100 * seed, 90)
    (found,) = find_digits_on_sheets(scene, SHAPE)
    assert np.abs(np.subtract(found.box, box)).max() <= 4
    assert found.pixels.shape == SHAPE


def test_digits_on_two_sheets_are_both_found() -> None:
    scene = clutter()
    boxes = [with_sheet(scene, 40, 60), with_sheet(scene, 380, 200)]
    found = sorted(find_digits_on_sheets(scene, SHAPE), key=lambda item: item.box)
    assert len(found) == 2
    for item, box in zip(found, boxes, strict=True):
        assert np.abs(np.subtract(item.box, box)).max() <= 4


def test_an_empty_sheet_a_background_alone_and_a_sheet_that_fills_the_picture_have_none() -> None:
    scene = clutter()
    assert find_digits_on_sheets(scene, SHAPE) == []
    scene[100:300, 100:300] = 230
    assert find_digits_on_sheets(scene, SHAPE) == []
    page = np.full((480, 640), 230, np.uint8)
    with_sheet(page, 200, 100)
    assert find_digits_on_sheets(page, SHAPE) == []
    assert len(find_digits(page, SHAPE)) == 1  # this is found without a search for sheets


def test_the_whole_picture_is_noise_where_the_sheet_is_found() -> None:
    scene = clutter()
    with_sheet(scene, 200, 100)
    with pytest.raises(NoDigit):
        find_digits(scene, SHAPE)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 60), st.integers(1, 60))))
@settings(max_examples=40, deadline=None)
def test_any_picture_is_searched_without_an_error(grey: NDArray[np.uint8]) -> None:
    for item in find_digits_on_sheets(grey, SHAPE):
        left, top, width, height = item.box
        assert left >= 0 and top >= 0 and left + width <= grey.shape[1] and top + height <= grey.shape[0]
