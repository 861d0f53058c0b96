"""The surface of a sheet, cropped out of a photograph."""

from __future__ import annotations

import numpy as np
from PIL import Image

from mnist_edge.vision.sheets import inside_of_sheet

SHEET, DESK, INK = 200, 60, 40


def test_ink_that_touches_the_edge_of_a_sheet_touches_the_edge_of_the_cropped_picture() -> None:
    values, sheet = np.full((200, 150), SHEET, np.uint8), np.ones((200, 150), np.bool_)
    values[80:120, 120:] = INK
    sheet[80:120, 120:] = False
    inside, (top, left) = inside_of_sheet(values, sheet)
    assert 0 < left < 10 and 0 < top < 10
    assert (inside[80 - top : 120 - top, 120 - left :] == INK).all()
    assert np.count_nonzero(inside == INK) == 40 * (inside.shape[1] - 120 + left)


def test_nothing_of_the_desk_around_a_tilted_sheet_is_left() -> None:
    upright = Image.new("L", (300, 200), 255)
    tilted = np.asarray(upright.rotate(15, expand=True, fillcolor=0)) > 128
    values = np.where(tilted, SHEET, DESK).astype(np.uint8)
    inside, _ = inside_of_sheet(values, tilted)
    assert inside.size > 0.9 * 300 * 200
    assert (inside == SHEET).all()


def test_a_sheet_that_is_smaller_than_the_strip_left_out_at_its_edges_gives_an_empty_picture() -> None:
    inside, corner = inside_of_sheet(np.zeros((5, 5), np.uint8), np.ones((5, 5), np.bool_))
    assert inside.size == 0
    assert corner == (0, 0)
