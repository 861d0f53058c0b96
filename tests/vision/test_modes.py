"""Conversion of pictures of any mode to grey values."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mnist_edge.vision import modes
from mnist_edge.vision.modes import convert


def values(picture: Image.Image, factor: int = 1) -> np.ndarray:
    converted = convert(picture, "L", factor)
    assert converted.mode == "L"
    return np.asarray(converted)


@pytest.mark.parametrize(
    ("largest", "full_scale"), [(200, 255), (1000, 1023), (4000, 4095), (16_000, 16_383), (65_000, 65_535)]
)
def test_integers_are_scaled_by_the_smallest_full_scale_that_holds_them(largest: int, full_scale: int) -> None:
    pixels = np.array([[0, largest // 2, largest]], np.uint16)
    expected = np.rint(pixels * (255 / full_scale))
    assert np.abs(values(Image.fromarray(pixels)) - expected).max() <= 1
    assert np.abs(values(Image.fromarray(pixels.astype(np.int32))) - expected).max() <= 1


def test_floating_point_values_up_to_1_have_a_full_scale_of_1() -> None:
    assert values(Image.fromarray(np.array([[0, 0.2, 1.0]], np.float32))).tolist() == [[0, 51, 255]]
    assert values(Image.fromarray(np.array([[0, 102.0, 255.0]], np.float32))).tolist() == [[0, 102, 255]]


def test_a_negative_value_scales_the_whole_range() -> None:
    assert values(Image.fromarray(np.array([[-10.0, 0.0, 40.0]], np.float32))).tolist() == [[0, 51, 255]]


def test_values_that_are_not_finite_become_the_median_the_smallest_or_the_largest() -> None:
    pixels = np.array([[np.nan, np.inf, -np.inf, 0, 0.2, 0.2, 0.8]], np.float32)
    assert values(Image.fromarray(pixels)).tolist() == [[51, 204, 0, 0, 51, 51, 204]]
    assert values(Image.fromarray(np.full((2, 2), np.nan, np.float32))).tolist() == [[0, 0], [0, 0]]


def drawing(ink: int, hidden: int) -> Image.Image:
    """A stroke of one grey value on fully transparent pixels of another one."""
    pixels = np.full((20, 20, 4), (hidden, hidden, hidden, 0), np.uint8)
    pixels[5:15, 9:11] = (ink, ink, ink, 255)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("ink", "hidden", "background"),
    [(20, 0, 255), (240, 0, 0), (20, 200, 200), (240, 100, 100), (230, 250, 0)],
    ids=["dark ink", "light ink", "dark ink on a colour", "light ink on a colour", "a colour without contrast"],
)
def test_a_transparent_picture_gets_a_background_that_its_ink_contrasts_with(
    ink: int, hidden: int, background: int
) -> None:
    found = values(drawing(ink, hidden))
    assert set(np.unique(found).tolist()) == {ink, background}
    assert (found == ink).sum() == 20


def test_an_opaque_picture_with_an_alpha_channel_is_converted_as_one_without() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    picture = Image.fromarray(pixels)
    assert np.array_equal(values(picture.convert("RGBA")), values(picture))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "CMYK", "F", "I"])
@pytest.mark.parametrize("factor", [1, 3])
def test_strips_give_the_same_as_the_whole_picture(mode: str, factor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 31, 3), np.uint8)).convert(mode)
    if mode == "RGBA":
        picture.putalpha(Image.fromarray(np.random.default_rng(1).integers(0, 256, (50, 31), np.uint8)))
    whole = values(picture, factor)
    assert whole.shape == (-(-50 // factor), -(-31 // factor))
    monkeypatch.setattr(modes, "STRIP_PIXELS", 31 * 7)
    assert np.array_equal(values(picture, factor), whole)
