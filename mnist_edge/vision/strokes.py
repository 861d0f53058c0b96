"""Normalization of one figure: scaling, centring and stroke width as in MNIST."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mnist_edge.vision.resampling import resized

# Longest side of a digit in MNIST, as a share of the picture's side.
SHARE = 20 / 28
# Full ink.
FULL = 255
# Pixels with less ink than SOFT are outside of a stroke, pixels with more than HALF inside.
SOFT, HALF = 0.1 * FULL, 0.5 * FULL
# Stroke widths are measured in pixels of a picture that is this many times finer than MNIST's.
FINE = 8
# Stroke widths in those pixels: THIN to THICK are the 5 % and 95 % quantiles of MNIST's validation split, rounded.
# Thicker strokes are eroded to THICK, thinner ones dilated to MIDDLE.
THIN, THICK, MIDDLE = 12.0, 32.0, 17.0

Ink = NDArray[np.uint8]
Values = TypeVar("Values", NDArray[np.uint8], NDArray[np.float32])


def normalize(ink: Ink, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """Scale, centre and, if need be, thicken or thin a figure as MNIST's digits are.

    Args:
        ink: uint8 (h, w), 0 (none) to 255 (full): the figure alone, cropped to its box or slightly larger.
        shape: (h, w) of the result.

    Returns:
        uint8 of that shape; None if no ink is left.
    """
    side = round(SHARE * min(shape))
    crop = trimmed(ink, SOFT)
    edged = np.zeros((crop.shape[0] + 2, crop.shape[1] + 2), np.uint8)  # with a border of background
    edged[1:-1, 1:-1] = crop
    factor = side * FINE / max(crop.shape)
    # Strokes of a figure that is large already are measured without scaling.
    large = _fine(edged, factor) if factor > 1 else edged > HALF
    if not large.any():
        return None
    width = stroke_width(large) * min(factor, 1.0)
    if not THIN <= width <= THICK:
        strokes = _with_corrected_width(np.pad(_fine(edged, factor), FINE), width)
        if not strokes.any():
            return None
        crop = trimmed(np.where(strokes, np.uint8(FULL), np.uint8(0)), HALF)
    return _centred(resize(crop, _scaled(crop.shape, side)), shape)


def _fine(ink: Ink, factor: float) -> NDArray[np.bool_]:
    """Mask of the strokes, scaled by a factor."""
    strokes: NDArray[np.bool_] = resize(ink, tuple(max(1, round(size * factor)) for size in ink.shape)) > HALF
    return strokes


def trimmed(values: Ink, level: float) -> Ink:
    """Crop to the rows and columns between the first and the last that hold a value above a level; one must exist."""
    above = values > level
    rows, columns = (np.flatnonzero(above.any(axis=axis)) for axis in (1, 0))
    return values[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _scaled(shape: tuple[int, ...], side: int) -> tuple[int, ...]:
    """Height and width with the longest side scaled to ``side``; unchanged if at most one pixel shorter."""
    longest = max(shape)
    return shape if side - 1 <= longest <= side else tuple(max(1, round(size * side / longest)) for size in shape)


def _with_corrected_width(strokes: NDArray[np.bool_], width: float) -> NDArray[np.bool_]:
    """Strokes thinner than THIN dilated to MIDDLE, strokes thicker than THICK eroded to THICK."""
    if width < THIN:
        return _dilated(strokes, (MIDDLE - width) / 2)
    return ~_dilated(~strokes, (width - THICK) / 2)


def stroke_width(strokes: NDArray[np.bool_]) -> float:
    """Mean width of strokes in pixels: twice the area divided by the perimeter.

    The perimeter is the number of pixel edges times pi / 4, the mean ratio over all directions of an outline (the
    Cauchy-Crofton formula for two directions).
    """
    edges = np.count_nonzero(strokes[1:] != strokes[:-1]) + np.count_nonzero(strokes[:, 1:] != strokes[:, :-1])
    return 2 * np.count_nonzero(strokes) / max(1.0, edges * np.pi / 4)


def _dilated(strokes: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Morphological dilation of a mask by a disc of a radius in pixels."""
    reach = int(np.ceil(radius))
    down, across = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    dilated = strokes.copy()
    height, width = strokes.shape
    for dy, dx in zip(down.ravel().tolist(), across.ravel().tolist(), strict=True):
        if 0 < dy * dy + dx * dx <= radius * radius + 0.5:
            to = np.s_[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)]
            of = np.s_[max(-dy, 0) : height + min(-dy, 0), max(-dx, 0) : width + min(-dx, 0)]
            dilated[to] |= strokes[of]
    return dilated


def _centred(digit: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Picture of a shape with the digit's centre of mass in the middle, or as near as the digit fits."""
    mass = centre(digit)
    corner = [
        min(max(round(whole / 2 - at), 0), whole - size)
        for whole, at, size in zip(shape, mass, digit.shape, strict=True)
    ]
    pixels = np.zeros(shape, np.uint8)
    pixels[corner[0] : corner[0] + digit.shape[0], corner[1] : corner[1] + digit.shape[1]] = digit
    return pixels


def centre(pixels: NDArray[np.uint8]) -> tuple[float, float]:
    """Centre of mass: row and column."""
    values = pixels.astype(np.float64)
    whole = values.sum()
    rows, columns = np.arange(values.shape[0]), np.arange(values.shape[1])
    return float(values.sum(axis=1) @ rows / whole), float(values.sum(axis=0) @ columns / whole)


def resize(values: Values, shape: tuple[int, ...]) -> Values:
    """Resize an array (h, w) to a shape: averaged over areas if it has fewer pixels, else bicubic."""
    from PIL import Image as Pil

    if values.shape == tuple(shape):
        return values
    shrinks = shape[0] * shape[1] < values.size
    how = Pil.Resampling.BOX if shrinks else Pil.Resampling.BICUBIC
    picture = Pil.fromarray(np.ascontiguousarray(values))
    return np.asarray(resized(picture, shape[1], shape[0], how), values.dtype)
