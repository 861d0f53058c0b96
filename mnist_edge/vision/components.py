"""Connected components and Euler number of a binary mask, in NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Box:
    """Rectangle [left, right) x [top, bottom), in pixels."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.bottom - self.top


@dataclass(frozen=True)
class Component(Box):
    """One connected component: its bounding box, its label in the labelled mask, and its area in pixels."""

    label: int
    area: int


def components(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], list[Component]]:
    """Label the 8-connected components of a mask: two-pass labelling of runs (Rosenfeld and Pfaltz, 1966).

    Args:
        mask: bool (h, w).

    Returns:
        Labels, int32 (h, w), 0 for the background, and the components, the largest first.
    """
    labels = np.zeros(mask.shape, np.int32)
    occupied, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not occupied.size:
        return labels, []
    top, left = int(occupied[0]), int(columns[0])
    inside = np.s_[top : int(occupied[-1]) + 1, left : int(columns[-1]) + 1]
    mask = mask[inside]
    height, width = mask.shape
    stride = width + 2  # a background pixel at both ends of each row, so that no run continues in the next row
    padded = np.zeros((height, stride), np.bool_)
    padded[:, 1:-1] = mask
    flat = padded.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    begins, ends = edges[::2] + 1, edges[1::2] + 1
    numbers = _component_numbers(len(begins), *_touching_runs(begins, ends, stride))
    rows, lengths = begins // stride, ends - begins
    begins, ends = begins - rows * stride - 1, ends - rows * stride - 1
    labels[inside][mask] = np.repeat(numbers + 1, lengths)
    count = int(numbers.max()) + 1
    areas = np.bincount(numbers, lengths, count).astype(int)
    boxes = np.array([[width], [height], [0], [0]]).repeat(count, axis=1)
    np.minimum.at(boxes[0], numbers, begins)
    np.minimum.at(boxes[1], numbers, rows)
    np.maximum.at(boxes[2], numbers, ends)
    np.maximum.at(boxes[3], numbers, rows + 1)
    boxes += [[left], [top], [left], [top]]
    table = np.stack([*boxes, np.arange(1, count + 1), areas], axis=1).tolist()
    return labels, sorted((Component(*row) for row in table), key=lambda item: -item.area)


def _touching_runs(
    begins: NDArray[np.int64], ends: NDArray[np.int64], stride: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of a run and a run of the row above it that touch, corners included.

    Args:
        begins, ends: first pixel of each run and the pixel after its last one, in the flattened mask, ascending.
        stride: pixels per row of the flattened mask.

    Returns:
        Indices of the lower run and of the upper run of each pair.
    """
    first = np.searchsorted(ends, begins - stride)
    last = np.searchsorted(begins, ends - stride, side="right")
    counts = last - first
    below = np.repeat(np.arange(len(begins)), counts)
    above = np.arange(len(below)) - np.repeat(np.cumsum(counts) - counts - first, counts)
    return below, above


def _component_numbers(count: int, below: NDArray[np.int64], above: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of the component, from 0, of each of ``count`` runs, by union-find over the pairs of touching runs."""
    parent = list(range(count))
    for one, other in zip(below.tolist(), above.tolist(), strict=True):
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = parent[one]  # noqa: PLW2901
        while parent[other] != other:
            parent[other] = parent[parent[other]]
            other = parent[other]  # noqa: PLW2901
        if one < other:
            parent[other] = one
        else:
            parent[one] = other
    numbers, found = [], 0
    for at, one in enumerate(parent):  # the index of a parent is smaller than those of its children
        if one == at:
            numbers.append(found)
            found += 1
        else:
            numbers.append(numbers[one])
    return np.array(numbers, np.int64)


def euler_number(mask: NDArray[np.bool_]) -> int:
    """Number of 8-connected components of a mask minus the number of their 4-connected holes.

    Counted from 2 x 2 windows: (windows with one pixel - windows with three - 2 * diagonal windows) / 4 (S. B. Gray,
    "Local properties of binary images in two dimensions", IEEE Transactions on Computers, 1971).

    Args:
        mask: bool (h, w); all pixels on its border must be False.
    """
    values = mask.view(np.uint8)
    across = values[:, 1:] + values[:, :-1]
    in_square = across[1:] + across[:-1]
    diagonal = (in_square == 2) & (values[1:, 1:] == values[:-1, :-1])
    one, three = np.count_nonzero(in_square == 1), np.count_nonzero(in_square == 3)
    return int(one - three - 2 * np.count_nonzero(diagonal)) // 4
