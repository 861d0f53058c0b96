"""What is on a sheet of paper that lies on a desk: the sheet alone, without its surroundings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Pixels next to the edges of a sheet that are left out, as a share of its longer side.
RIM = 0.025


def inside_of_sheet(values: NDArray[np.uint8], sheet: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """The sheet's surface as a picture of its own, and the row and column at which it begins.

    What is between the sheet and the picture's edges is filled with the nearest value of the same row of the sheet:
    a figure that touches the edge of the sheet then touches the edge of the picture.

    Args:
        values: uint8 (h, w), the picture within the sheet's box.
        sheet: bool (h, w), the sheet's pixels; ink on it may be missing.
    """
    rim = max(3, round(RIM * max(sheet.shape)))
    left, right = _extent(sheet)
    top, bottom = _extent(sheet.T)
    down, across = np.mgrid[: sheet.shape[0], : sheet.shape[1]]
    inside = (across >= left[:, np.newaxis] + rim) & (across < right[:, np.newaxis] - rim)
    inside &= (down >= top + rim) & (down < bottom - rim)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not rows.size:
        return values[:0, :0], (0, 0)
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inside = inside[box]
    first, last = inside.argmax(axis=1), inside.shape[1] - 1 - inside[:, ::-1].argmax(axis=1)
    nearest = np.clip(np.arange(inside.shape[1]), first[:, np.newaxis], last[:, np.newaxis])
    return np.take_along_axis(values[box], nearest, axis=1), (int(rows[0]), int(columns[0]))


def _extent(mask: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each row, where the convex hull of a mask begins and ends."""
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask.argmax(axis=1)[rows]
    end = mask.shape[1] - mask[:, ::-1].argmax(axis=1)[rows]
    every = np.arange(mask.shape[0])
    return _below(rows, first, every), -_below(rows, -end, every)


def _below(at: NDArray[np.int64], values: NDArray[np.int64], every: NDArray[np.int64]) -> NDArray[np.float64]:
    """The largest convex function below some points (Andrew's monotone chain)."""
    chain: list[tuple[int, int]] = []
    for x, y in zip(at.tolist(), values.tolist(), strict=True):
        while len(chain) > 1:
            (x0, y0), (x1, y1) = chain[-2:]
            if (x1 - x0) * (y - y0) > (y1 - y0) * (x - x0):
                break
            chain.pop()
        chain.append((x, y))
    corners = np.array(chain, np.float64)
    return np.interp(every, corners[:, 0], corners[:, 1])
