"""One figure's ink to MNIST's size, place and weight of stroke."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

# Of MNIST's own picture: the digit's longest side as a share of the picture's.
SHARE = 20 / 28
FULL = 255
# Ink below this is no edge of a stroke, and above this is inside of one.
SOFT, HALF = 0.1 * FULL, 0.5 * FULL
# The scale at which strokes are judged: pixels for each of the digit's 20.
FINE = 8
# Stroke widths in those pixels: nearly all of MNIST's lie between (5 % to 95 % of the validation split, in steps), and
# what a thinner one is brought to.
THIN, THICK, MIDDLE = 12.0, 32.0, 17.0

Ink = NDArray[np.uint8]
Values = TypeVar("Values", NDArray[np.uint8], NDArray[np.float32])


def normalize(ink: Ink, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """A figure as MNIST would have it.

    Args:
        ink: uint8 (h, w), 0 none to 255 full: the figure alone, cropped with a pixel or so around it.
        shape: (h, w) of the picture to make.

    Returns:
        uint8 of that shape; None where nothing is left.
    """
    side = round(SHARE * min(shape))
    crop = trimmed(ink, SOFT)
    edged = np.zeros((crop.shape[0] + 2, crop.shape[1] + 2), np.uint8)  # background next to the stroke
    edged[1:-1, 1:-1] = crop
    factor = side * FINE / max(crop.shape)
    # A larger figure's strokes are measured as they are.
    large = _fine(edged, factor) if factor > 1 else edged > HALF
    if not large.any():
        return None
    width = _stroke_width(large) * min(factor, 1.0)
    if not THIN <= width <= THICK:
        strokes = _weighted(np.pad(_fine(edged, factor), FINE), width)
        if not strokes.any():
            return None
        crop = trimmed(np.where(strokes, np.uint8(FULL), np.uint8(0)), HALF)
    return _centred(resize(crop, _scaled(crop.shape, side)), shape)


def _fine(ink: Ink, factor: float) -> NDArray[np.bool_]:
    """The strokes at the scale at which they are judged."""
    strokes: NDArray[np.bool_] = resize(ink, tuple(max(1, round(size * factor)) for size in ink.shape)) > HALF
    return strokes


def trimmed(values: Ink, level: float) -> Ink:
    """Without the rows and columns at the edges in which nothing is above a level."""
    above = values > level
    rows, columns = (np.flatnonzero(above.any(axis=axis)) for axis in (1, 0))
    return values[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _scaled(shape: tuple[int, ...], side: int) -> tuple[int, ...]:
    """With the longest side as long as it should be; as it is where a pixel is all that it lacks."""
    longest = max(shape)
    return shape if side - 1 <= longest <= side else tuple(max(1, round(size * side / longest)) for size in shape)


def _weighted(strokes: NDArray[np.bool_], width: float) -> NDArray[np.bool_]:
    """Strokes of a width that is far from MNIST's, brought there."""
    if width < THIN:
        return _grown(strokes, (MIDDLE - width) / 2)
    return ~_grown(~strokes, (width - THICK) / 2)


def _stroke_width(strokes: NDArray[np.bool_]) -> float:
    """Twice the area over the outline's length."""
    edges = np.count_nonzero(strokes[1:] != strokes[:-1]) + np.count_nonzero(strokes[:, 1:] != strokes[:, :-1])
    return 2 * np.count_nonzero(strokes) / max(1.0, edges * np.pi / 4)


def _grown(strokes: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Dilated by a disc."""
    reach = int(np.ceil(radius))
    down, across = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    grown = strokes.copy()
    height, width = strokes.shape
    for dy, dx in zip(down.ravel().tolist(), across.ravel().tolist(), strict=True):
        if 0 < dy * dy + dx * dx <= radius * radius + 0.5:
            to = np.s_[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)]
            of = np.s_[max(-dy, 0) : height + min(-dy, 0), max(-dx, 0) : width + min(-dx, 0)]
            grown[to] |= strokes[of]
    return grown


def _centred(digit: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """In the middle by its centre of mass, as far as it fits."""
    mass = centre(digit)
    corner = [
        min(max(round(whole / 2 - at), 0), whole - size)
        for whole, at, size in zip(shape, mass, digit.shape, strict=True)
    ]
    pixels = np.zeros(shape, np.uint8)
    pixels[corner[0] : corner[0] + digit.shape[0], corner[1] : corner[1] + digit.shape[1]] = digit
    return pixels


def centre(pixels: NDArray[np.uint8]) -> tuple[float, float]:
    """The centre of mass: row and column."""
    values = pixels.astype(np.float64)
    whole = values.sum()
    rows, columns = np.arange(values.shape[0]), np.arange(values.shape[1])
    return float(values.sum(axis=1) @ rows / whole), float(values.sum(axis=0) @ columns / whole)


def resize(values: Values, shape: tuple[int, ...]) -> Values:
    """By area where it shrinks, bicubic where it grows: Pillow's filters do both."""
    from PIL import Image as Pil

    if values.shape == tuple(shape):
        return values
    shrinks = shape[0] * shape[1] < values.size
    how = Pil.Resampling.BOX if shrinks else Pil.Resampling.BICUBIC
    picture = Pil.fromarray(np.ascontiguousarray(values))
    return np.asarray(picture.resize((shape[1], shape[0]), how), values.dtype)
