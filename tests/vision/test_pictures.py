"""Reading of pictures at a reduced size, as the preprocessor ``digit`` needs them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mnist_edge.errors import PictureTooLargeError
from mnist_edge.vision.pictures import ORIGINAL_SIZE, prepare, read_picture

# The strokes of a four in a picture of 1280 x 960 pixels, and the box around them.
STROKES = [[(600, 120), (440, 500), (780, 500)], [(690, 380), (690, 800)]]
LEFT, TOP, RIGHT, BOTTOM = 424, 104, 796, 816


def four(mode: str) -> Image.Image:
    """Dark strokes on paper under uneven light, 1280 x 960."""
    picture = Image.linear_gradient("L").resize((1280, 960)).point(lambda value: 180 + value // 4)
    for stroke in STROKES:
        ImageDraw.Draw(picture).line(stroke, fill=30, width=32, joint="curve")
        for x, y in stroke:
            ImageDraw.Draw(picture).ellipse((x - 16, y - 16, x + 16, y + 16), fill=30)
    return picture.convert(mode)


def jpeg(picture: Image.Image, orientation: int = 1, **options: bool) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=90, exif=exif, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("size", "found"),
    [((2560, 1000), (320, 125)), ((2000, 960), (500, 240)), ((1281, 961), (321, 241)), ((1279, 960), (1279, 960))],
)
def test_a_jpeg_is_decoded_at_the_fraction_of_its_size_that_still_has_320_pixels(
    size: tuple[int, int], found: tuple[int, int]
) -> None:
    content = jpeg(Image.new("L", size, 200))
    picture = read_picture(content, preprocessor="digit")
    assert picture.size == found
    assert picture.info.get(ORIGINAL_SIZE, size) == size
    if max(size) < 2560:  # the preprocessor `resize` may need all pixels
        assert read_picture(content).size == size


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("is_progressive", [False, True])
def test_a_reduced_jpeg_has_the_grey_values_of_the_whole_one(mode: str, is_progressive: bool) -> None:
    content = jpeg(four(mode), progressive=is_progressive)
    whole, reduced = read_picture(content), read_picture(content, preprocessor="digit")
    assert reduced.mode == "L"
    difference = np.asarray(whole.reduce(4)).astype(int) - np.asarray(reduced)
    assert np.abs(difference).mean() < 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_digit_in_a_reduced_jpeg_is_upright_and_its_box_is_in_the_original(orientation: int) -> None:
    """The file is stored turned, so that its orientation makes it upright."""
    turns = Image.Transpose
    stored = {
        1: [], 2: [turns.FLIP_LEFT_RIGHT], 3: [turns.ROTATE_180], 4: [turns.FLIP_TOP_BOTTOM],
        5: [turns.TRANSPOSE], 6: [turns.ROTATE_90], 7: [turns.TRANSVERSE], 8: [turns.ROTATE_270],
    }  # fmt: skip
    picture = four("RGB")
    for turn in stored[orientation]:
        picture = picture.transpose(turn)
    read = read_picture(jpeg(picture, orientation), preprocessor="digit")
    assert read.size == (320, 240)
    (found,) = prepare(read, "digit", (28, 28))
    left, top, width, height = found.box
    assert (left, top, left + width, top + height) == pytest.approx((LEFT, TOP, RIGHT, BOTTOM), abs=8)
    (upright,) = prepare(read_picture(jpeg(four("RGB")), preprocessor="digit"), "digit", (28, 28))
    assert np.abs(found.pixels.astype(int) - upright.pixels).mean() < 2


def test_a_jpeg_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    """The file ends after its header, so that decoding it would be another error."""
    content = jpeg(four("L"))
    header = content[: content.index(b"\xff\xda") + 20]
    with pytest.raises(PictureTooLargeError):
        read_picture(header, max_pixels=1280 * 960 - 1, preprocessor="digit")
