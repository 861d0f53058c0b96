"""Connected components and Euler number of a binary mask, in NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

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


class Component(NamedTuple):
    """One connected component: its bounding box, its label in the labelled mask, and its area in pixels.

    No dataclass, because noise has thousands of components and a tuple is made several times as fast.
    """

    left: int
    top: int
    right: int
    bottom: int
    label: int
    area: int

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.bottom - self.top


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
    edges = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
    begins, ends = edges[1:-1:2], edges[2::2]
    numbers = _component_numbers(len(begins), *_touching_runs(begins, ends, stride))
    values = np.zeros(len(edges) - 1, np.int32)  # of background and runs in turns
    values[1::2] = numbers + 1
    labels[inside] = values.repeat(edges[1:] - edges[:-1]).reshape(height, stride)[:, 1:-1]
    # Runs sorted by component, each component's from the top.
    order, count = np.argsort(numbers, kind="stable"), int(numbers.max()) + 1
    begins, ends = begins[order], ends[order]
    rows, lengths = begins // stride, ends - begins
    first = np.searchsorted(numbers[order], np.arange(count))
    last = np.concatenate([first[1:], [len(order)]]) - 1
    lefts = np.minimum.reduceat(begins - rows * stride, first) - 1 + left
    rights = np.maximum.reduceat(ends - rows * stride, first) - 1 + left
    areas = np.add.reduceat(lengths, first)
    table = np.stack([lefts, rows[first] + top, rights, rows[last] + 1 + top, np.arange(1, count + 1), areas], axis=1)
    return labels, sorted(map(Component._make, table.tolist()), key=lambda item: -item.area)


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
    """Number of the component, from 0, of each of ``count`` runs, by union-find over the pairs of touching runs.

    Each round joins every root that touches earlier roots to the first of them, for all roots at once. A root that is
    left after two rounds has been joined with at least one other, so that the number of rounds is logarithmic.
    """
    root = np.arange(count)
    while below.size:
        np.minimum.at(root, below, above)
        parent = root[root]
        while (parent != root).any():
            root, parent = parent, parent[parent]
        one, other = root[below], root[above]
        apart = np.flatnonzero(one != other)
        below, above = np.maximum(one, other)[apart], np.minimum(one, other)[apart]
    numbers: NDArray[np.int64] = (np.cumsum(root == np.arange(count)) - 1)[root]
    return numbers


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
