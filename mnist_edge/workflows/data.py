"""``data``: the cached MNIST files, and one test digit as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mnist_edge.data import fetch, named
from mnist_edge.data.catalog import FILES, MNIST, TEST_ROLES
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import UsageError
from mnist_edge.formats.float_answers import FloatAnswers
from mnist_edge.reports.page import png_bytes
from mnist_edge.store.files import check_target, write_bytes
from mnist_edge.store.manifest import REFERENCE_NAME, read_verified
from mnist_edge.store.workspace import DEFAULT_MODEL, SHIPPED
from mnist_edge.workflows.data_source import DataSource, load_test, needs_download

SAMPLE_SUFFIX = ".png"
# Class of the sample that is taken from the wheel: that of MNIST's first test image.
WHEEL_LABEL = 7


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """What ``data`` does besides showing the cache.

    Attributes:
        fetch: fetch the files that are not cached. test_only: fetch the test images and labels alone.
        clear: remove the cached files of all data sets first.
        sample: a ``.png`` file to write an image to, see `Sample`; None for none.
        data: the data set that the sample is taken from.
    """

    fetch: bool = False
    test_only: bool = False
    clear: bool = False
    sample: Path | None = None
    data: DataSource = None


@dataclass(frozen=True)
class CachedFile:
    """A file of MNIST. ``size_bytes`` is None if the file is not cached."""

    file: str
    cached: bool
    size_bytes: int | None


@dataclass(frozen=True)
class Sample:
    """A picture of an image of the data set, and its label.

    Attributes:
        path: of the PNG file. label: class of the image.
        source: ``test images``: it is the first of them. ``wheel``: it is in the golden set of the model in the wheel,
            because MNIST's test images are not in the cache; it is a validation image of MNIST.
    """

    path: str
    label: int
    source: Literal["test images", "wheel"]


@dataclass(frozen=True)
class DataResult:
    """The cache's folder and files after the command, and the sample that was written."""

    folder: str
    files: tuple[CachedFile, ...]
    sample: Sample | None


def data(options: DataOptions, progress: Progress = no_progress) -> DataResult:
    """Clear or fill the cache as asked, and write a sample.

    Raises:
        MissingError: files cannot be fetched.
        UsageError: the sample's name does not end in ``.png``, its file exists with another content, or the data set
            has features, which are no images.
    """
    if options.sample is not None:
        _check_sample(options.sample)
    if options.clear:
        fetch.clear_cache((MNIST.name, *named.NAMES))
    if options.fetch or options.test_only:
        fetch.mnist(TEST_ROLES if options.test_only else tuple(FILES), progress)
    sample = _write_sample(options.sample, options.data, progress) if options.sample is not None else None
    present = fetch.cached(tuple(FILES))
    files = tuple(
        CachedFile(name, role in present, present[role].stat().st_size if role in present else None)
        for role, name in FILES.items()
    )
    return DataResult(str(fetch.cache_folder()), files, sample)


def _check_sample(target: Path) -> None:
    if target.suffix.lower() != SAMPLE_SUFFIX:
        raise UsageError(f"{target} is no name of a PNG file.", "Name a file that ends in .png: --sample digit.png")
    check_target(target)


def _write_sample(target: Path, source: DataSource, progress: Progress) -> Sample:
    """Write an image as a PNG of its own size. A picture that someone else made is not replaced.

    Only for a picture nothing is downloaded: without a network, that fails only after a minute.
    """
    if needs_download(source):
        image, label = _image_in_wheel()
        origin: Literal["test images", "wheel"] = "wheel"
    else:
        test, _ = load_test(source, progress)
        if test.images.dtype != np.uint8:
            raise UsageError(
                "The data set holds features, not images.",
                "Name a data set of images with --data, or leave --data out for MNIST.",
            )
        image, label, origin = test.images[0], int(test.labels[0]), "test images"
    content = png_bytes(image)
    if target.exists() and target.read_bytes() not in (content, png_bytes(_image_in_wheel()[0])):
        raise UsageError(f"{target} exists, and is another picture.", "Name a file that does not exist yet.")
    write_bytes(target, content)
    return Sample(str(target), label, origin)


def _image_in_wheel() -> tuple[NDArray[np.uint8], int]:
    """An image of the golden set in the wheel, uint8 (h, w, 1), and its label.

    It is the image of the class `WHEEL_LABEL` of which the float model is most certain.
    """
    content, _ = read_verified(SHIPPED / DEFAULT_MODEL / REFERENCE_NAME)
    reference = FloatAnswers.from_bytes(content)
    row = int(reference.golden_probabilities[:, WHEEL_LABEL].argmax())
    return reference.golden_images[row], WHEEL_LABEL
