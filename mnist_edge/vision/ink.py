"""How much ink is where in a picture: its background taken away, whether it is even or under uneven light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.vision.strokes import FULL, resize

# All lengths in pixels of the picture as it is analysed, whose longest side is at most WORK.
WORK = 320
# A picture whose longest side is at most this has no lighting: its background is one value.
FLAT = 64
# A picture with a side shorter than this holds nothing.
SMALLEST = 3
# The grid of local medians that are the background of a larger one.
GRID, WINDOW = 40, 22
# Differences from a local background are told apart in steps of 1 / STEPS grey levels.
STEPS = 8
# In a drawing at least this share of all pixels have one value; in a photograph noise and light make them differ.
DRAWN = 0.5
# Grey levels of 255 by which ink must differ from its background, and how many times the background's own deviation.
MIN_CONTRAST, MIN_SIGNAL = 18.0, 6.0


class NoDigit(Exception):  # noqa: N818 - an answer, no error
    """There is no digit in the picture; the message says why."""


@dataclass(frozen=True)
class Ink:
    """How much ink is where: an index for each pixel, and by that index the ink, 0 none to FULL, which is monotonic.

    ``scale`` is the factor back to the picture's own pixels. ``opposite`` is, by index, what differs from the
    background the other way, in the same units. ``is_photograph`` says that the background is not one value.
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
        """Where there is more ink than a share of full ink."""
        more = np.flatnonzero(self.amounts > level * FULL)
        above: NDArray[np.bool_] = self.index >= more[0] if self.amounts[-1] else self.index <= more[-1]
        return above

    def within(self, box: tuple[slice, slice]) -> NDArray[np.uint8]:
        """The ink of a part, uint8."""
        return self.amounts.take(self.index[box])


def find_ink(grey: NDArray[np.uint8]) -> Ink:
    """The ink of a picture, on whichever side of its background it is.

    Raises:
        NoDigit: blank, noise, or too small.
    """
    if min(grey.shape) < SMALLEST:
        raise NoDigit("a picture of too few pixels")
    scale = max(1.0, max(grey.shape) / WORK)
    values, counts = _reduced(grey, scale)
    border = np.sort(_border(values))
    flat = _is_flat(values, border, counts)
    is_photograph = max(values.shape) > FLAT and (not flat or int(counts.max()) < DRAWN * values.size)
    # Everything that follows needs only how often each difference from the background occurs.
    if flat:
        index: NDArray[np.unsignedinteger[Any]] = values
        levels = np.arange(256) - _flat_background(border, counts)
    else:
        light = values - _local_background(values)
        index = np.rint(light * STEPS + 256 * STEPS).astype(np.uint16)
        counts = np.bincount(index.ravel(), minlength=512 * STEPS + 1)
        levels = np.arange(512 * STEPS + 1) / STEPS - 256
    distance, occurs = np.abs(levels), counts > 0
    # Background: pixels whose difference is at most half of the largest difference.
    near = distance <= distance[occurs].max() / 2
    spread = 1.4826 * _quantile(distance[near], counts[near], 0.5)
    signed = levels if float(counts @ levels**3) > 0 else -levels
    amounts = np.maximum(signed, 0)
    count = max(3, round(0.001 * values.size))
    peak = _mean_of_largest(amounts, counts, count)
    if peak < max(MIN_CONTRAST, MIN_SIGNAL * spread):
        raise NoDigit("blank" if peak < MIN_CONTRAST else "noise")
    # What full ink is: under uneven light the middle of the strong values, so that a few specks do not decide it.
    strong = amounts > 0.35 * peak
    full = peak if flat else _quantile(amounts[strong], counts[strong], 0.6)
    return Ink(index, _share(amounts, full), scale, _share(np.maximum(-signed, 0), full), is_photograph)


def _share(amounts: NDArray[np.float64], full: float) -> NDArray[np.uint8]:
    """Amounts as shares of full ink, uint8, 0 to FULL."""
    share: NDArray[np.uint8] = np.rint(np.minimum(amounts / full, 1.0) * FULL).astype(np.uint8)
    return share


def _quantile(values: NDArray[np.float64], counts: NDArray[np.int64], share: float) -> float:
    """The smallest value that a share of all occurrences does not exceed."""
    order = np.argsort(values, kind="stable")
    below = counts[order].cumsum()
    return float(values[order][np.searchsorted(below, share * (below[-1] - 1), side="right")])


def _mean_of_largest(values: NDArray[np.float64], counts: NDArray[np.int64], count: int) -> float:
    """The mean of the largest occurrences."""
    order = np.argsort(-values, kind="stable")
    upto = np.minimum(counts[order].cumsum(), count)
    return float(np.diff(upto, prepend=0) @ values[order]) / count


def _reduced(grey: NDArray[np.uint8], scale: float) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The picture as it is analysed, and its histogram."""
    from PIL import Image as Pil

    picture = Pil.fromarray(np.ascontiguousarray(grey))
    if scale > 1:
        height, width = (max(1, round(size / scale)) for size in grey.shape)
        picture = picture.resize((width, height), Pil.Resampling.BOX)
        grey = np.asarray(picture)
    return grey, np.array(picture.histogram())


def _is_flat(values: NDArray[np.uint8], border: NDArray[np.uint8], counts: NDArray[np.int64]) -> bool:
    """Whether the background is one value: a small picture, or one whose border, sorted, is even."""
    if max(values.shape) <= FLAT:
        return True
    occurring = np.flatnonzero(counts)
    low, high = (int(border[round(share * (border.size - 1))]) for share in (0.1, 0.9))
    return high - low < 0.12 * float(occurring[-1] - occurring[0])


def _border(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def _flat_background(border: NDArray[np.uint8], counts: NDArray[np.int64]) -> float:
    """One value: the side of the middle grey that most of the border and most of all pixels are on, together."""
    occurring = np.flatnonzero(counts)
    middle = (int(occurring[0]) + int(occurring[-1])) // 2
    light = np.count_nonzero(border > middle) / border.size + counts[middle + 1 :].sum() / counts.sum() > 1
    side = np.s_[middle + 1 :] if light else np.s_[: middle + 1]
    return _quantile(np.arange(256.0)[side], counts[side], 0.5)


def _local_background(values: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The median of each pixel's wide neighbourhood, by which lighting goes and strokes stay.

    It is taken on a coarse grid, once for every block of 2 x 2 of its points.
    """
    factor = max(values.shape) / GRID
    rows, columns = (max(4, 2 * round(size / factor / 2)) for size in values.shape)
    small = resize(values.astype(np.float32), (rows, columns))
    padded = np.pad(small, WINDOW // 2 - 1, mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (WINDOW, WINDOW))[::2, ::2]
    middle = WINDOW * WINDOW // 2
    flat = windows.reshape(rows // 2, columns // 2, WINDOW * WINDOW)
    background = resize(np.partition(flat, middle, axis=2)[..., middle], values.shape)
    return np.clip(background, 0, 255)  # bicubic interpolation goes beyond both ends
