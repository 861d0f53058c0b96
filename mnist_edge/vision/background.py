"""Local background of a photograph under uneven light: medians over windows that are wider than any stroke.

The background follows the light but not the strokes. For speed, medians are taken of a picture that is reduced to a
grid of points, one median for each 2 x 2 of them, and interpolated.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from mnist_edge.vision.strokes import resize

# Points of the grid on the longest side of the picture. A window has WINDOW x WINDOW points; beyond its edges the grid
# is mirrored.
GRID, WINDOW = 40, 22
# Index of the median of the sorted points of a window.
MIDDLE = WINDOW * WINDOW // 2
# The points of the grid are sorted into buckets of this many: counting those of one bucket takes about as long as
# counting the buckets.
BUCKET = 32
# Rows that one matrix product interpolates: OpenBLAS computes so small a product in the calling thread.
BLOCK = 32
# Medians are rounded to multiples of 1 / MEDIAN_UNIT and weights to multiples of 1 / WEIGHT_UNIT. The sums of products
# then have at most 53 bits: they are exact, whatever the processor and the order of additions, and in portable/ too.
MEDIAN_UNIT, WEIGHT_UNIT = 2.0**16, 2.0**27


def local_background(values: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Background of each pixel, float64 (h, w), from 0 to 255, of grey values (h, w)."""
    factor = max(values.shape) / GRID
    rows, columns = (max(4, 2 * round(size / factor / 2)) for size in values.shape)
    medians = window_medians(resize(values.astype(np.float32), (rows, columns)))
    down, across = (_interpolation(*sizes) for sizes in zip(medians.shape, values.shape, strict=True))
    narrow = np.rint(down @ np.rint(medians * MEDIAN_UNIT)) / MEDIAN_UNIT
    background = np.empty(values.shape)
    for top in range(0, len(narrow), BLOCK):
        np.matmul(narrow[top : top + BLOCK], across.T, out=background[top : top + BLOCK])
    return np.clip(background, 0, 255, out=background)  # bicubic interpolation overshoots


def window_medians(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median of the window around each 2 x 2 points.

    The points are sorted once, and divided into buckets. A matrix product counts for each window how many of its points
    are in the first bucket, in the first two, and so on: the first count above MIDDLE gives the median's bucket. The
    points of this bucket are then counted one by one. This takes less than half of the time of `numpy.partition`.

    Args:
        points: float32 (r, c); both are even.

    Returns:
        float32 (r / 2, c / 2): of each window the value that has index MIDDLE in ascending order.
    """
    rows, columns, occurs = _windows(*points.shape)
    order = np.argsort(points, axis=None, kind="stable")
    rank = np.empty(order.size, np.uint16)
    rank[order] = np.arange(order.size)
    begins = np.arange(0, order.size + BUCKET, BUCKET, np.uint16)
    is_below = (rank.reshape(points.shape) < begins[:, np.newaxis, np.newaxis]).astype(np.float32)
    counts = (rows @ (is_below @ columns.T)).reshape(len(begins), -1)
    bucket = (counts > MIDDLE).argmax(axis=0) - 1
    window = np.arange(len(bucket))
    members = order.take(bucket[:, np.newaxis] * BUCKET + np.arange(BUCKET), mode="clip")
    counted = occurs.take(members + order.size * window[:, np.newaxis]).cumsum(axis=1, dtype=np.int16)
    found = (counted > (MIDDLE - counts[bucket, window])[:, np.newaxis]).argmax(axis=1)
    medians: NDArray[np.float32] = points.take(members[window, found]).reshape(len(rows), len(columns))
    return medians


@functools.lru_cache(maxsize=8)
def _windows(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]:
    """How often points occur in windows.

    Returns:
        Of each row of points in each row of windows, float32 (height / 2, height); the same of columns; and of each
        point in each window, uint8 (windows, points).
    """
    down, across = _in_windows(height), _in_windows(width)
    occurs = down[:, np.newaxis, :, np.newaxis] * across[:, np.newaxis, :]
    return down.astype(np.float32), across.astype(np.float32), occurs.reshape(-1, height * width)


def _in_windows(size: int) -> NDArray[np.uint8]:
    """How often each of ``size`` points of an axis occurs in each window, uint8 (size / 2, size)."""
    mirrored = np.pad(np.arange(size), WINDOW // 2 - 1, mode="symmetric")
    windows = [mirrored[first : first + WINDOW] for first in range(0, size, 2)]
    return np.array([np.bincount(window, minlength=size) for window in windows], np.uint8)


@functools.lru_cache(maxsize=16)
def _interpolation(size: int, enlarged: int) -> NDArray[np.float64]:
    """Weight of each of ``size`` values in each of ``enlarged`` values between them, float64 (enlarged, size)."""
    from PIL import Image as Pil

    each = Pil.fromarray(np.eye(size, dtype=np.float32))
    weights = np.asarray(each.resize((size, enlarged), Pil.Resampling.BICUBIC), np.float64)
    rounded: NDArray[np.float64] = np.rint(weights * WEIGHT_UNIT) / WEIGHT_UNIT
    return rounded
