"""Data augmentation: random changes to a batch of images, as TensorFlow ops that run in the input pipeline.

They imitate the differences between pens, hands, scanners and cameras: position, size, slant, perspective, bent paper
(elastic deformation), stroke width, contrast, background, noise and blur. All random numbers are stateless: they depend
on the given seed alone, so that a resumed run sees the same images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Points per side of the coarse grid of random displacements.
ELASTIC_GRID = 5
# Random numbers per image. All but the slopes of the background and the draw for ``invert`` follow the strength.
DRAWS = 15
NOT_SCALED = (11, 12, 14)
# Sides, as fractions of an image's, to which `Augmentation.resample` reduces images.
COARSE_SIDES = (2 / 7, 5 / 14, 3 / 7, 1 / 2, 4 / 7, 5 / 7)
# Range of the change of `Augmentation.pens`, in pixels on each side of a stroke.
PEN_RANGE = (-0.7, 2.0)


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes; each image gets its own uniform draws. 0 disables a change.

    Attributes:
        rotation: largest angle, in degrees, in both directions.
        scale: largest logarithm of the change of size, up or down.
        stretch: largest logarithm of the change of the ratio of height to width, up or down.
        shear: largest horizontal shift per row, in pixels.
        shift: largest displacement in each direction, in pixels.
        perspective: largest change of size across half the image, as a fraction.
        elastic: standard deviation of a smooth field of displacements, in pixels.
        photometric: share of the images that get the changes below.
        pen: largest change of the strokes' outline, outwards or inwards, in pixels (at most 1).
        contrast: largest increase of contrast; a factor of up to 1 + contrast, as in binary scans.
        blur: largest weight of the mean over a pixel and its four neighbours, in place of the pixel.
        background: largest grey level of the background, with a gradient, as a fraction of full scale (photographs).
        noise: largest standard deviation of the noise, as a fraction of full scale; in images whose background is not
            changed (dark photographs).
        invert: share of the images with these changes that are made dark on light.
        pens: share of the images whose strokes become up to 0.7 pixels thinner or 2 pixels thicker on each side.
        resample: share of the images that are reduced to 2/7 to 5/7 of their side, and enlarged again.
        binarize: share of the images that become black and white.
    """

    rotation: float = 0.0
    scale: float = 0.0
    stretch: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    perspective: float = 0.0
    elastic: float = 0.0
    photometric: float = 0.0
    pen: float = 0.0
    contrast: float = 0.0
    blur: float = 0.0
    background: float = 0.0
    noise: float = 0.0
    invert: float = 0.0
    pens: float = 0.0
    resample: float = 0.0
    binarize: float = 0.0

    def scaled(self, strength: float) -> Augmentation:
        """All ranges times ``strength``; shares of images do not change."""
        shares = ("photometric", "invert", "pens", "resample", "binarize")
        return replace(self, **{name: value * strength for name, value in asdict(self).items() if name not in shares})


def augment(images: Any, ranges: Augmentation, seed: Any, strength: Any = 1.0) -> Any:
    """Change a batch of images at random.

    Args:
        images: uint8 tensor (n, h, w, c).
        ranges: ranges of the changes.
        seed: int tensor (2,).
        strength: factor on the ranges, as for `Augmentation.scaled`: a number or a float32 scalar tensor.

    Returns:
        float32 tensor (n, h, w, c) in [0, 255].
    """
    import tensorflow as tf

    draws = tf.random.stateless_uniform((DRAWS, tf.shape(images)[0]), seed, -1, 1)
    draws *= tf.reshape([1.0 if row in NOT_SCALED else strength for row in range(DRAWS)], (-1, 1))
    images = _geometry(images, ranges, draws, seed + 1, strength)
    images = _some(images, ranges.pens, seed + 3, _pens)
    images = _some(images, ranges.resample, seed + 4, _resample)
    if ranges.photometric:
        # The order of the images is random already, so the share is taken from the beginning of the batch.
        share = tf.cast(ranges.photometric * tf.cast(tf.shape(images)[0], tf.float32), tf.int32)
        changed = _photometric(images[:share], ranges, draws[7:, :share], seed + 2)
        images = tf.concat([changed, images[share:]], axis=0)
    return _some(images, ranges.binarize, seed + 5, _binarize)


def _some(images: Any, share: float, seed: Any, change: Callable[[Any, Any], Any]) -> Any:
    """The images with a change made to a share of them, chosen at random.

    Args:
        images: float32 (n, h, w, c). share: 0 for none. seed: int (2,).
        change: function from images and a seed to images, float32 (n, h, w, c) in [0, 255].
    """
    import tensorflow as tf

    if not share:
        return images
    count = tf.shape(images)[0]
    number = tf.cast(tf.round(share * tf.cast(count, tf.float32)), tf.int32)
    rows = tf.random.experimental.stateless_shuffle(tf.range(count), seed)[:number]
    changed = change(tf.gather(images, rows), seed)
    return tf.tensor_scatter_nd_update(images, rows[:, tf.newaxis], changed)


def _pens(images: Any, seed: Any) -> Any:
    """Strokes of another width, by morphological dilation or erosion with four neighbours, up to two times."""
    import tensorflow as tf

    amount = tf.random.stateless_uniform((tf.shape(images)[0], 1, 1, 1), seed, *PEN_RANGE)
    images = _with_pen(images, tf.clip_by_value(amount, -1, 1))
    return _with_pen(images, tf.maximum(amount - 1, 0))


def _with_pen(images: Any, amount: Any) -> Any:
    """Images whose strokes are ``amount`` pixels thicker on each side, or thinner if it is negative; from -1 to 1."""
    import tensorflow as tf

    wider, narrower = _neighbours(tf.maximum, images), _neighbours(tf.minimum, images)
    return images + tf.maximum(amount, 0) * (wider - images) + tf.maximum(-amount, 0) * (narrower - images)


def _resample(images: Any, seed: Any) -> Any:
    """Images reduced by averaging to one of `COARSE_SIDES` and enlarged again, by two kinds of interpolation.

    The images are in random order already, so each pair of side and interpolation gets a part of the batch.
    """
    import tensorflow as tf

    height, width = images.shape[1:3]
    ways = [(side, method) for side in COARSE_SIDES for method in ("bilinear", "bicubic")]
    ends = [at * tf.shape(images)[0] // len(ways) for at in range(len(ways) + 1)]
    parts = []
    for (side, method), start, end in zip(ways, ends, ends[1:], strict=False):
        sides = max(1, round(height * side)), max(1, round(width * side))
        smaller = tf.image.resize(images[start:end], sides, "area")
        parts.append(tf.image.resize(smaller, (height, width), method))
    return tf.clip_by_value(tf.concat(parts, axis=0), 0, 255)


def _binarize(images: Any, seed: Any) -> Any:
    """Images in black and white, with a threshold from 30 to 70 % of full scale, as in binary scans."""
    import tensorflow as tf

    threshold = tf.random.stateless_uniform((tf.shape(images)[0], 1, 1, 1), seed, 0.3 * 255, 0.7 * 255)
    return tf.where(images > threshold, 255.0, 0.0)


def _geometry(images: Any, ranges: Augmentation, draws: Any, seed: Any, strength: Any) -> Any:
    """All geometric changes in one bilinear resampling.

    Elastic deformation: a smooth random field of displacements, after Simard, Steinkraus and Platt, "Best practices for
    convolutional neural networks applied to visual document analysis" (2003).
    """
    import math

    import tensorflow as tf

    height, width = images.shape[1:3]
    angle = draws[0] * (ranges.rotation * math.pi / 180)
    scale, stretch = tf.exp(draws[1] * ranges.scale), tf.exp(draws[2] * (ranges.stretch / 2))
    shear = draws[3] * ranges.shear
    across, down = scale / stretch, scale * stretch
    cos, sin = tf.cos(angle), tf.sin(angle)
    # Maps output to input coordinates, relative to the centre. Column i of `place` is (x, y, 1) of output pixel i.
    x, y = np.meshgrid(np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2)
    place = np.stack([x.ravel(), y.ravel(), np.ones(x.size)]).astype(np.float32)
    to_x = tf.stack([cos * across, (shear * cos - sin) * across, draws[4] * ranges.shift], axis=1) @ place
    to_y = tf.stack([sin * down, (shear * sin + cos) * down, draws[5] * ranges.shift], axis=1) @ place
    if ranges.perspective:
        per_pixel = ranges.perspective / (max(height, width) / 2)
        distance = 1 + tf.stack([draws[6] * per_pixel, draws[13] * per_pixel], axis=1) @ place[:2]
        to_x, to_y = to_x / distance, to_y / distance
    if ranges.elastic:
        deviation = ranges.elastic * strength
        coarse = tf.random.stateless_normal((2, tf.shape(images)[0], ELASTIC_GRID**2), seed, stddev=deviation)
        field = coarse @ _smooth_field(height, width)
        to_x, to_y = to_x + field[0], to_y + field[1]
    return _sample(images, to_x + (width - 1) / 2, to_y + (height - 1) / 2)


def _smooth_field(height: int, width: int) -> NDArray[np.float32]:
    """Bicubic interpolation from the coarse grid to the pixels, as a matrix, float32 (points, h * w)."""
    import tensorflow as tf

    with tf.init_scope():
        points = np.eye(ELASTIC_GRID**2, dtype=np.float32).reshape(-1, ELASTIC_GRID, ELASTIC_GRID, 1)
        return np.asarray(tf.image.resize(points, (height, width), "bicubic")).reshape(len(points), -1)


def _sample(images: Any, x: Any, y: Any) -> Any:
    """Bilinear samples at positions (x, y), float32 (n, h, w, c); pixels outside of an image are 0.

    Args:
        images: uint8 (n, h, w, c). x, y: float32 (n, h * w).
    """
    import tensorflow as tf

    count, (height, width, channels) = tf.shape(images)[0], images.shape[1:]
    if channels > 1:
        return tf.concat([_sample(images[..., at : at + 1], x, y) for at in range(channels)], axis=-1)
    padded = tf.pad(tf.cast(images[..., 0], tf.int32), ((0, 0), (1, 2), (1, 2)))
    # The four neighbours of a position are packed as bytes of one integer, so that one gather reads all four.
    corners = (padded[:, :-1, :-1], padded[:, :-1, 1:], padded[:, 1:, :-1], padded[:, 1:, 1:])
    packed = corners[0] + corners[1] * 2**8 + corners[2] * 2**16 + tf.bitwise.left_shift(corners[3], 24)
    x, y = tf.clip_by_value(x + 1, 0.0, width + 1.0), tf.clip_by_value(y + 1, 0.0, height + 1.0)
    left, top = tf.floor(x), tf.floor(y)
    row = tf.cast(top, tf.int32) + tf.range(count)[:, tf.newaxis] * (height + 2)
    found = tf.gather(tf.reshape(packed, (-1,)), row * (width + 2) + tf.cast(left, tf.int32))
    one, two, three, four = (
        tf.cast(tf.bitwise.bitwise_and(tf.bitwise.right_shift(found, at), 255), tf.float32) for at in (0, 8, 16, 24)
    )
    right, below = x - left, y - top
    upper, lower = one + (two - one) * right, three + (four - three) * right
    return tf.reshape(upper + (lower - upper) * below, (-1, height, width, 1))


def _photometric(images: Any, ranges: Augmentation, draws: Any, seed: Any) -> Any:
    """Changes of stroke width, blur, contrast, background, noise and polarity."""
    import tensorflow as tf

    def weight(row: int) -> Any:
        """One random number per image, from -1 to 1."""
        return tf.reshape(draws[row], (-1, 1, 1, 1))

    changed = images
    if ranges.pen:
        changed = _with_pen(changed, weight(0) * ranges.pen)
    if ranges.blur:
        changed += tf.maximum(weight(1), 0) * ranges.blur * (_neighbours(tf.add, changed) / 5 - changed)
    if ranges.contrast:
        changed = (changed - 127.5) * (1 + tf.maximum(weight(2), 0) * ranges.contrast) + 127.5
        changed = tf.clip_by_value(changed, 0, 255)
    if ranges.background:
        height, width = images.shape[1:3]
        slope = (
            tf.linspace(-1.0, 1.0, width)[tf.newaxis, tf.newaxis, :, tf.newaxis] * weight(4)
            + tf.linspace(-1.0, 1.0, height)[tf.newaxis, :, tf.newaxis, tf.newaxis] * weight(5)
        ) / 4  # fmt: skip
        paper = tf.maximum(weight(3), 0) * ranges.background * (0.5 + slope)
        changed = 255 * paper + changed * (1 - paper)
    if ranges.noise:
        deviation = tf.maximum(-weight(3), 0) * (255 * ranges.noise)
        changed += tf.random.stateless_normal(tf.shape(changed), seed) * deviation
        changed = tf.clip_by_value(changed, 0, 255)
    if ranges.invert:
        changed = tf.where(weight(7) < 2 * ranges.invert - 1, 255 - changed, changed)
    return changed


def _neighbours(combine: Any, images: Any) -> Any:
    """Each pixel combined with its four neighbours; pixels outside of an image are 0."""
    import tensorflow as tf

    padded = tf.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    result = combine(images, padded[:, :-2, 1:-1])
    for part in (padded[:, 2:, 1:-1], padded[:, 1:-1, :-2], padded[:, 1:-1, 2:]):
        result = combine(result, part)
    return result
