"""Conversion of a decoded picture of any mode to grey or to red, green and blue, from 0 to 255, by strips of rows.

- Transparent pictures are put on a grey background: the mean colour of the fully transparent pixels, if the opaque
  ones contrast with it; else white for dark ink and black for light ink.
- Integers of 16 or 32 bits are divided by the full scale of 8, 10, 12, 14 or 16 bits, the smallest that holds the
  largest value.
- Floating-point values have a full scale of 1 if no value is above 1.5, else that of integers. Values that are not
  finite are replaced by the median of the others.
- If a value is below 0 or above the full scale of 16 bits, the range from the smallest to the largest value is
  scaled instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

# Pixels that are converted at once: bounds the memory of the conversion.
STRIP_PIXELS = 1 << 18
# Statistics of a picture are taken of a sample of about this many pixels per side.
SAMPLE = 512
# The colour of transparent pixels is used as background if at least this share of the opaque pixels differs from it by
# more than this many grey levels.
MIN_SHARE, MIN_CONTRAST = 0.02, 64
# Full scales of integers of 8, 10, 12, 14 and 16 bits.
FULL_SCALES = (255, 1023, 4095, 16383, 65535)
# The largest value of a floating-point picture whose full scale is 1: some encoders go beyond 1.
LARGEST_UNIT_VALUE = 1.5


def convert(picture: Image, mode: str, factor: int = 1) -> Image:
    """Convert a picture to mode ``L`` or ``RGB``, averaging each block of ``factor`` x ``factor`` pixels to one."""
    from PIL import Image as Pil

    converted = _converter(picture, mode)
    width, height = picture.size
    is_converted = picture.mode == mode and not picture.has_transparency_data
    if factor == 1 and (is_converted or width * height <= STRIP_PIXELS):
        return converted(picture)
    whole = Pil.new(mode, (-(-width // factor), -(-height // factor)))
    for top, part in _strips(picture, factor):
        strip = converted(part)
        whole.paste(strip.reduce(factor) if factor > 1 else strip, (0, top // factor))
    return whole


def _strips(picture: Image, factor: int = 1) -> Iterator[tuple[int, Image]]:
    """First row and pixels of each strip of whole rows; their number is a multiple of ``factor``, except at the end."""
    width, height = picture.size
    rows = max(1, STRIP_PIXELS // width // factor) * factor
    for top in range(0, height, rows):
        yield top, picture.crop((0, top, width, min(top + rows, height)))


def _converter(picture: Image, mode: str) -> Callable[[Image], Image]:
    """Function that converts a strip to a mode, with parameters that depend on the whole picture."""
    if picture.mode.startswith(("I", "F")):
        return _scaling_converter(picture, mode)
    if picture.has_transparency_data:
        if not all(_is_opaque(part) for _, part in _strips(picture)):
            return _compositing_converter(_background(picture), mode)
        if picture.mode not in ("RGBA", "LA"):  # Pillow warns of a palette with alpha that is not made RGBA first
            return lambda part: part.convert("RGBA").convert(mode)
    return lambda part: part.convert(mode)


def _is_opaque(part: Image) -> bool:
    alpha = (part if part.mode == "RGBA" else part.convert("RGBA")).getchannel("A")
    return bool(alpha.getextrema()[0] == 255)


def _background(picture: Image) -> int:
    """Grey value to put under a transparent picture, so that its opaque parts are visible."""
    from PIL import Image as Pil

    longest = max(picture.size)
    if longest > SAMPLE:
        sides = [max(1, side * SAMPLE // longest) for side in picture.size]
        picture = picture.resize((sides[0], sides[1]), Pil.Resampling.NEAREST)
    picture = picture.convert("RGBA")
    grey, alpha = np.asarray(picture.convert("L"), np.float64), np.asarray(picture.getchannel("A"), np.float64)
    opaque = max(1.0, float(alpha.sum()))
    hidden = grey[alpha == 0]
    paper = float(hidden.mean()) if hidden.size else 0.0
    # Black is what encoders write by default for transparent pixels, so it is no evidence of the paper's colour.
    if paper > 0 and float(alpha[np.abs(grey - paper) > MIN_CONTRAST].sum()) >= MIN_SHARE * opaque:
        return round(paper)
    return 255 if float((grey * alpha).sum()) / opaque < 127.5 else 0


def _compositing_converter(background: int, mode: str) -> Callable[[Image], Image]:
    """Function that puts a transparent strip on a background of one grey value."""
    from PIL import Image as Pil

    def convert(part: Image) -> Image:
        below = Pil.new("RGBA", part.size, (background, background, background, 255))
        return Pil.alpha_composite(below, part.convert("RGBA")).convert(mode)

    return convert


def _scaling_converter(picture: Image, mode: str) -> Callable[[Image], Image]:
    """Function that scales a strip of integers or floating-point values, by the range of the whole picture."""
    from PIL import Image as Pil

    low, high, samples = np.inf, -np.inf, []
    step = max(1, picture.width * picture.height // SAMPLE**2)
    for _, part in _strips(picture):
        values = _values(part)
        finite = values[np.isfinite(values)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
            samples.append(finite[::step].copy())  # a view would keep the whole strip in memory
    missing = float(np.median(np.concatenate(samples))) if samples else 0.0
    bottom, top = _range(low, high, picture.mode.startswith("F"))

    def convert(part: Image) -> Image:
        values = _values(part)
        values = np.nan_to_num(values, nan=missing, posinf=high, neginf=low)
        scaled = np.rint((values - np.float32(bottom)) * np.float32(255 / (top - bottom)))
        return Pil.fromarray(np.clip(scaled, 0, 255).astype(np.uint8)).convert(mode)

    return convert


def _values(part: Image) -> NDArray[np.float32]:
    return np.asarray(part).astype(np.float32)


def _range(low: float, high: float, floating: bool) -> tuple[float, float]:
    """The two values that become grey levels 0 and 255, chosen by the smallest and largest finite value."""
    if not low <= high:  # no value is finite
        return 0.0, 1.0
    if low < 0 or high > FULL_SCALES[-1]:
        return low, max(high, low + 1e-6 * max(1.0, abs(low)))
    if floating and high <= LARGEST_UNIT_VALUE:
        return 0.0, 1.0
    return 0.0, float(next(scale for scale in FULL_SCALES if high <= scale))
