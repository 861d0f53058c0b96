"""``data``: the cached MNIST files, and one test digit as a picture."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from mnist_edge.data import fetch
from mnist_edge.data.catalog import FILES, TEST_ROLES
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import UsageError
from mnist_edge.store.files import check_target, write_bytes
from mnist_edge.workflows.data_source import DataSource, load_test

SAMPLE_SUFFIX = ".png"


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """What ``data`` does besides showing the cache.

    Attributes:
        fetch: fetch the files that are not cached. test_only: fetch the test images and labels alone.
        clear: remove the cached files first.
        sample: a ``.png`` file to write the first test image to; None for none.
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
    """A picture of a test image, and its label."""

    path: str
    label: int


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
        UsageError: the sample's name does not end in ``.png``, or its file exists with another content.
    """
    if options.sample is not None:
        _check_sample(options.sample)
    if options.clear:
        fetch.clear_cache()
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
    """Write the first test image as a grey PNG of its own size. A picture that someone else made is not replaced."""
    from PIL import Image

    test, _ = load_test(source, progress)
    stream = io.BytesIO()
    Image.fromarray(test.images[0].squeeze(axis=-1)).save(stream, "PNG")
    content = stream.getvalue()
    if target.exists() and target.read_bytes() != content:
        raise UsageError(f"{target} exists, and is another picture.", "Name a file that does not exist yet.")
    write_bytes(target, content)
    return Sample(str(target), int(test.labels[0]))
