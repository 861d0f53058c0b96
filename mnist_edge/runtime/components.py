"""Connected components of a mask, by runs and union-find; numpy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Box:
    """[left, right) x [top, bottom), in pixels."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Across."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Down."""
        return self.bottom - self.top


@dataclass(frozen=True)
class Component(Box):
    """One connected piece: its box, its number in the labelled mask, and its pixels."""

    label: int
    area: int


def components(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], list[Component]]:
    """Label the 8-connected pieces of a mask.

    Args:
        mask: bool (h, w).

    Returns:
        int32 (h, w), 0 outside, and the pieces, the largest first. Two-pass labelling over runs (Rosenfeld and Pfaltz,
        1966).
    """
    height, width = mask.shape
    padded = np.zeros((height, width + 2), np.int8)
    padded[:, 1:-1] = mask
    change = np.diff(padded, axis=1)
    rows, begins = np.nonzero(change == 1)
    ends = np.nonzero(change == -1)[1]
    parent = np.arange(len(rows))
    _join_rows(rows, begins, ends, parent)
    roots = np.array([_root(parent, at) for at in range(len(rows))], np.int64)
    kinds, numbers = np.unique(roots, return_inverse=True)
    labels = np.zeros((height, width), np.int32)
    for row, begin, end, number in zip(rows.tolist(), begins.tolist(), ends.tolist(), numbers.tolist(), strict=True):
        labels[row, begin:end] = number + 1
    count = len(kinds)
    areas = np.bincount(numbers, ends - begins, count).astype(int)
    left, top = np.full(count, width), np.full(count, height)
    right, bottom = np.zeros(count, int), np.zeros(count, int)
    np.minimum.at(left, numbers, begins)
    np.minimum.at(top, numbers, rows)
    np.maximum.at(right, numbers, ends)
    np.maximum.at(bottom, numbers, rows + 1)
    table = np.stack([left, top, right, bottom, np.arange(1, count + 1), areas], axis=1).tolist()
    return labels, sorted((Component(*row) for row in table), key=lambda item: -item.area)


def _join_rows(
    rows: NDArray[np.int64], begins: NDArray[np.int64], ends: NDArray[np.int64], parent: NDArray[np.int64]
) -> None:
    """Unite the runs that touch one of the row above, corners included."""
    starts = np.searchsorted(rows, np.arange(int(rows.max(initial=-1)) + 2))
    for row in range(1, len(starts) - 1):
        above, here = int(starts[row - 1]), int(starts[row])
        while above < starts[row] and here < starts[row + 1]:
            if begins[above] <= ends[here] and begins[here] <= ends[above]:
                one, other = _root(parent, above), _root(parent, here)
                parent[max(one, other)] = min(one, other)
            if ends[above] < ends[here]:
                above += 1
            else:
                here += 1


def _root(parent: NDArray[np.int64], at: int) -> int:
    while parent[at] != at:
        parent[at] = parent[parent[at]]
        at = int(parent[at])
    return at
