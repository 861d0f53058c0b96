"""The test images in a bundle: they have the hash on the device that they have on the build machine."""

from __future__ import annotations

import importlib
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mnist_edge import data
from mnist_edge.data import idx
from mnist_edge.data.catalog import FILES, TEST_ROLES
from mnist_edge.workflows.bundle import BundleOptions

LABELS = np.array([1, 0, 1])
PIXELS = np.arange(3 * 4 * 5 * 3, dtype=np.uint8)


def packed_and_loaded(source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """The test images of a bundle of a data set, as a path, and the text of ``install.sh``."""
    bundle = importlib.import_module("mnist_edge.bundling.bundle")  # the package has a function of the same name
    monkeypatch.setattr(bundle, "own_wheel", lambda given, _: given)
    monkeypatch.setattr(bundle, "download", lambda *_: None)
    archive = folder / "bundle.tar.gz"
    importlib.import_module("mnist_edge.workflows.bundle").bundle(
        BundleOptions(target="bookworm-arm64", data=source, file=archive)
    )
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    root = folder / "mnist-edge-bookworm-arm64"
    return next(root.glob("data*")), (root / "install.sh").read_text()


@pytest.mark.parametrize(
    "images",
    [PIXELS.reshape(3, 4, 5, 3), PIXELS.reshape(3, 4, 15), np.linspace(-1, 1, 21, dtype=np.float32).reshape(3, 7)],
    ids=["colour", "grey", "features"],
)
def test_arrays_are_packed_unchanged(images: NDArray[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "own.npz", x_test=images, y_test=LABELS)
    expected, hashes = data.load_test(tmp_path / "own.npz")
    path, script = packed_and_loaded(tmp_path / "own.npz", tmp_path, monkeypatch)
    found, found_hashes = data.load_test(path)
    assert found_hashes == hashes
    assert found.images.dtype == images.dtype
    assert np.array_equal(found.images, expected.images)
    assert found.labels.tolist() == LABELS.tolist()
    assert path.name == "data.npz"
    assert "--data $PWD/data.npz" in script


def test_idx_files_are_packed_as_idx_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "own"
    source.mkdir()
    for role, array in zip(TEST_ROLES, (PIXELS.reshape(3, 4, 15), LABELS), strict=True):
        (source / FILES[role]).write_bytes(idx.encode(array))
    path, script = packed_and_loaded(source, tmp_path, monkeypatch)
    assert (path.name, path.is_dir()) == ("data", True)
    assert data.load_test(path)[1] == data.load_test(source)[1]
    assert '--data $PWD/data"' in script
