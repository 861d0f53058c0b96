"""Refusal of figures that are no digit because of where they are: sheets of paper, edges of shadows, cut figures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mnist_edge.vision.components import Box
from mnist_edge.vision.ink import Ink, NoDigit
from mnist_edge.vision.strokes import FULL

# A sheet fills this share of the smallest rectangle around it. Thick brushes' digits fill 0.86 at most (7 sets of 300
# training images), sheets in the development scenes of benchmarks/scenes.py at least 0.90.
RECTANGLE = 0.88
# The shorter side of that rectangle by the longer one: a line is narrower than a sheet.
NARROWEST_SHEET = 0.4
# The share of a sheet that has no ink on it, at least. Only in a drawing: there a zero may be drawn as a rectangle.
FREE_OF_INK = 0.75
# Angles at which a rectangle is tried, in degrees.
ANGLES = np.arange(0, 90, 3)
# The neighbourhood of a figure, as a share of its longest side. Pixels there that are this much on the other side of
# the background than the ink, as a share of full ink, are the edge of a surface if they are more than a share of the
# figure's own: so it is for 0.07 % of 1,500 training images on paper under uneven light.
NEIGHBOURHOOD, OPPOSITE, EDGE_SHARE = 0.05, 0.3, 0.03

# Ink between these shares of full ink over a square of so many pixels is another surface, not the soft edge of a stroke
# nor a ruled line. In a photograph there must be less of it than this share of the figure's pixels.
PARTIAL, SQUARE, PARTIAL_SHARE = (0.2, 0.5), 5, 0.2


class SheetFound(NoDigit):
    """A figure is a sheet of paper, which may have a digit on it."""


def check_placement(figure: Box, mask: NDArray[np.bool_], ink: Ink) -> None:
    """Refuse a figure that the geometry of the picture shows to be no whole digit.

    Args:
        figure: its box in the picture as it is analysed.
        mask: bool (h, w) of the box: its pixels.
        ink: of the whole picture.

    Raises:
        NoDigit: it is a sheet, the edge of a surface or of a shadow is in its neighbourhood, or it touches the edge of
            a photograph.
    """
    if _is_sheet(mask, 0.0 if ink.is_photograph else FREE_OF_INK):
        raise SheetFound("a filled area")
    reach = round(NEIGHBOURHOOD * max(mask.shape))
    around = np.s_[
        max(0, figure.top - reach) : figure.bottom + reach, max(0, figure.left - reach) : figure.right + reach
    ]
    opposite = np.count_nonzero(ink.opposite.take(ink.index[around]) > OPPOSITE * FULL)
    if opposite > EDGE_SHARE * np.count_nonzero(mask):
        raise NoDigit("the edge of a sheet or of a shadow is next to the figure")
    if ink.is_photograph:
        _check_photograph(figure, mask, ink, around)


def _check_photograph(figure: Box, mask: NDArray[np.bool_], ink: Ink, around: tuple[slice, slice]) -> None:
    height, width = ink.shape
    touches = figure.left == 0 or figure.top == 0 or figure.right == width or figure.bottom == height
    if touches:
        raise NoDigit("the figure touches the edge of the picture")
    amounts = ink.within(around)
    partial = (amounts > PARTIAL[0] * FULL) & (amounts < PARTIAL[1] * FULL)
    if np.count_nonzero(_eroded(_eroded(partial).T)) > PARTIAL_SHARE * np.count_nonzero(mask):
        raise NoDigit("the edge of a sheet or of a shadow is next to the figure")


def _eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where SQUARE neighbours down a column are all set; fewer rows by SQUARE - 1."""
    rows = max(0, mask.shape[0] - SQUARE + 1)
    eroded = mask[:rows].copy()
    for down in range(1, SQUARE):
        eroded &= mask[down : down + rows]
    return eroded


def _is_sheet(mask: NDArray[np.bool_], free: float) -> bool:
    """Whether a figure is a rectangle at any angle of which at least a share is free of ink."""
    height, width = mask.shape
    area = np.count_nonzero(mask)
    if area < 0.5 * free * mask.size or min(height, width) < NARROWEST_SHEET * max(height, width):
        return False
    rows = np.flatnonzero(mask.any(axis=1))
    left, right = mask.argmax(axis=1)[rows], width - mask[:, ::-1].argmax(axis=1)[rows]
    extent = int((right - left).sum())
    if area < free * extent:
        return False
    across = np.concatenate([left, right, left, right])
    down = np.concatenate([rows, rows, rows + 1, rows + 1])
    angles = np.deg2rad(ANGLES)
    one = np.outer(np.cos(angles), across) + np.outer(np.sin(angles), down)
    other = np.outer(np.cos(angles), down) - np.outer(np.sin(angles), across)
    sides = np.ptp(one, axis=1), np.ptp(other, axis=1)
    best = int(np.argmin(sides[0] * sides[1]))
    short, long = sorted((float(sides[0][best]), float(sides[1][best])))
    return extent > RECTANGLE * short * long and short > NARROWEST_SHEET * long
