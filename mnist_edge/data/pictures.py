"""Loading of a data set from a folder of pictures, with one folder for each class."""

from __future__ import annotations

import re
import shlex
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.data.fetch import Progress
from mnist_edge.errors import ContentError, UsageError
from mnist_edge.formats.model_structure import CHANNELS
from mnist_edge.store.files import read_bytes
from mnist_edge.vision.containers import inspect
from mnist_edge.vision.pictures import MAX_FILE_BYTES, SUFFIXES, prepare, read_picture

PARTS = ("train", "test")
# Without folders ``train`` and ``test``, this share of each class is drawn for the test split, by this seed.
TEST_SHARE, TEST_SEED = 1 / 6, 0
# Name of a file in the data set's folder: height, width and channels of the images, as in "32 32 3".
SHAPE_FILE = "shape.txt"
MAX_SIDE = 512
MAX_BYTES = 1 << 30

Arrays = dict[str, NDArray[Any]]


def is_picture_folder(folder: Path) -> bool:
    """Whether a folder has a folder for each class, directly or in ``train`` and ``test``."""
    return any((folder / part).is_dir() for part in PARTS) or bool(_classes_in(folder))


def load(folder: Path, roles: Sequence[str], progress: Progress) -> tuple[Arrays, tuple[str, ...]]:
    """Images and labels of a folder, and the names of the classes, which are the names of their folders, sorted.

    Pictures are read as ``predict`` reads them, and brought to one size as the preprocessor ``resize`` does. That size
    and the number of channels are those in ``shape.txt``, else those of the pictures of all parts: one channel if red,
    green and blue are equal in all of them.

    Args:
        folder: has ``train/CLASS/*.png`` and ``test/CLASS/*.png``, or ``CLASS/*.png``. roles: the parts to load, such
            as ``train_images``. progress: called with the number of pictures read.

    Returns:
        By role: images uint8 (n, h, w, c), and labels int64 (n,), in the order of the files' names.

    Raises:
        UsageError: the pictures have different sizes, and there is no ``shape.txt``.
        ContentError: a picture is damaged, a class has no picture, or the images take more than 1 GiB.
    """
    files = _divided(folder) if not (folder / "test").is_dir() else {part: _classes_in(folder / part) for part in PARTS}
    names = tuple(sorted({name for part in files.values() for name in part}))
    wanted = [part for part in PARTS if f"{part}_images" in roles]
    empty = [f"{part}/{name}" for part in wanted for name in names if not files[part].get(name)]
    if empty or len(names) < 2:
        what = f"no picture in {empty[0]}" if empty else f"{len(names)} class"
        raise ContentError(f"{folder} has {what}.", "Put the pictures of each class in a folder of its own.")
    paths = {part: [(path, at) for at, name in enumerate(names) for path in files[part][name]] for part in wanted}
    # All parts decide the shape, so that it is the same whichever of them are loaded.
    shape = _shape(folder, [path for part in files.values() for found in part.values() for path in found])
    total = sum(map(len, paths.values()))
    if total * np.prod(shape) > MAX_BYTES:
        raise ContentError(
            f"{total:,} images of the shape {shape} take more than 1 GiB.", f"Write less to {SHAPE_FILE}."
        )
    arrays: Arrays = {}
    done = 0
    for part, pairs in paths.items():
        images = np.empty((len(pairs), *shape), np.uint8)
        for row, (path, _) in enumerate(pairs):
            picture = read_picture(path, colour=shape[2] > 1)
            images[row] = prepare(picture, "resize", shape[: 2 if shape[2] == 1 else 3])[0].pixels.reshape(shape)
            done += 1
            if done % 50 == 0 or done == total:
                progress("reading pictures", done, total)
        arrays[f"{part}_images"] = images
        arrays[f"{part}_labels"] = np.array([label for _, label in pairs], np.int64)
    return arrays, names


def _classes_in(folder: Path) -> dict[str, list[Path]]:
    """Paths of the pictures of each class, sorted by name; only classes with a picture."""
    found = {item.name: _pictures(item) for item in folder.iterdir() if item.is_dir()} if folder.is_dir() else {}
    return {name: paths for name, paths in found.items() if paths}


def _pictures(folder: Path) -> list[Path]:
    return sorted(item for item in folder.iterdir() if item.suffix.lower() in SUFFIXES and item.is_file())


def _divided(folder: Path) -> dict[str, dict[str, list[Path]]]:
    """The classes of a folder without a test split, divided at random, by a fixed seed, into train and test."""
    draw = np.random.default_rng(TEST_SEED)
    parts: dict[str, dict[str, list[Path]]] = {part: {} for part in PARTS}
    source = folder / "train" if (folder / "train").is_dir() else folder
    for name, paths in sorted(_classes_in(source).items()):
        held_out = set(draw.permutation(len(paths))[: max(1, round(len(paths) * TEST_SHARE))].tolist())
        parts["test"][name] = [path for at, path in enumerate(paths) if at in held_out]
        parts["train"][name] = [path for at, path in enumerate(paths) if at not in held_out]
    return parts


def _shape(folder: Path, paths: Sequence[Path]) -> tuple[int, int, int]:
    """Height, width and channels of the data set's images."""
    stated = folder / SHAPE_FILE
    if stated.is_file():
        words = stated.read_text("utf-8-sig", errors="replace").split()
        sizes = [int(word) for word in words if re.fullmatch(r"\d{1,4}", word)]
        if (
            len(words) != 3
            or len(sizes) != 3
            or sizes[2] not in CHANNELS
            or not 1 <= min(sizes) <= max(sizes) <= MAX_SIDE
        ):
            raise ContentError(
                f"{stated} is no size of images.",
                f"Write height, width (1 to {MAX_SIDE}) and channels (1 or 3): 32 32 3",
            )
        return sizes[0], sizes[1], sizes[2]
    sizes_found: set[tuple[int, int]] = set()
    is_colour = False
    for path in paths:
        if is_colour:
            sizes_found.add(_size_in_header(path))
            continue
        pixels = np.asarray(read_picture(path, colour=True))
        sizes_found.add((pixels.shape[0], pixels.shape[1]))
        is_colour = bool((pixels != pixels[..., :1]).any())
    if len(sizes_found) > 1 or max(max(sizes_found)) > MAX_SIDE:
        example = " and ".join(f"{height} x {width}" for height, width in sorted(sizes_found)[:2])
        raise UsageError(
            f"The pictures in {folder} have {example} pixels (height x width).",
            f"State the size of the network's images: echo 32 32 3 > {shlex.quote(str(stated))}",
        )
    height, width = next(iter(sizes_found))
    return height, width, 3 if is_colour else 1


def _size_in_header(path: Path) -> tuple[int, int]:
    """Height and width of a picture, upright; it is not decoded."""
    try:
        container = inspect(read_bytes(path, MAX_FILE_BYTES))
    except (ValueError, LookupError, struct.error):  # damaged: read_picture raises the error that says so
        return read_picture(path).size[::-1]
    sideways = container.orientation > 4
    return (container.width, container.height) if sideways else (container.height, container.width)
