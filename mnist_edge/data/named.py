"""Data sets that ``--data`` takes by name. Each is found on this machine or downloaded, and verified by its hash.

Only Fashion-MNIST is a package of Debian; the others come from the sites of their authors.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.data import fetch, idx
from mnist_edge.data.catalog import FASHION_MNIST, FILES
from mnist_edge.data.fetch import Progress
from mnist_edge.errors import ContentError, MissingError
from mnist_edge.store.files import read_bytes
from mnist_edge.store.manifest import sha256_of


@dataclass(frozen=True)
class NamedSet:
    """A data set and its files.

    Attributes:
        class_names: in the order of the labels.
        hashes: ``algorithm:hexadecimal digits`` of each file as it is downloaded, by the file's name.
        mirrors: addresses of folders with these files, each with a slash at its end.
        folder: of a Debian package with these files.
        package: the name of that package.
    """

    class_names: tuple[str, ...]
    hashes: dict[str, str]
    mirrors: tuple[str, ...]
    folder: Path | None = None
    package: str = ""


CIFAR10_ARCHIVE = "cifar-10-binary.tar.gz"
CIFAR10_SHAPE = (32, 32, 3)
NAMES: dict[str, NamedSet] = {
    "fashion-mnist": NamedSet(
        FASHION_MNIST.class_names,
        {
            "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
        },
        ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        Path("/usr/share/datasets/fashion-mnist"),
        "dataset-fashion-mnist",
    ),
    "kmnist": NamedSet(
        ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        {
            "train-images-idx3-ubyte.gz": "md5:bdb82020997e1d708af4cf47b453dcf7",
            "train-labels-idx1-ubyte.gz": "md5:e144d726b3acfaa3e44228e80efcd344",
            "t10k-images-idx3-ubyte.gz": "md5:5c965bf0a639b31b8f53240b1b52f4d7",
            "t10k-labels-idx1-ubyte.gz": "md5:7320c461ea6c1c855c0b718fb2a4b134",
        },
        ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
    ),
    "cifar10": NamedSet(
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        {CIFAR10_ARCHIVE: "md5:c32a1d4ab5d03f1284b67883e8d87530"},
        ("https://www.cs.toronto.edu/~kriz/",),
    ),
}


def load(
    name: str, roles: Sequence[str], progress: Progress
) -> tuple[dict[str, NDArray[Any]], dict[str, str], tuple[str, ...]]:
    """Arrays and SHA-256 by role, and the class names, of a data set in `NAMES`.

    Args:
        name: a key of `NAMES`. roles: the parts to load. progress: called during downloads.

    Raises:
        MissingError: no source has the files.
        ContentError: a file is damaged.
    """
    chosen = NAMES[name]
    wanted = [CIFAR10_ARCHIVE] if name == "cifar10" else [f"{FILES[role]}.gz" for role in roles]
    contents = {file: read_bytes(_find(name, chosen, file, progress)) for file in wanted}
    if name == "cifar10":
        arrays = _cifar10(contents[CIFAR10_ARCHIVE], roles)
        hashes = {role: sha256_of(array.tobytes()) for role, array in arrays.items()}
        return arrays, hashes, chosen.class_names
    arrays, hashes = {}, {}
    for role in roles:
        content = idx.decompress(contents[f"{FILES[role]}.gz"], FILES[role])
        arrays[role] = idx.parse(content, FILES[role], 3 if role.endswith("images") else 1)
        hashes[role] = sha256_of(content)
    return arrays, hashes, chosen.class_names


def _find(name: str, chosen: NamedSet, file: str, progress: Progress) -> Path:
    """Path of a file of a data set: Debian's, or one in the cache, downloaded if need be.

    Raises:
        MissingError: it is not on this machine, and no mirror has it with the right hash.
    """
    if chosen.folder is not None and (chosen.folder / file).is_file():
        return chosen.folder / file
    failures = []
    for mirror in chosen.mirrors:
        try:
            return fetch.cached_download(f"{mirror}{file}", chosen.hashes[file], name, progress)
        except (OSError, ValueError) as error:
            failures.append(f"{mirror}: {type(error).__name__}")
    remedy = f"Copy {file} to {fetch.cache_folder(name)}, or put the data into a folder and name it with --data FOLDER."
    if chosen.package:
        remedy = f"On Debian: sudo apt install {chosen.package}. Elsewhere: " + remedy[0].lower() + remedy[1:]
    raise MissingError(f"{name} could not be downloaded. Tried: {'; '.join(failures)}.", remedy)


def _cifar10(content: bytes, roles: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Arrays of CIFAR-10's binary version: records of one label and the red, green and blue planes of an image.

    Only the parts that ``roles`` asks for are read.
    """
    height, width, channels = CIFAR10_SHAPE
    parts: dict[str, list[NDArray[np.uint8]]] = {role.partition("_")[0]: [] for role in roles}
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in sorted(archive.getmembers(), key=lambda item: item.name):
                part = {"data_batch": "train", "test_batch": "test"}.get(Path(member.name).name[:10])
                opened = archive.extractfile(member) if part in parts and member.isfile() else None
                if part is not None and opened is not None:
                    records = np.frombuffer(opened.read(), np.uint8)
                    parts[part].append(records.reshape(-1, 1 + height * width * channels))
        whole = {part: np.concatenate(found) for part, found in parts.items()}
    except (ValueError, tarfile.TarError, EOFError, OSError) as error:
        raise ContentError(f"{CIFAR10_ARCHIVE} is damaged.", "Delete it from the cache, and try again.") from error
    arrays: dict[str, NDArray[Any]] = {}
    for part, records in whole.items():
        planes = records[:, 1:].reshape(-1, channels, height, width)
        arrays[f"{part}_images"] = np.ascontiguousarray(np.moveaxis(planes, 1, -1))
        arrays[f"{part}_labels"] = records[:, 0].astype(np.int64)
    return {role: arrays[role] for role in roles}
