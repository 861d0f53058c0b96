"""Forms of digits that MNIST hardly has: ones with an upstroke, sevens with a bar, and nines with a curved tail.

MNIST was written in the United States. Elsewhere many people write these forms, and a net that has never seen them
takes such a one for a seven. The strokes are drawn into images of the training split, in a random place of a range that
we chose; no digit of another data set is used.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mnist_edge.data import Split, Splits
from mnist_edge.data.catalog import MNIST, MNIST_IMAGE

Image = NDArray[np.float32]
Draw = np.random.Generator

SEED = 0  # of the choice of images and of all changes, whatever the seed of a run
INK = 128  # smallest value of a pixel in a stroke
THINNEST, THICKEST = 1.3, 5.0  # width of a drawn stroke, in pixels
SMALLEST = 14  # height of a digit below which nothing is drawn
SEGMENTS = 6  # straight parts of a curved stroke
# Ranges, with lengths and heights as shares of the digit's height and angles in radians.
WIDTHS = (0.7, 1.0)  # of a drawn stroke, as a share of that of the digit
UPSTROKE, UPSTROKE_ANGLE, UPSTROKE_BOW = (0.25, 0.65), (0.4, 1.0), (-0.05, 0.2)
FLATTEST = 1.5  # largest angle between an upstroke and the vertical
FOOT, FEET = (0.25, 0.5), 0.15  # and the share of ones with a foot
BAR, BAR_HEIGHT, BAR_TILT, BAR_OFFSET = (0.3, 0.6), (0.42, 0.62), (-0.35, 0.35), (-0.15, 0.15)
TAIL, TAIL_ANGLE, TAIL_BOW = (0.25, 0.55), (1.2, 1.9), (-0.3, -0.1)


def with_forms(split: Split, splits: Splits, share: float) -> Split:
    """A split of MNIST's digits with added images in other forms; other data sets and a share of 0 change nothing.

    Args:
        split: images to train on, of the data set ``splits``; images that are not added keep their order.
        share: number of added images as a fraction of the ones, of the sevens, and of the nines.
    """
    is_mnist = (splits.class_names, splits.preprocessor) == (MNIST.class_names, MNIST.preprocessor)
    if not share or not is_mnist or splits.image_shape != (*MNIST_IMAGE, 1):
        return split
    draw, images, labels, rows = np.random.default_rng(SEED), [split.images], [split.labels], [split.indices]
    for digit, change in FORMS.items():
        candidates = np.flatnonzero(split.labels == digit)
        for row in draw.permutation(candidates)[: round(share * len(candidates))]:
            changed = change(split.images[row, ..., 0].astype(np.float32), draw)
            if changed is not None:
                images.append(np.rint(_centred(changed)).astype(np.uint8)[np.newaxis, ..., np.newaxis])
                labels.append(np.array([digit]))
                rows.append(split.indices[row : row + 1])
    return Split(np.concatenate(images), np.concatenate(labels), np.concatenate(rows))


def _with_upstroke(image: Image, draw: Draw) -> Image | None:
    """A one with a stroke from its top to the lower left, and sometimes a foot; None for a small or broken one."""
    top, bottom = _extent(image)
    height = bottom - top + 1
    high, low = _ink(image, top + 1), _ink(image, bottom - 1)
    if height < SMALLEST or not len(high) or not len(low):
        return None
    x, lean = high.mean(), np.arctan2(low.mean() - high.mean(), height - 3)
    width = _width(image)
    angle = min(draw.uniform(*UPSTROKE_ANGLE) - lean, FLATTEST)
    length, bow = height * draw.uniform(*UPSTROKE), draw.uniform(*UPSTROKE_BOW)
    end = (x - np.sin(angle) * length, top + 1 + np.cos(angle) * length)
    image = _stroke(image, (x, top + 1), end, bow, width * draw.uniform(*WIDTHS))
    if draw.random() < FEET:
        half = height * draw.uniform(*FOOT) / 2
        ends = ((low.mean() - half, bottom - 1), (low.mean() + half, bottom - 1))
        image = _stroke(image, *ends, 0, width * draw.uniform(*WIDTHS))
    return image


def _with_bar(image: Image, draw: Draw) -> Image | None:
    """A seven with a bar across its stem; None if the stem is broken there."""
    top, bottom = _extent(image)
    height = bottom - top + 1
    row = round(top + height * draw.uniform(*BAR_HEIGHT))
    columns = _ink(image, row)
    if height < SMALLEST or not len(columns):
        return None
    x = columns[columns >= columns[-1] - THICKEST].mean()
    length, tilt = height * draw.uniform(*BAR), draw.uniform(*BAR_TILT)
    x += length * draw.uniform(*BAR_OFFSET)
    across, down = np.cos(tilt) * length / 2, np.sin(tilt) * length / 2
    width = _width(image[row - 2 : row + 3]) * draw.uniform(*WIDTHS)
    return _stroke(image, (x - across, row - down), (x + across, row + down), 0, width)


def _with_tail(image: Image, draw: Draw) -> Image | None:
    """A nine whose stem goes on in a curve to the left; None for a small or broken one."""
    top, bottom = _extent(image)
    height, columns = bottom - top + 1, _ink(image, bottom - 1)
    if height < SMALLEST or not len(columns):
        return None
    x, length, angle = columns.mean(), height * draw.uniform(*TAIL), draw.uniform(*TAIL_ANGLE)
    end = (x - np.sin(angle) * length, bottom - 1 + np.cos(angle) * length)
    width = _width(image[-(len(image) - (top + bottom) // 2) :]) * draw.uniform(*WIDTHS)
    return _stroke(image, (x, bottom - 1), end, draw.uniform(*TAIL_BOW), width)


# The changes by digit.
FORMS: dict[int, Callable[[Image, Draw], Image | None]] = {1: _with_upstroke, 7: _with_bar, 9: _with_tail}


def _extent(image: Image) -> tuple[int, int]:
    """First and last row with ink; (0, -1) without any."""
    rows = np.flatnonzero((image >= INK).any(axis=1))
    return (int(rows[0]), int(rows[-1])) if len(rows) else (0, -1)


def _ink(image: Image, row: int) -> NDArray[np.int64]:
    """Columns with ink in a row."""
    return np.flatnonzero(image[min(max(row, 0), len(image) - 1)] >= INK)


def _width(image: Image) -> float:
    """Width of the strokes: the median number of ink pixels in a row that has any, within reasonable limits."""
    counts = (image >= INK).sum(axis=1)
    return float(np.clip(np.median(counts[counts > 0]), THINNEST, THICKEST)) if counts.any() else THINNEST


def _stroke(image: Image, start: tuple[float, float], end: tuple[float, float], bow: float, width: float) -> Image:
    """An image with a stroke between two points (x, y), which bends away from the line by a share of its length."""
    width = max(THINNEST, width)
    (x0, y0), (x1, y1) = start, end
    along = np.linspace(0, 1, SEGMENTS + 1 if bow else 2)
    away = 4 * bow * along * (1 - along)
    xs, ys = x0 + along * (x1 - x0) - away * (y1 - y0), y0 + along * (y1 - y0) + away * (x1 - x0)
    down, across = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    distance = np.full(image.shape, np.inf, np.float32)
    for ax, ay, bx, by in zip(xs, ys, xs[1:], ys[1:], strict=False):
        dx, dy = bx - ax, by - ay
        part = np.clip(((across - ax) * dx + (down - ay) * dy) / max(dx * dx + dy * dy, 1e-6), 0, 1)
        distance = np.minimum(distance, np.hypot(across - ax - part * dx, down - ay - part * dy))
    return np.maximum(image, 255 * np.clip((width + 1) / 2 - distance, 0, 1)).astype(np.float32)


def _centred(image: Image) -> Image:
    """An image shifted by whole pixels so that its centre of mass is in the middle, as far as no ink is lost."""
    height, width = image.shape
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    total = image.sum()
    down = round((height - 1) / 2 - float(image.sum(axis=1) @ np.arange(height) / total))
    across = round((width - 1) / 2 - float(image.sum(axis=0) @ np.arange(width) / total))
    down = min(max(down, -int(rows[0])), height - 1 - int(rows[-1]))
    across = min(max(across, -int(columns[0])), width - 1 - int(columns[-1]))
    return np.roll(image, (down, across), axis=(0, 1))
