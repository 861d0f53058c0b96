"""Loading of a data set from pictures, IDX files, an ``.npz`` file, the user's cache, or the network."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.data import fetch, idx, named, pictures, splits
from mnist_edge.data.catalog import BY_TEST_LABELS, FILES, TEST_ROLES, DatasetFacts
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import ContentError, MissingError, UsageError
from mnist_edge.formats import npz
from mnist_edge.formats.model_structure import CHANNELS, FEATURES
from mnist_edge.store.files import read_bytes
from mnist_edge.store.manifest import sha256_of

ENVIRONMENT_VARIABLE = "MNIST_EDGE_DATA"
NPZ_KEYS = {"train_images": "x_train", "train_labels": "y_train", "test_images": "x_test", "test_labels": "y_test"}
LABELS_FILE = "labels.txt"


def load(
    source: Path | None = None,
    *,
    split_seed: int = 0,
    calibration_images: int = splits.CALIBRATION_IMAGES,
    calibration_seed: int = 0,
    progress: Progress = no_progress,
) -> splits.Splits:
    """Load a data set and split it.

    Args:
        source: a folder of pictures, with a folder for each class (see `pictures.load`); a folder of IDX files (plain
            or gzip); an ``.npz`` file with x_train, y_train, x_test and y_test; or a name, see `named`. If None: the
            path in the environment variable ``MNIST_EDGE_DATA``; without one, MNIST from the user's cache, downloaded
            if need be.
        split_seed: seed of the choice of validation images.
        calibration_images: number of training images for activation calibration.
        calibration_seed: seed of their choice.
        progress: called during downloads.

    Raises:
        MissingError: no source has the data.
        ContentError: files that are damaged or do not belong together.
    """
    parts, hashes, names = _parts(source, tuple(FILES), progress)
    train_x, train_y = _pair(parts, "train")
    test_x, test_y = _pair(parts, "test")
    if train_x.shape[1:] != test_x.shape[1:]:
        raise ContentError(
            f"Training images are {train_x.shape[1:]}, test images {test_x.shape[1:]}.", "Use files of one data set."
        )
    facts = _facts(hashes, names, int(max(train_y.max(), test_y.max())) + 1)
    if train_x.dtype != np.uint8:
        facts = replace(facts, preprocessor=FEATURES)
    train, validation, calibration = splits.divide(train_x, train_y, split_seed, calibration_images, calibration_seed)
    return splits.Splits(
        facts.name, train, validation, calibration, splits.whole(test_x, test_y),
        facts.class_names, facts.preprocessor, hashes, split_seed, calibration_seed,
    )  # fmt: skip


def load_test(source: Path | None = None, progress: Progress = no_progress) -> tuple[splits.Split, dict[str, str]]:
    """Load the test images alone, which is all that a device needs.

    Returns:
        The split, and the SHA-256 of images and labels by role.

    Raises:
        MissingError: no source has the data.
        ContentError: files that are damaged or do not belong together.
    """
    parts, hashes, _ = _parts(source, TEST_ROLES, progress)
    return splits.whole(*_pair(parts, "test")), hashes


def _parts(
    source: Path | None, roles: tuple[str, ...], progress: Progress
) -> tuple[dict[str, NDArray[Any]], dict[str, str], tuple[str, ...] | None]:
    """Arrays and hashes by role, and the class names if the folder has a file of them."""
    if source is None and os.environ.get(ENVIRONMENT_VARIABLE):
        source = Path(os.environ[ENVIRONMENT_VARIABLE])
    if source is None:
        return *_from_idx(fetch.mnist(roles, progress)), None
    if str(source) in named.NAMES and not source.exists():
        return named.load(str(source), roles, progress)
    if source.is_dir() and not _holds_idx(source) and pictures.is_picture_folder(source):
        arrays, classes = pictures.load(source, roles, progress)
        return arrays, _hashes(arrays), classes
    if source.is_dir():
        labels = source / LABELS_FILE
        try:
            names = tuple(labels.read_text("utf-8").split("\n")) if labels.is_file() else None
        except UnicodeDecodeError as error:
            raise ContentError(f"{labels} is no text in UTF-8.", "Save it as UTF-8, with one name per line.") from error
        return *_from_idx(_find(source, roles)), tuple(filter(None, names)) if names else None
    if source.suffix == ".npz":
        return *_from_npz(source, roles), None
    raise UsageError(
        f"{source} is neither a folder nor an .npz file.",
        "Name a folder of pictures or of IDX files, or an .npz file, or one of: " + ", ".join(named.NAMES),
    )


def _candidates(folder: Path, role: str) -> list[Path]:
    return [folder / f"{FILES[role]}{ending}" for ending in ("", ".gz")]


def _holds_idx(folder: Path) -> bool:
    """Whether a folder has one of the IDX files, whatever else is in it."""
    return any(path.is_file() for role in FILES for path in _candidates(folder, role))


def _find(folder: Path, roles: tuple[str, ...]) -> dict[str, Path]:
    found = {}
    for role in roles:
        path = next((path for path in _candidates(folder, role) if path.is_file()), None)
        if path is None:
            raise MissingError(
                f"{folder} has no {FILES[role]} (or {FILES[role]}.gz).",
                "Put the data set's IDX files there, or leave --data out to fetch MNIST.",
            )
        found[role] = path
    return found


def _from_idx(paths: dict[str, Path]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    arrays, hashes = {}, {}
    for role, path in paths.items():
        content = idx.decompress(read_bytes(path), path.name)
        arrays[role] = idx.parse(content, path.name, 3 if role.endswith("images") else 1)
        hashes[role] = sha256_of(content)
    return arrays, hashes


def _from_npz(path: Path, roles: tuple[str, ...]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    arrays: dict[str, NDArray[Any]] = {}
    try:
        found = npz.arrays(read_bytes(path), (NPZ_KEYS[role] for role in roles))
        for role in roles:
            array = found[NPZ_KEYS[role]]
            arrays[role] = _as_inputs(array) if role.endswith("images") else _as_labels(array)
    except ValueError as error:
        raise ContentError(
            f"{path} is not a usable data set: {error}.", f"It must hold {', '.join(NPZ_KEYS.values())}."
        ) from error
    return arrays, _hashes(arrays)


def _hashes(arrays: dict[str, NDArray[Any]]) -> dict[str, str]:
    return {role: sha256_of(np.ascontiguousarray(array).tobytes()) for role, array in arrays.items()}


def _as_inputs(images: NDArray[Any]) -> NDArray[Any]:
    """Pixels, or features, which are float64 in many files."""
    if images.dtype in (np.uint8, np.int8, np.float32):
        return images
    if images.dtype == np.float64:
        return images.astype(np.float32)
    raise ValueError(f"images are {images.dtype}, not uint8 (pixels), int8 or float (features)")


def _as_labels(labels: NDArray[Any]) -> NDArray[np.int64]:
    if labels.dtype.kind in "iu":
        return labels.astype(np.int64)
    raise ValueError(f"labels are {labels.dtype}, not integers")


def _pair(parts: dict[str, NDArray[Any]], part: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    images, labels = splits.add_channel(parts[f"{part}_images"]), parts[f"{part}_labels"].astype(np.int64)
    if images.dtype == np.uint8 and (images.ndim != 4 or images.shape[-1] not in CHANNELS):
        raise ContentError(
            f"The {part} images have shape {images.shape}.", "They must be (n, h, w), (n, h, w, 1) or (n, h, w, 3)."
        )
    if not 2 <= images.ndim <= 4 or (images.dtype.kind == "f" and not np.isfinite(images).all()):
        raise ContentError(
            f"The {part} features have shape {images.shape}, or are not finite.",
            "They must be finite, (n, a) to (n, a, b, c).",
        )
    if labels.shape != (len(images),) or len(labels) == 0 or labels.min() < 0:
        raise ContentError(
            f"{len(images)} {part} images and labels of shape {labels.shape} do not fit together.",
            "Use files of one data set, with labels counted from 0.",
        )
    return images, labels


def _facts(hashes: dict[str, str], names: tuple[str, ...] | None, classes: int) -> DatasetFacts:
    """Facts about a data set: from the catalogue if it is known; class names from its own file take precedence."""
    known = BY_TEST_LABELS.get(hashes["test_labels"])
    if known is None:
        known = DatasetFacts("unnamed", tuple(map(str, range(classes))), "resize")
    if names is None:
        return known
    if len(names) != classes:
        raise ContentError(
            f"{LABELS_FILE} names {len(names)} classes, the labels count {classes}.", "Write one name per line."
        )
    return DatasetFacts(known.name, names, known.preprocessor)
