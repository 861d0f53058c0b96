"""Random changes to a batch of pictures, as TensorFlow ops that run in the input pipeline.

They stand for how digits differ between pens, hands, scanners and cameras: position, size, slant, perspective, a paper
that is bent (elastic), the pen's width, ink and contrast, a paper that is not black, and blur. Every draw is stateless:
it depends on the seed given, so that a run that was stopped sees the same pictures again.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

ELASTIC_GRID = 5
DRAWS = 15


@dataclass(frozen=True)
class Augmentation:
    """Half the width of every range that is drawn from, uniformly, an image at a time; 0 leaves that change out.

    ``rotation`` in degrees; ``scale``, ``shear`` and ``stretch`` (height against width) as fractions; ``shift`` and
    ``elastic`` in pixels, the latter a standard deviation; ``perspective`` is the change of size
    across half the picture. The share ``photometric`` of the images has its ``pen`` widened or narrowed (as a fraction
    of one pixel on every side), its contrast raised up to ``contrast`` times (binary scans), blur, and its background
    lightened by up to ``background`` of full scale with a gradient (photographs), or noise of standard deviation up to
    ``noise`` (dark photographs), and the share ``invert`` of them is dark on light.
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

    def scaled(self, strength: float) -> Augmentation:
        """All ranges times ``strength``; the shares of images that are changed stay."""
        return replace(
            self, **{field.name: getattr(self, field.name) * strength for field in fields(self)
                     if field.name not in ("photometric", "invert")}
        )  # fmt: skip


def augment(images: Any, ranges: Augmentation, seed: Any) -> Any:
    """A batch changed at random.

    Args:
        images: uint8 tensor (n, h, w, 1).
        ranges: how much.
        seed: int tensor (2,).

    Returns:
        float32 tensor (n, h, w, 1) in [0, 255].
    """
    import tensorflow as tf

    draws = tf.random.stateless_uniform((DRAWS, tf.shape(images)[0]), seed, -1, 1)
    images = _geometry(images, ranges, draws, seed + 1)
    if ranges.photometric:
        # The order is random already: the first so many of a batch will do.
        share = tf.cast(ranges.photometric * tf.cast(tf.shape(images)[0], tf.float32), tf.int32)
        changed = _photometric(images[:share], ranges, draws[7:, :share], seed + 2)
        images = tf.concat([changed, images[share:]], axis=0)
    return images


def _geometry(images: Any, ranges: Augmentation, draws: Any, seed: Any) -> Any:
    """Rotation, size, slant, perspective, shift and a smooth field of displacements, in one bilinear resampling."""
    import math

    import tensorflow as tf

    height, width = images.shape[1:3]
    angle = draws[0] * (ranges.rotation * math.pi / 180)
    scale, stretch = tf.exp(draws[1] * ranges.scale), tf.exp(draws[2] * (ranges.stretch / 2))
    shear = draws[3] * ranges.shear
    across, down = scale / stretch, scale * stretch
    cos, sin = tf.cos(angle), tf.sin(angle)
    # From output to input, both counted from the middle; every row of `place` is x, y and 1 of one pixel.
    x, y = np.meshgrid(np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2)
    place = np.stack([x.ravel(), y.ravel(), np.ones(x.size)]).astype(np.float32)
    to_x = tf.stack([cos * across, (shear * cos - sin) * across, draws[4] * ranges.shift], axis=1) @ place
    to_y = tf.stack([sin * down, (shear * sin + cos) * down, draws[5] * ranges.shift], axis=1) @ place
    if ranges.perspective:
        per_pixel = ranges.perspective / (max(height, width) / 2)
        distance = 1 + tf.stack([draws[6] * per_pixel, draws[13] * per_pixel], axis=1) @ place[:2]
        to_x, to_y = to_x / distance, to_y / distance
    if ranges.elastic:
        coarse = tf.random.stateless_normal((2, tf.shape(images)[0], ELASTIC_GRID**2), seed, stddev=ranges.elastic)
        field = coarse @ _smooth_field(height, width)
        to_x, to_y = to_x + field[0], to_y + field[1]
    return _sample(images, to_x + (width - 1) / 2, to_y + (height - 1) / 2)


def _smooth_field(height: int, width: int) -> NDArray[np.float32]:
    """What one point of the coarse grid does to every pixel: float32 (points, h * w), bicubic."""
    import tensorflow as tf

    with tf.init_scope():
        points = np.eye(ELASTIC_GRID**2, dtype=np.float32).reshape(-1, ELASTIC_GRID, ELASTIC_GRID, 1)
        return np.asarray(tf.image.resize(points, (height, width), "bicubic")).reshape(len(points), -1)


def _sample(images: Any, x: Any, y: Any) -> Any:
    """Bilinear samples at (x, y), float32 (n, h * w); outside is zero."""
    import tensorflow as tf

    count, (height, width) = tf.shape(images)[0], images.shape[1:3]
    padded = tf.pad(tf.cast(images[..., 0], tf.int32), ((0, 0), (1, 2), (1, 2)))
    # The four pixels about every place, a byte each in one number, so that one gather finds them.
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
    import tensorflow as tf

    def weight(row: int) -> Any:
        return tf.reshape(draws[row], (-1, 1, 1, 1))

    changed = images
    if ranges.pen:
        wider, narrower = _neighbours(tf.maximum, changed), _neighbours(tf.minimum, changed)
        amount = weight(0) * ranges.pen
        changed += tf.maximum(amount, 0) * (wider - changed) + tf.maximum(-amount, 0) * (narrower - changed)
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
    """Every pixel combined with the four beside it; outside is zero."""
    import tensorflow as tf

    padded = tf.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    result = combine(images, padded[:, :-2, 1:-1])
    for part in (padded[:, 2:, 1:-1], padded[:, 1:-1, :-2], padded[:, 1:-1, 2:]):
        result = combine(result, part)
    return result
