"""Separation of ink from background, for drawings of one background colour and for photographs under uneven light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.vision.background import GRID, local_background
from mnist_edge.vision.resampling import resized
from mnist_edge.vision.strokes import FULL

# Pictures are reduced to at most this many pixels on their longest side; all lengths below are in these pixels.
WORK = 320
# A picture whose longest side is at most TINY shows one digit, whose gaps are thin strokes that scaling lost. One of at
# most FLAT has a background of one value unless it then looks like noise; one below UNEVEN always has, because a local
# background has more values on its longest side.
UNEVEN, TINY, FLAT = GRID // 2, 32, 64
# The shortest side of a picture that is analysed.
SMALLEST = 3
# Differences from a local background are quantized to 1 / STEPS grey levels.
STEPS = 8
# In a drawing at least this share of all pixels have one value; in a photograph noise and light make them differ.
DRAWN = 0.5
# Minimum difference of ink from its background: in grey levels of 255, and in standard deviations of the background.
MIN_CONTRAST, MIN_SIGNAL = 18.0, 6.0
# Standard deviation of a normal distribution, divided by its median absolute deviation.
MAD_TO_DEVIATION = 1.4826


class NoDigit(Exception):  # noqa: N818 - a regular answer, not an error
    """The picture shows no digit; the message is the reason."""


@dataclass(frozen=True)
class Ink:
    """Amount of ink of each pixel of a reduced picture, as a look-up table.

    Attributes:
        index: per pixel, an index into ``amounts`` and ``opposite``.
        amounts: ink, from 0 (none) to `FULL`; monotonic in the index.
        scale: factor from the reduced picture's pixels to the original's.
        opposite: difference from the background in the direction opposite to the ink, in the same units.
        is_photograph: the background is uneven, or no single value fills half of the picture.
    """

    index: NDArray[np.unsignedinteger[Any]]
    amounts: NDArray[np.uint8]
    scale: float
    opposite: NDArray[np.uint8]
    is_photograph: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.index.shape[0], self.index.shape[1]

    def above(self, level: float) -> NDArray[np.bool_]:
        """Mask of the pixels with more ink than a share (0 to 1) of full ink."""
        more = np.flatnonzero(self.amounts > level * FULL)
        above: NDArray[np.bool_] = self.index >= more[0] if self.amounts[-1] else self.index <= more[-1]
        return above

    def within(self, box: tuple[slice, slice]) -> NDArray[np.uint8]:
        """Ink of a rectangle, uint8, 0 to `FULL`."""
        return self.amounts.take(self.index[box])


def find_ink(grey: NDArray[np.uint8]) -> Ink:
    """Find the ink of a picture, which may be darker or lighter than the background.

    Args:
        grey: uint8 (h, w).

    Raises:
        NoDigit: the picture is blank, noise, or too small.
    """
    if min(grey.shape) < SMALLEST:
        raise NoDigit("a picture of too few pixels")
    scale = max(1.0, max(grey.shape) / WORK)
    values, counts = _reduced(grey, scale)
    border = np.sort(_border(values))
    flat = _is_flat(values, border, counts)
    is_photograph = max(values.shape) > FLAT and int(counts.max()) < DRAWN * values.size
    amounts = None
    if flat:
        index: NDArray[np.unsignedinteger[Any]] = values
        amounts = _amounts(np.arange(256) - _flat_background(border, counts), counts, flat=True)
    # A small picture is first taken to have a background of one value. If that finds noise, the light may be uneven.
    if not flat or (amounts is None and UNEVEN <= max(values.shape) <= FLAT):
        index = _differences(values)
        counts = np.bincount(index.ravel(), minlength=512 * STEPS + 1)
        amounts = _amounts(np.arange(512 * STEPS + 1) / STEPS - 256, counts, flat=False)
        is_photograph = True
    if amounts is None:
        raise NoDigit("noise")
    return Ink(index, amounts[0], scale, amounts[1], is_photograph)


def _amounts(
    levels: NDArray[np.float64], counts: NDArray[np.int64], flat: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """Ink, and its opposite, for each difference from the background; None if the ink does not exceed the noise.

    All statistics are of the histogram of differences, not of single pixels.

    Args:
        levels: the differences in grey levels, ascending, float64 (n,).
        counts: number of pixels with each difference, int64 (n,).
        flat: whether the background is one value.

    Returns:
        Two tables, uint8 (n,), 0 to `FULL`.

    Raises:
        NoDigit: the picture is blank.
    """
    occurring = np.flatnonzero(counts)
    differences, numbers = levels[occurring], counts[occurring]
    distance = np.abs(differences)
    # Background: pixels whose difference is at most half of the largest difference.
    near = distance <= distance.max() / 2
    spread = MAD_TO_DEVIATION * _quantile(distance[near], numbers[near], 0.5) if near.any() else 0.0
    # The sign of the third moment is that of the ink, which is rarer and farther from the background than noise.
    sign = 1 if float(numbers @ (differences * differences * differences)) > 0 else -1
    inks, numbers = (sign * differences)[::sign], numbers[::sign]  # ascending
    peak = _mean_of_largest(np.maximum(inks, 0), numbers, max(3, round(0.001 * numbers.sum())))
    if peak < MIN_CONTRAST:
        raise NoDigit("blank")
    if peak < MIN_SIGNAL * spread:
        return None
    # Full ink: under uneven light a quantile of the large values, so that a few specks do not decide it.
    strong = inks > 0.35 * peak
    full = peak if flat else _quantile(inks[strong], numbers[strong], 0.6)
    share = np.rint(np.minimum(np.abs(levels) / full, 1.0) * FULL).astype(np.uint8)
    is_ink = sign * levels > 0
    return share * is_ink, share * ~is_ink


def _quantile(values: NDArray[np.float64], counts: NDArray[np.int64], share: float) -> float:
    """Quantile of values that occur ``counts`` times each; ``share`` is from 0 to 1."""
    order = np.argsort(values, kind="stable")
    below = counts[order].cumsum()
    return float(values[order][np.searchsorted(below, share * (below[-1] - 1), side="right")])


def _mean_of_largest(values: NDArray[np.float64], counts: NDArray[np.int64], count: int) -> float:
    """Mean of the ``count`` largest occurrences of ascending values that occur ``counts`` times each."""
    upto = np.minimum(counts[::-1].cumsum(), count)
    upto[1:] -= upto[:-1].copy()
    return float(upto @ values[::-1]) / count


def _reduced(grey: NDArray[np.uint8], scale: float) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The picture, reduced by a factor of at least 1, and the histogram of its 256 grey values."""
    from PIL import Image as Pil

    grey = np.ascontiguousarray(grey)
    if scale == 2 and grey.shape[0] % 2 == grey.shape[1] % 2 == 0:
        grey = _halved(grey)
    picture = Pil.fromarray(grey)
    if max(grey.shape) > WORK:  # not halved already
        height, width = (max(1, round(size / scale)) for size in grey.shape)
        picture = resized(picture, width, height, Pil.Resampling.BOX)
        grey = np.asarray(picture)
    return grey, np.array(picture.histogram())


def _halved(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture of even sides, reduced by 2: the mean of two pixels of a row is rounded, then that of two such means.

    Pillow's filter BOX does the same in a multiple of the time.
    """
    pairs = grey.view(np.uint16)
    means = ((pairs & 0xFF) + (pairs >> 8) + 1) >> 1
    return ((means[::2] + means[1::2] + 1) >> 1).astype(np.uint8)


def _is_flat(values: NDArray[np.uint8], border: NDArray[np.uint8], counts: NDArray[np.int64]) -> bool:
    """Whether the background is one value: in a small picture, or if the pixels of the border hardly differ.

    Args:
        values: the reduced picture.
        border: its border pixels, sorted.
        counts: its histogram.
    """
    if max(values.shape) <= FLAT:
        return True
    occurring = np.flatnonzero(counts)
    low, high = (int(border[round(share * (border.size - 1))]) for share in (0.1, 0.9))
    return high - low < 0.12 * float(occurring[-1] - occurring[0])


def _border(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def _flat_background(border: NDArray[np.uint8], counts: NDArray[np.int64]) -> float:
    """Background of one value: the median of the darker or of the lighter half of the grey values.

    It is the half for which the sum of two shares is larger: its share of the border, and its share of all pixels.
    """
    occurring = np.flatnonzero(counts)
    middle = (int(occurring[0]) + int(occurring[-1])) // 2
    light = np.count_nonzero(border > middle) / border.size + counts[middle + 1 :].sum() / counts.sum() > 1
    side = np.s_[middle + 1 :] if light else np.s_[: middle + 1]
    return _quantile(np.arange(256.0)[side], counts[side], 0.5)


def _differences(values: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Difference of each pixel from its local background, in units of 1 / `STEPS` grey level, plus 256 * `STEPS`."""
    light = local_background(values)
    np.subtract(values, light, out=light)
    light *= STEPS
    light += 256 * STEPS
    return np.rint(light, out=light).astype(np.uint16)
