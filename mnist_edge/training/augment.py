"""Random changes to a batch of pictures, as TensorFlow ops that run in the input pipeline.

They stand for how digits differ between pens, hands, scanners and cameras: position, size, slant, perspective, a paper
that is bent (elastic), the pen's width, ink and contrast, a paper that is not black, and blur. Every draw is stateless:
it depends on the seed given, so that a run that was stopped sees the same pictures again.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

ELASTIC_GRID = 5
DRAWS = 16


@dataclass(frozen=True)
class Augmentation:
    """Half the width of every range that is drawn from, uniformly, an image at a time; 0 leaves that change out.

    ``rotation`` in degrees; ``scale``, ``shear`` and ``stretch`` (height against width) as fractions; ``shift`` and
    ``elastic`` in pixels, the latter a standard deviation and one field a batch; ``perspective`` is the change of size
    across half the picture. The share ``photometric`` of the images has its ``pen`` widened or narrowed (as a fraction
    of one pixel on every side), its contrast raised up to ``contrast`` times (binary scans), blur, and its background
    lightened by up to ``background`` of full scale with a gradient (photographs), and noise of standard deviation up to
    ``noise``.
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

    def scaled(self, strength: float) -> Augmentation:
        """All ranges times ``strength``; the share of images that is changed at all stays."""
        return replace(
            self, **{field.name: getattr(self, field.name) * strength for field in fields(self)
                     if field.name != "photometric"}
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
    images = _geometry(images, ranges, draws)
    if ranges.elastic:
        images = _elastic(images, ranges.elastic, seed + 1)
    if ranges.photometric:
        images = _photometric(images, ranges, draws[7:], seed + 2)
    return images


def _geometry(images: Any, ranges: Augmentation, draws: Any) -> Any:
    """Rotation, size, shear, perspective and shift in one resampling (bilinear, zeros outside)."""
    import math

    import tensorflow as tf

    height, width = images.shape[1:3]
    angle = draws[0] * (ranges.rotation * math.pi / 180)
    scale = tf.exp(draws[1] * ranges.scale)
    stretch = tf.exp(draws[2] * (ranges.stretch / 2))
    shear = draws[3] * ranges.shear
    across, down = scale / stretch, scale * stretch
    cos, sin = tf.cos(angle), tf.sin(angle)
    # From output to input: about the middle, which is moved.
    a, b = cos * across, (shear * cos - sin) * across
    d, e = sin * down, (shear * sin + cos) * down
    per_pixel = ranges.perspective / (max(height, width) / 2)
    p, q = draws[6] * per_pixel, draws[13] * per_pixel
    x, y = (width - 1) / 2, (height - 1) / 2
    from_x, from_y = x + draws[4] * ranges.shift, y + draws[5] * ranges.shift
    k = 1 - p * from_x - q * from_y
    rows = [
        a + x * p, b + x * q, x * k - a * from_x - b * from_y,
        d + y * p, e + y * q, y * k - d * from_x - e * from_y,
        p, q,
    ]  # fmt: skip
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32), transforms=tf.stack(rows, axis=1) / k[:, tf.newaxis],
        output_shape=(height, width), fill_value=0.0, interpolation="BILINEAR", fill_mode="CONSTANT",
    )  # fmt: skip


def _elastic(images: Any, deviation: float, seed: Any) -> Any:
    """A smooth field of displacements, the same for the whole batch: a new one every step is variety enough."""
    import tensorflow as tf

    height, width = images.shape[1:3]
    coarse = tf.random.stateless_normal((1, ELASTIC_GRID, ELASTIC_GRID, 2), seed, stddev=deviation)
    field = tf.image.resize(coarse, (height, width), "bicubic")[0]
    rows = tf.clip_by_value(tf.range(height, dtype=tf.float32)[:, tf.newaxis] + field[..., 0], 0, height - 1.001)
    columns = tf.clip_by_value(tf.range(width, dtype=tf.float32)[tf.newaxis] + field[..., 1], 0, width - 1.001)
    top, left = tf.floor(rows), tf.floor(columns)
    down, right = tf.reshape(rows - top, (-1, 1)), tf.reshape(columns - left, (-1, 1))
    corner = tf.reshape(tf.cast(top, tf.int32) * width + tf.cast(left, tf.int32), (-1,))
    # Pixels by images: a gather then copies whole rows.
    pixels = tf.transpose(tf.reshape(images, (-1, height * width)))
    upper = tf.gather(pixels, corner) * (1 - right) + tf.gather(pixels, corner + 1) * right
    lower = tf.gather(pixels, corner + width) * (1 - right) + tf.gather(pixels, corner + width + 1) * right
    return tf.reshape(tf.transpose(upper * (1 - down) + lower * down), tf.shape(images))


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
    return tf.where(weight(8) < 2 * ranges.photometric - 1, changed, images)


def _neighbours(combine: Any, images: Any) -> Any:
    """Every pixel combined with the four beside it; outside is zero."""
    import tensorflow as tf

    padded = tf.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    result = combine(images, padded[:, :-2, 1:-1])
    for part in (padded[:, 2:, 1:-1], padded[:, 1:-1, :-2], padded[:, 1:-1, 2:]):
        result = combine(result, part)
    return result
