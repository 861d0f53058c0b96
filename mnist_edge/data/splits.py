"""How the images are divided, and the tutorial's three helpers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VALIDATION_IMAGES = 5_000
CALIBRATION_IMAGES = 512


def add_channel(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, h, w) to (n, h, w, 1); already so stays so."""
    return images[..., np.newaxis] if images.ndim == 3 else images


def scale_pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pixels 0 to 255 as float32 in [0, 1]."""
    return np.asarray(images, np.float32) / np.float32(255)


def one_hot(labels: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """Labels (n,) as float32 rows (n, classes) with a single one."""
    return np.eye(classes, dtype=np.float32)[labels]


def image_digests(images: NDArray[np.uint8]) -> list[str]:
    """The first 16 hex digits of every image's SHA-256: enough to tell later whether two sets share an image."""
    return [hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in np.ascontiguousarray(images)]


@dataclass(frozen=True)
class Split:
    """Images uint8 (n, h, w, 1), labels int64 (n,), and their row numbers in the file they come from."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Splits:
    """A data set, divided. ``calibration`` is a part of ``train``; the others share no row.

    ``sha256`` are the hashes of the four parts as they came, by role (``train_images`` and so on).
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
    def image_shape(self) -> tuple[int, int, int]:
        """(h, w, 1) of every image."""
        height, width, channels = self.test.images.shape[1:]
        return (height, width, channels)


def take(images: NDArray[np.uint8], labels: NDArray[np.int64], indices: NDArray[np.int64]) -> Split:
    """The rows of ``indices``, in that order."""
    return Split(images[indices], labels[indices], indices)


def joined(first: Split, second: Split) -> Split:
    """Both, in the order of their rows in the file."""
    order = np.argsort(np.concatenate([first.indices, second.indices]))
    return Split(
        np.concatenate([first.images, second.images])[order],
        np.concatenate([first.labels, second.labels])[order],
        np.sort(np.concatenate([first.indices, second.indices])),
    )


def whole(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Split:
    """All rows."""
    return Split(images, labels, np.arange(len(labels)))


def divide(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    split_seed: int,
    calibration_images: int,
    calibration_seed: int,
) -> tuple[Split, Split, Split]:
    """Train, validation and calibration from the training file.

    Validation is 5,000 rows (a twelfth of a smaller set); calibration is drawn from what is left to training.
    """
    order = np.random.default_rng(split_seed).permutation(len(labels))
    held_out = min(VALIDATION_IMAGES, len(labels) // 12)
    train = np.sort(order[held_out:])
    drawn = np.random.default_rng(calibration_seed).choice(train, min(calibration_images, len(train)), replace=False)
    return take(images, labels, train), take(images, labels, np.sort(order[:held_out])), take(images, labels, drawn)
