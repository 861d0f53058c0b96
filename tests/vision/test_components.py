"""Connected components and the Euler number, compared with SciPy and with a plain implementation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from mnist_edge.vision.components import components, euler_number

MASKS = hnp.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@given(MASKS)
def test_components_are_those_of_scipy(mask: np.ndarray) -> None:
    labels, found = components(mask)
    expected, count = ndimage.label(mask, np.ones((3, 3)))
    assert len(found) == count
    assert ((labels > 0) == mask).all()
    for item in found:
        mine = labels == item.label
        assert len(np.unique(expected[mine])) == 1
        rows, columns = np.nonzero(mine)
        assert item.area == mine.sum()
        assert (item.top, item.bottom) == (rows.min(), rows.max() + 1)
        assert (item.left, item.right) == (columns.min(), columns.max() + 1)
    assert [item.area for item in found] == sorted((item.area for item in found), reverse=True)


def flooded(mask: np.ndarray) -> np.ndarray:
    """Labels by filling one component after the other, in the order of their first pixels, row by row."""
    labels, label = np.zeros(mask.shape, np.int32), 0
    pixels = [(row, column) for row, column in np.argwhere(mask).tolist()]
    free = set(pixels)
    for first in pixels:
        waiting, label = [first], label + (first in free)
        while waiting:
            row, column = waiting.pop()
            if (row, column) in free:
                free.remove((row, column))
                labels[row, column] = label
                waiting += [(row + down, column + across) for down in (-1, 0, 1) for across in (-1, 0, 1)]
    return labels


@given(MASKS)
def test_labels_are_in_the_order_of_the_first_pixels(mask: np.ndarray) -> None:
    assert np.array_equal(components(mask)[0], flooded(mask))


def spiral(side: int) -> np.ndarray:
    """A path one pixel wide from the edge to the centre, with one pixel of background between its turns."""
    mask = np.zeros((side, side), np.bool_)
    row, column, down, across = 0, -1, 0, 1
    for length in [side, *np.repeat(np.arange(side - 1, 0, -2), 2).tolist()]:
        for _ in range(length):
            row, column = row + down, column + across
            mask[row, column] = True
        down, across = across, -down
    return mask


ROWS, COLUMNS = np.mgrid[:60, :80]
# Masks whose runs are joined over long ways, or many at once.
JOINED = {
    "a spiral": spiral(41),
    "a spiral from below": spiral(41)[::-1],
    "a comb that opens upwards": (COLUMNS % 2 == 0) | (ROWS == 59),
    "a comb that opens downwards": (COLUMNS % 2 == 0) | (ROWS == 0),
    "zigzags": (COLUMNS + np.abs(ROWS % 20 - 10)) % 4 == 0,
    "a chessboard": (ROWS + COLUMNS) % 2 == 0,
    "noise": np.random.default_rng(0).random((60, 80)) < 0.4,
}


@pytest.mark.parametrize("name", JOINED)
def test_runs_that_are_joined_far_away_get_one_label(name: str) -> None:
    assert np.array_equal(components(JOINED[name])[0], flooded(JOINED[name]))


@given(MASKS)
def test_the_euler_number_is_components_minus_holes(mask: np.ndarray) -> None:
    framed = np.pad(mask, 1)
    count = ndimage.label(framed, np.ones((3, 3)))[1]
    holes = ndimage.label(~framed)[1] - 1  # all 4-connected areas of background but the one outside
    assert euler_number(framed) == count - holes
