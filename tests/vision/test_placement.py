"""Checks of a figure's surroundings: each reason to refuse it as an incomplete digit is tested alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mnist_edge.vision.components import Box
from mnist_edge.vision.ink import Ink, NoDigit
from mnist_edge.vision.placement import SheetFound, check_placement

HEIGHT, WIDTH = 100, 60
# The figure's box in a picture of 160 x 120 pixels.
FIGURE = Box(30, 30, 30 + WIDTH, 30 + HEIGHT)
EDGE = "edge of a sheet or of a shadow"


def ring() -> np.ndarray:
    """Mask of an elliptic ring that fills the figure's box."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    y, x = rows - (HEIGHT - 1) / 2, columns - (WIDTH - 1) / 2
    return ((y / 50) ** 2 + (x / 30) ** 2 <= 1) & ((y / 38) ** 2 + (x / 18) ** 2 > 1)


def ink_of(values: np.ndarray) -> Ink:
    """A photograph with these amounts of ink, 0 to 255, and no pixels of the opposite polarity."""
    return Ink(values.astype(np.uint8), np.arange(256, dtype=np.uint8), 1.0, np.zeros(256, np.uint8), True)


@pytest.fixture
def values() -> np.ndarray:
    """Amounts of ink in a picture that holds the ring and no other ink."""
    picture = np.zeros((160, 120))
    picture[30 : 30 + HEIGHT, 30 : 30 + WIDTH][ring()] = 255
    return picture


def test_a_ring_alone_is_accepted(values: np.ndarray) -> None:
    check_placement(FIGURE, ring(), ink_of(values))


@pytest.mark.parametrize(
    ("level", "rows", "is_refused"),
    [
        (0.35, 40, True),
        (0.10, 40, False),  # as faint as uneven paper
        (0.60, 40, False),  # ink itself
    ],
)
def test_wide_partly_inked_areas_in_a_photograph_are_refused(
    values: np.ndarray, level: float, rows: int, is_refused: bool
) -> None:
    """The areas lie inside of the ring: no edge of the picture and nothing of the opposite polarity is near."""
    values[80 - rows // 2 : 80 + rows // 2, 50:70] = 255 * level
    if not is_refused:
        check_placement(FIGURE, ring(), ink_of(values))
        return
    with pytest.raises(NoDigit, match=EDGE):
        check_placement(FIGURE, ring(), ink_of(values))
    check_placement(FIGURE, ring(), replace(ink_of(values), is_photograph=False))


@pytest.mark.parametrize("is_horizontal", [False, True])
def test_ruled_lines_are_not_partly_inked_areas_however_many_they_are(values: np.ndarray, is_horizontal: bool) -> None:
    inside = values[50:110, 46:74]
    lines = (np.arange(len(inside)) % 6 < 4)[:, np.newaxis] if is_horizontal else np.arange(28) % 6 < 4
    inside[np.broadcast_to(lines, inside.shape) & (inside == 0)] = 90
    assert np.count_nonzero(values == 90) > 0.3 * np.count_nonzero(ring())
    check_placement(FIGURE, ring(), ink_of(values))


def test_partly_inked_areas_count_only_within_the_neighbourhood_of_the_figure(values: np.ndarray) -> None:
    """The neighbourhood is the figure's box and 5 pixels around it."""
    far = np.ones(values.shape, np.bool_)
    far[25:135, 25:95] = False
    check_placement(FIGURE, ring(), ink_of(np.where(far, 90, values)))
    rows, columns = np.mgrid[:160, :120]
    near = ((rows - 79.5) / 51) ** 2 + ((columns - 59.5) / 31) ** 2 > 1
    with pytest.raises(NoDigit, match=EDGE):
        check_placement(FIGURE, ring(), ink_of(np.where(near, 90, values)))


def test_pixels_of_the_opposite_polarity_near_the_figure_are_refused(values: np.ndarray) -> None:
    opposite = np.zeros(256, np.uint8)
    opposite[1] = 255  # pixels of value 1 have hardly any ink, and differ from the background in the other direction
    check_placement(FIGURE, ring(), replace(ink_of(values), opposite=opposite))
    values[26:30, 30:90] = 1
    check_placement(FIGURE, ring(), ink_of(values))
    with pytest.raises(NoDigit, match=EDGE):
        check_placement(FIGURE, ring(), replace(ink_of(values), opposite=opposite))


@pytest.mark.parametrize("side", ["left", "top", "right", "bottom"])
def test_a_figure_that_touches_the_edge_of_a_photograph_is_refused(values: np.ndarray, side: str) -> None:
    crop = {"left": np.s_[:, 30:], "top": np.s_[30:], "right": np.s_[:, :90], "bottom": np.s_[:130]}[side]
    left, top = (0 if side == "left" else 30), (0 if side == "top" else 30)
    figure = Box(left, top, left + WIDTH, top + HEIGHT)
    with pytest.raises(NoDigit, match="touches the edge"):
        check_placement(figure, ring(), ink_of(values[crop]))
    check_placement(figure, ring(), replace(ink_of(values[crop]), is_photograph=False))


@pytest.mark.parametrize("is_photograph", [False, True])
def test_a_rectangle_is_a_sheet_and_in_a_drawing_only_if_most_of_it_is_free_of_ink(
    values: np.ndarray, is_photograph: bool
) -> None:
    sheet = np.ones((HEIGHT, WIDTH), np.bool_)
    frame = sheet.copy()
    frame[15:-15, 15:-15] = False  # 35 % of the rectangle is missing, as in a zero that was drawn as a rectangle
    ink = replace(ink_of(values), is_photograph=is_photograph)
    with pytest.raises(SheetFound):
        check_placement(FIGURE, sheet, ink)
    if is_photograph:
        with pytest.raises(SheetFound):
            check_placement(FIGURE, frame, ink)
    else:
        check_placement(FIGURE, frame, ink)
