"""The PNG files in the service's responses."""

import io

import numpy as np
import pytest
from PIL import Image

from mnist_edge.serving.small_png import png_of


@pytest.mark.parametrize("shape", [(28, 28), (1, 1), (1, 40), (32, 3)])
def test_pillow_reads_the_pixels_that_were_written(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with Image.open(io.BytesIO(png_of(pixels))) as picture:
        picture.verify()
    with Image.open(io.BytesIO(png_of(pixels))) as picture:
        assert picture.format == "PNG" and picture.mode == "L"
        np.testing.assert_array_equal(np.asarray(picture), pixels)
