"""A decoded picture of any mode to grey values from 0 to 255, a strip of rows at a time.

- Transparent parts get a ground of one grey: their own colour, if it is that of a paper which the opaque parts stand
  out from; else white under dark ink and black under light ink.
- Integers of 16 or 32 bits are scaled by the smallest full scale of 8, 10, 12, 14 or 16 bits that holds the largest.
- Floating point is scaled by 1 if no value is above 1.5, else as integers are. Values that are not finite are taken
  for the median of the others.
- If a value is below zero, or above 16 bits, the range from the least to the largest is scaled instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

# Pixels that are converted at a time.
STRIP_PIXELS = 1 << 18
# Pictures are sampled to about this many pixels a side where statistics need not be exact.
SAMPLE = 512
# Grey levels by which ink differs from the colour of transparent paper, and the share of the opaque parts that do.
CONTRAST, SHARE = 64, 0.02
FULL_SCALES = (255, 1023, 4095, 16383, 65535)
FLOAT_ONE = 1.5


def to_grey(picture: Image, factor: int = 1) -> Image:
    """A picture in mode L, each ``factor`` x ``factor`` pixels averaged to one."""
    from PIL import Image as Pil

    convert = _converter(picture)
    width, height = picture.size
    if factor == 1 and width * height <= STRIP_PIXELS:
        return convert(picture)
    whole = Pil.new("L", (-(-width // factor), -(-height // factor)))
    for top, part in _strips(picture, factor):
        grey = convert(part)
        whole.paste(grey.reduce(factor) if factor > 1 else grey, (0, top // factor))
    return whole


def _strips(picture: Image, factor: int = 1) -> Iterator[tuple[int, Image]]:
    """The picture in strips of whole rows, a multiple of ``factor`` but for the last, each with its first row."""
    width, height = picture.size
    rows = max(1, STRIP_PIXELS // width // factor) * factor
    for top in range(0, height, rows):
        yield top, picture.crop((0, top, width, min(top + rows, height)))


def _converter(picture: Image) -> Callable[[Image], Image]:
    """What makes a strip of the picture grey, by what is in the whole of it."""
    if picture.mode.startswith(("I", "F")):
        return _scaled(picture)
    if picture.has_transparency_data:
        if not all(_is_opaque(part) for _, part in _strips(picture)):
            return _on_ground(_ground(picture))
        if picture.mode not in ("RGBA", "LA"):  # Pillow warns of a palette with alpha that is not made RGBA first
            return lambda part: part.convert("RGBA").convert("L")
    return lambda part: part.convert("L")


def _is_opaque(part: Image) -> bool:
    alpha = (part if part.mode == "RGBA" else part.convert("RGBA")).getchannel("A")
    return bool(alpha.getextrema()[0] == 255)


def _ground(picture: Image) -> int:
    """The grey to put under a transparent picture, so that what is drawn on it is seen."""
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
    # Black under transparency is what encoders write where nothing was drawn: it says nothing.
    if paper > 0 and float(alpha[np.abs(grey - paper) > CONTRAST].sum()) >= SHARE * opaque:
        return round(paper)
    return 255 if float((grey * alpha).sum()) / opaque < 127.5 else 0


def _on_ground(ground: int) -> Callable[[Image], Image]:
    from PIL import Image as Pil

    def convert(part: Image) -> Image:
        below = Pil.new("RGBA", part.size, (ground, ground, ground, 255))
        return Pil.alpha_composite(below, part.convert("RGBA")).convert("L")

    return convert


def _scaled(picture: Image) -> Callable[[Image], Image]:
    from PIL import Image as Pil

    low, high, samples = np.inf, -np.inf, []
    step = max(1, picture.width * picture.height // SAMPLE**2)
    for _, part in _strips(picture):
        values = _values(part)
        finite = values[np.isfinite(values)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
            samples.append(finite[::step].copy())  # a view would keep all of it
    missing = float(np.median(np.concatenate(samples))) if samples else 0.0
    bottom, top = _range(low, high, picture.mode.startswith("F"))

    def convert(part: Image) -> Image:
        values = _values(part)
        values = np.nan_to_num(values, nan=missing, posinf=high, neginf=low)
        scaled = np.rint((values - np.float32(bottom)) * np.float32(255 / (top - bottom)))
        return Pil.fromarray(np.clip(scaled, 0, 255).astype(np.uint8))

    return convert


def _values(part: Image) -> NDArray[np.float32]:
    return np.asarray(part).astype(np.float32)


def _range(low: float, high: float, floating: bool) -> tuple[float, float]:
    """The values that become black and white."""
    if not low <= high:  # no value is finite
        return 0.0, 1.0
    if low < 0 or high > FULL_SCALES[-1]:
        return low, max(high, low + 1e-6 * max(1.0, abs(low)))
    if floating and high <= FLOAT_ONE:
        return 0.0, 1.0
    return 0.0, float(next(scale for scale in FULL_SCALES if high <= scale))
