"""Cropping of a sheet of paper out of a photograph, without its surroundings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Width of the strip along the edges of a sheet that is left out, as a share of the sheet's longer side.
RIM = 0.025


def inside_of_sheet(values: NDArray[np.uint8], sheet: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """The surface of a sheet as a picture.

    Pixels between the sheet and the edges of this picture get the nearest value of the sheet in the same row. So a
    figure that touches the edge of the sheet touches the edge of the picture.

    Args:
        values: uint8 (h, w), the photograph within the sheet's box.
        sheet: bool (h, w), the sheet's pixels; ink on it may be missing.

    Returns:
        The picture, uint8, and the row and column of ``values`` at which it begins. Empty if the sheet is too small.
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


def hull_area(mask: NDArray[np.bool_]) -> float:
    """Number of pixels that the convex hull of a mask covers, in rows as they are."""
    left, right = _extent(mask)
    return float((right - left).cumsum()[-1])  # added row by row, as in portable/


def _extent(mask: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First column of the convex hull of a mask in each row, and the column after its last one."""
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask.argmax(axis=1)[rows]
    end = mask.shape[1] - mask[:, ::-1].argmax(axis=1)[rows]
    every = np.arange(mask.shape[0])
    return _lower_hull(rows, first, every), -_lower_hull(rows, -end, every)


def _lower_hull(at: NDArray[np.int64], values: NDArray[np.int64], every: NDArray[np.int64]) -> NDArray[np.float64]:
    """Lower convex hull of the points (at, values), evaluated at ``every`` (monotone chain; A. M. Andrew, 1979).

    ``at`` must ascend.
    """
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
