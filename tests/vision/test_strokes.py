"""Normalization of a figure: size, place and stroke width as in MNIST."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from mnist_edge.vision.strokes import centre, normalize, resize, trimmed

SHAPE = (28, 28)


def one(width: int, angle: float = 20.0) -> np.ndarray:
    """Ink of a straight stroke, 400 pixels long, on 500 x 500 pixels."""
    picture = Image.new("L", (500, 500), 0)
    ImageDraw.Draw(picture).rectangle((250 - width / 2, 50, 250 + width / 2, 450), fill=255)
    return np.asarray(picture.rotate(angle, Image.Resampling.BICUBIC))


@pytest.mark.parametrize("width", [4, 40, 140])
@pytest.mark.parametrize("angle", [0.0, 20.0, 45.0])
def test_a_stroke_of_any_width_becomes_20_pixels_long_with_its_centre_of_mass_in_the_middle(
    width: int, angle: float
) -> None:
    pixels = normalize(one(width, angle), SHAPE)
    assert pixels is not None
    assert pixels.shape == SHAPE
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    assert max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1 in (19, 20)
    assert centre(pixels) == pytest.approx((14, 14), abs=0.75)


def test_thin_strokes_are_thickened_thick_ones_thinned_and_others_keep_their_width() -> None:
    """Mean ink per row of a vertical stroke, which is its width, compared with scaling by 20 / 400 alone."""
    ratios = {}
    for width in (3, 40, 150):
        pixels = normalize(one(width, 0.0), SHAPE)
        assert pixels is not None
        ratios[width] = pixels[10:18].sum(axis=1).mean() / 255 / (width * 20 / 400)
    assert ratios[3] > 5
    assert ratios[40] == pytest.approx(1, rel=0.15)
    assert ratios[150] < 0.85


def test_ink_that_disappears_in_scaling_gives_none() -> None:
    dots = np.zeros((2000, 2000), np.uint8)
    dots[0, 0] = dots[-1, -1] = 100
    assert normalize(dots, SHAPE) is None


def test_a_small_figure_of_the_right_size_keeps_its_pixels() -> None:
    draw = np.random.default_rng(0)
    figure = np.zeros((20, 12), np.uint8)
    figure[:, 4:7] = draw.integers(150, 256, (20, 3))
    pixels = normalize(figure, SHAPE)
    assert pixels is not None
    assert sorted(pixels[pixels > 0].tolist()) == sorted(figure[figure > 0].tolist())


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6))
def test_shrinking_by_a_whole_factor_averages_blocks(factor: int, height: int, width: int) -> None:
    values = np.random.default_rng(0).random((factor * height, factor * width)).astype(np.float32)
    blocks = values.reshape(height, factor, width, factor).mean(axis=(1, 3))
    assert resize(values, (height, width)) == pytest.approx(blocks, abs=1e-5)


def test_resizing_to_the_same_shape_copies_nothing() -> None:
    values = np.zeros((3, 5), np.uint8)
    assert resize(values, (3, 5)) is values


def test_trimming_removes_faint_rows_and_columns_at_the_edges_alone() -> None:
    values = np.array([[5, 5, 5, 5], [5, 90, 5, 80], [5, 5, 5, 5]], np.uint8)
    assert trimmed(values, 10).tolist() == [[90, 5, 80]]
