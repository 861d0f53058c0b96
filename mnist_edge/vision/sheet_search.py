"""Digits on sheets of paper in front of a background with many details, such as a room that a camera sees.

`digit` looks for ink in the whole picture, which is noise if the background has details. Here sheets are found first:
even and light areas that are nearly convex. Then each sheet is searched as a picture of its own.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mnist_edge.vision.components import Component, components
from mnist_edge.vision.digit import Found, NoDigit, find_digits
from mnist_edge.vision.ink import WORK
from mnist_edge.vision.resampling import resized
from mnist_edge.vision.sheets import hull_area, inside_of_sheet

# Brightness of a sheet's darkest parts: shares of the brightest hundredth of the picture. The highest that separates a
# sheet from its surroundings finds it.
LEVELS = (0.85, 0.7, 0.55, 0.4)
# Largest difference of a pixel of paper from the next one, in grey levels: more than noise and shading, less than most
# edges between the paper and another light thing.
EVEN = 12
# Share of the picture that the box of a sheet covers, at least and at most. A sheet that fills the picture needs no
# search.
SMALLEST, LARGEST = 0.015, 0.8
# Shares of its box that the convex hull of a sheet covers, even if it is tilted by 15 degrees, and of the hull that
# is paper, not ink.
HULL, PAPER = 0.6, 0.65
# Shortest side of a sheet, in pixels of the reduced picture.
SHORTEST = 40
# Smallest height of a digit, in pixels of the reduced picture: a little less than MNIST's 20. Smaller marks in a scene
# are rarely digits.
LOWEST = 16
# Most sheets that are searched in a picture.
MOST = 6


def find_digits_on_sheets(grey: NDArray[np.uint8], shape: tuple[int, ...]) -> list[Found]:
    """Find the digits on all sheets of paper in a picture, the lightest sheets first; empty if there are none.

    Args:
        grey: uint8 (h, w), of any size.
        shape: (h, w) of the model's input.
    """
    values, scale = _reduced(grey)
    found: list[Found] = []
    searched: list[Component] = []
    even = _even(values)
    light = float(np.quantile(values[::4, ::4], 0.99))
    for level in LEVELS:
        labels, parts = components(_eroded(even & (values >= math.ceil(level * light))))
        for part in parts:
            if len(searched) == MOST:
                return found
            if not _may_be_sheet(part, labels, values.size) or any(_overlap(part, other) for other in searched):
                continue
            digits = _on_sheet(values, _mask(labels, part), part, shape)
            if digits:
                searched.append(part)
            found += [_in_picture(item, scale) for item in digits]
    return found


def _reduced(grey: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    from PIL import Image as Pil

    scale = max(1.0, max(grey.shape) / WORK)
    if scale == 1:
        return grey, scale
    height, width = (max(1, round(side / scale)) for side in grey.shape)
    picture = resized(Pil.fromarray(np.ascontiguousarray(grey)), width, height, Pil.Resampling.BOX)
    return np.asarray(picture), scale


def _even(values: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Mask of the pixels that differ little from the next pixels to the right and below."""
    signed = values.astype(np.int16)
    even = np.ones(values.shape, np.bool_)
    even[:, :-1] &= np.abs(signed[:, 1:] - signed[:, :-1]) < EVEN
    even[:-1] &= np.abs(signed[1:] - signed[:-1]) < EVEN
    return even


def _eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask without the pixels at its edge, which cuts thin bridges between a sheet and other light areas."""
    eroded = np.zeros_like(mask)
    rows = mask[:-2] & mask[1:-1] & mask[2:]
    eroded[1:-1, 1:-1] = rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]
    return eroded


def _may_be_sheet(part: Component, labels: NDArray[np.int32], pixels: int) -> bool:
    box = part.width * part.height
    if min(part.width, part.height) < SHORTEST or not SMALLEST * pixels <= box <= LARGEST * pixels:
        return False
    if part.area < HULL * PAPER * box:
        return False
    hull = hull_area(_mask(labels, part))
    return hull >= HULL * box and part.area >= PAPER * hull


def _mask(labels: NDArray[np.int32], part: Component) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = labels[part.top : part.bottom, part.left : part.right] == part.label
    return mask


def _on_sheet(
    values: NDArray[np.uint8], mask: NDArray[np.bool_], part: Component, shape: tuple[int, ...]
) -> list[Found]:
    """The digits on a sheet, with boxes in the reduced picture. The mask is that of the part's box."""
    box = np.s_[part.top : part.bottom, part.left : part.right]
    inside, (top, left) = inside_of_sheet(values[box], mask)
    if min(inside.shape) < LOWEST:
        return []
    try:
        digits = find_digits(inside, shape)
    except NoDigit:
        return []
    corner = part.left + left, part.top + top
    return [
        replace(item, box=(corner[0] + item.box[0], corner[1] + item.box[1], *item.box[2:]))
        for item in digits
        if item.box[3] >= LOWEST
    ]


def _overlap(first: Component, second: Component) -> bool:
    """Whether half of the smaller box is in the other."""
    across = min(first.right, second.right) - max(first.left, second.left)
    down = min(first.bottom, second.bottom) - max(first.top, second.top)
    smaller = min(first.width * first.height, second.width * second.height)
    return across > 0 and down > 0 and across * down > smaller / 2


def _in_picture(found: Found, scale: float) -> Found:
    left, top, width, height = (round(value * scale) for value in found.box)
    return replace(found, box=(left, top, width, height))
