"""Local background: the medians are those of NumPy, and the interpolation is that of Pillow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mnist_edge.vision.background import WINDOW, local_background, window_medians
from mnist_edge.vision.ink import _halved
from mnist_edge.vision.strokes import resize


def plain_medians(points: np.ndarray) -> np.ndarray:
    """One window after the other."""
    reach = WINDOW // 2 - 1
    padded = np.pad(points, reach, mode="symmetric")
    return np.array([
        [np.sort(padded[row : row + WINDOW, column : column + WINDOW], axis=None)[WINDOW * WINDOW // 2]
         for column in range(0, points.shape[1], 2)]
        for row in range(0, points.shape[0], 2)
    ])  # fmt: skip


SHAPES = st.tuples(st.integers(2, 20), st.integers(2, 20)).map(lambda half: (2 * half[0], 2 * half[1]))


@settings(max_examples=30, deadline=None)
@given(SHAPES, st.integers(0, 1000), st.sampled_from([1, 2, 30, 60000]))
def test_medians_are_those_of_sorted_windows(shape: tuple[int, int], seed: int, levels: int) -> None:
    points = np.random.default_rng(seed).integers(0, levels, shape).astype(np.float32)
    assert np.array_equal(window_medians(points), plain_medians(points))


@pytest.mark.parametrize("shape", [(240, 320), (320, 180), (65, 65), (1, 320), (3, 100)])
def test_the_background_is_the_interpolated_medians_within_black_and_white(shape: tuple[int, int]) -> None:
    draw = np.random.default_rng(0)
    areas = Image.fromarray(np.where(draw.random((4, 3)) < 0.5, 0, 255).astype(np.uint8))
    values = np.asarray(areas.resize((shape[1], shape[0])))
    factor = max(shape) / 40
    points = resize(values.astype(np.float32), tuple(max(4, 2 * round(size / factor / 2)) for size in shape))
    medians = Image.fromarray(plain_medians(points).astype(np.float32))
    expected = np.asarray(medians.resize((shape[1], shape[0]), Image.Resampling.BICUBIC)).clip(0, 255)
    assert np.abs(local_background(values) - expected).max() < 0.001


def test_halving_a_picture_is_what_the_filter_of_pillow_does() -> None:
    values = np.random.default_rng(0).integers(0, 256, (480, 640)).astype(np.uint8)
    assert np.array_equal(_halved(values), Image.fromarray(values).resize((320, 240), Image.Resampling.BOX))
