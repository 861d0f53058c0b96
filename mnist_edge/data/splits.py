"""Splits of a data set: train, validation, calibration and test."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

VALIDATION_IMAGES = 5_000
# Images for activation calibration.
CALIBRATION_IMAGES = 512


def add_channel(images: NDArray[Any]) -> NDArray[Any]:
    """Images uint8 (n, h, w) as (n, h, w, 1); images that have a channel axis, and features, as they are."""
    return images[..., np.newaxis] if images.ndim == 3 and images.dtype == np.uint8 else images


def fits(shape: tuple[int, ...], images: NDArray[Any]) -> bool:
    """Whether an input of this shape takes these images or features (n, ...); (h, w) takes grey images (n, h, w, 1)."""
    return images.shape[1:] == shape or (len(shape) == 2 and images.shape[1:] == (*shape, 1))


def one_hot(labels: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """One-hot encoding of labels (n,), float32 (n, classes)."""
    return np.eye(classes, dtype=np.float32)[labels]


def image_digests(images: NDArray[Any]) -> list[str]:
    """First 16 hexadecimal digits of each image's SHA-256: enough to find images that two sets have in common."""
    return [hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in np.ascontiguousarray(images)]


@dataclass(frozen=True)
class Split:
    """Images, labels int64 (n,), and their row numbers in the file they come from.

    Images are uint8 (n, h, w, c) with c = 1 or 3, or features: float32 or int8 (n, ...).
    """

    images: NDArray[Any]
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Splits:
    """A data set, split. ``calibration`` is a part of ``train``; apart from that, no two splits share an image.

    ``sha256`` holds the hashes of the four parts before splitting, by role (``train_images`` and so on).
    """

    name: str
    train: Split
    validation: Split
    calibration: Split
    test: Split
    class_names: tuple[str, ...]
    preprocessor: str
    sha256: dict[str, str]
    split_seed: int
    calibration_seed: int

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape (h, w, c) of each image, or that of a row of features."""
        return self.test.images.shape[1:]


def take(images: NDArray[Any], labels: NDArray[np.int64], indices: NDArray[np.int64]) -> Split:
    """Split of the images at ``indices``, in that order."""
    return Split(images[indices], labels[indices], indices)


def joined(first: Split, second: Split) -> Split:
    """Union of two splits, ordered by row number in the file."""
    order = np.argsort(np.concatenate([first.indices, second.indices]))
    return Split(
        np.concatenate([first.images, second.images])[order],
        np.concatenate([first.labels, second.labels])[order],
        np.sort(np.concatenate([first.indices, second.indices])),
    )


def whole(images: NDArray[Any], labels: NDArray[np.int64]) -> Split:
    """Split of all images."""
    return Split(images, labels, np.arange(len(labels)))


def divide(
    images: NDArray[Any],
    labels: NDArray[np.int64],
    split_seed: int,
    calibration_images: int,
    calibration_seed: int,
) -> tuple[Split, Split, Split]:
    """Divide the training images into train, validation and calibration splits.

    Validation gets 5,000 images, or a twelfth of a set of less than 60,000. Calibration images are drawn from the train
    split and stay a part of it.
    """
    order = np.random.default_rng(split_seed).permutation(len(labels))
    held_out = min(VALIDATION_IMAGES, len(labels) // 12)
    train = np.sort(order[held_out:])
    drawn = np.random.default_rng(calibration_seed).choice(train, min(calibration_images, len(train)), replace=False)
    return take(images, labels, train), take(images, labels, np.sort(order[:held_out])), take(images, labels, drawn)
