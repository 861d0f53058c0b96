"""Refusal of figures that cannot be a whole digit: sheets of paper, edges of shadows, figures that are cut off."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mnist_edge.vision.components import Box
from mnist_edge.vision.ink import Ink, NoDigit
from mnist_edge.vision.strokes import FULL

# A sheet covers at least this share of the smallest rectangle around it. Digits of a thick brush cover 0.86 at most (7
# sets of 300 training images), sheets in the development scenes of benchmarks/scenes.py at least 0.90.
MIN_RECTANGULARITY = 0.88
# The shorter side of a sheet is at least this share of the longer one; a stroke is narrower.
MIN_ASPECT = 0.4
# At least this share of a sheet is free of ink. Required in drawings only, where a zero may be drawn as a rectangle.
MIN_FREE_OF_INK = 0.75
# Angles between an axis and the sides of the rectangles that are tried, in degrees: first of one side, then of the
# other. DIRECTIONS are their unit vectors, of so few bits that their products with coordinates are exact.
ANGLES = np.arange(0, 180, 3)
DIRECTION_UNIT = 2.0**14
DIRECTIONS = np.stack([np.cos(np.deg2rad(ANGLES)), np.sin(np.deg2rad(ANGLES))], axis=1)
DIRECTIONS = (np.rint(DIRECTIONS * DIRECTION_UNIT) / DIRECTION_UNIT).astype(np.float32)
# An edge of another surface is near a figure if pixels within NEIGHBOURHOOD (a share of the figure's longest side)
# differ from the background in the direction opposite to the ink by more than OPPOSITE (a share of full ink), and if
# they are more than EDGE_SHARE of the figure's pixels. This refuses 0.07 % of 1,500 training images on paper under
# uneven light.
NEIGHBOURHOOD, OPPOSITE, EDGE_SHARE = 0.05, 0.3, 0.03
# A square of SQUARE x SQUARE pixels whose ink is between these shares of full ink belongs to another surface: the soft
# edge of a stroke and a ruled line are narrower. A photograph may have fewer of them than PARTIAL_SHARE of the figure's
# pixels.
PARTIAL, SQUARE, PARTIAL_SHARE = (0.2, 0.5), 5, 0.2


class SheetFound(NoDigit):
    """The figure is a sheet of paper, which may have a digit on it."""


def check_placement(figure: Box, mask: NDArray[np.bool_], ink: Ink) -> None:
    """Refuse a figure that cannot be a whole digit, by its place in the picture.

    Args:
        figure: its box in the reduced picture.
        mask: bool, of the box's height and width: the figure's pixels.
        ink: of the whole reduced picture.

    Raises:
        SheetFound: the figure is a sheet.
        NoDigit: the edge of another surface or of a shadow is near the figure, or the figure touches the edge of a
            photograph.
    """
    if _is_sheet(mask, 0.0 if ink.is_photograph else MIN_FREE_OF_INK):
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
    """Refuse a figure that touches the edge of the picture, or that has partly inked areas in its neighbourhood."""
    height, width = ink.shape
    touches = figure.left == 0 or figure.top == 0 or figure.right == width or figure.bottom == height
    if touches:
        raise NoDigit("the figure touches the edge of the picture")
    amounts = ink.within(around)
    partial = (amounts > PARTIAL[0] * FULL) & (amounts < PARTIAL[1] * FULL)
    most = PARTIAL_SHARE * np.count_nonzero(mask)
    if np.count_nonzero(partial) > most and np.count_nonzero(_eroded(_eroded(partial).T)) > most:
        raise NoDigit("the edge of a sheet or of a shadow is next to the figure")


def _eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mask of the rows r for which rows r to r + SQUARE - 1 of the same column are all set: SQUARE - 1 rows fewer."""
    rows = max(0, mask.shape[0] - SQUARE + 1)
    eroded = mask[:rows].copy()
    for down in range(1, SQUARE):
        eroded &= mask[down : down + rows]
    return eroded


def _is_sheet(mask: NDArray[np.bool_], free: float) -> bool:
    """Whether a figure is a rectangle at any angle.

    Args:
        mask: the figure's pixels; ink on a sheet is missing from them.
        free: smallest share of the rectangle that must be free of ink.
    """
    height, width = mask.shape
    area = np.count_nonzero(mask)
    # Quick tests, before the rectangle is searched.
    if area < 0.5 * free * mask.size or min(height, width) < MIN_ASPECT * max(height, width):
        return False
    # First and last pixel of each row: holes inside the figure do not matter.
    rows = np.flatnonzero(mask.any(axis=1))
    left, right = mask.argmax(axis=1)[rows], width - mask[:, ::-1].argmax(axis=1)[rows]
    extent = int((right - left).sum())
    if area < free * extent:
        return False
    # The smallest rectangle around the figure, over all angles.
    across = np.concatenate([left, right, left, right])
    down = np.concatenate([rows, rows, rows + 1, rows + 1])
    sides = np.ptp(DIRECTIONS @ np.stack([across, down]).astype(np.float32), axis=1).reshape(2, -1)
    best = int(np.argmin(sides[0] * sides[1]))
    short, long = sorted((float(sides[0][best]), float(sides[1][best])))
    return extent > MIN_RECTANGULARITY * short * long and short > MIN_ASPECT * long
