"""The data set of a command: named by a path, or already loaded by a Python program."""

from __future__ import annotations

import os
from pathlib import Path

from mnist_edge import data
from mnist_edge.data import Split, Splits, fetch
from mnist_edge.data.catalog import TEST_ROLES
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.data.load import ENVIRONMENT_VARIABLE
from mnist_edge.data.splits import CALIBRATION_IMAGES
from mnist_edge.errors import UsageError
from mnist_edge.formats.model_structure import FEATURES

# A folder of IDX files or an .npz file; None for MNIST (or what MNIST_EDGE_DATA names); or data already in memory.
DataSource = Path | Splits | None


def load_splits(
    source: DataSource,
    progress: Progress = no_progress,
    calibration_images: int = CALIBRATION_IMAGES,
    calibration_seed: int = 0,
    features: bool = False,
) -> Splits:
    """All splits of a data set. Calibration images are drawn only from data that are named by a path.

    Args:
        source: the data set. progress: called during downloads.
        calibration_images, calibration_seed: see `mnist_edge.data.load`.
        features: whether the data may be features, which are no pixels: models are trained and converted for images.

    Raises:
        UsageError: the data are features, and must not be.
        MnistEdgeError: what `mnist_edge.data.load` raises.
    """
    if isinstance(source, Splits):
        return source
    splits = data.load(
        source, calibration_images=calibration_images, calibration_seed=calibration_seed, progress=progress
    )
    if splits.preprocessor == FEATURES and not features:
        raise UsageError(
            f"The images in {source} are {splits.test.images.dtype} {splits.test.images.shape}, not uint8 pixels.",
            "Save pixels from 0 to 255: x_train = (255 * x_train).astype('uint8').",
        )
    return splits


def load_test(source: DataSource, progress: Progress = no_progress) -> tuple[Split, dict[str, str]]:
    """The test split of a data set and the SHA-256 of its two parts, by role (``test_images``, ``test_labels``).

    Raises:
        MnistEdgeError: what `mnist_edge.data.load_test` raises.
    """
    if isinstance(source, Splits):
        return source.test, source.sha256
    return data.load_test(source, progress)


def needs_download(source: DataSource) -> bool:
    """Whether `load_test` would have to download the test images: they are MNIST's and not in the cache."""
    named = source is not None or bool(os.environ.get(ENVIRONMENT_VARIABLE))
    return not named and len(fetch.cached(TEST_ROLES)) < len(TEST_ROLES)


def path_of(source: DataSource) -> Path | None:
    """The path that a suggested command repeats as ``--data``; None if there is none."""
    return source if isinstance(source, Path) else None
