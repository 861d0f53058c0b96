"""Data sets as folders of pictures, as features, and by name."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnist_edge import data
from mnist_edge.data import fetch, idx, named
from mnist_edge.data.catalog import TEST_ROLES
from mnist_edge.errors import ContentError, MissingError, UsageError
from tests.conftest import unavailable


def write_picture(path: Path, value: int, shape: tuple[int, ...] = (6, 5, 3)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full(shape, value, np.uint8)
    if len(shape) == 3:
        pixels[..., 0] = 255 - value
    Image.fromarray(pixels).save(path)


def test_a_folder_of_colour_pictures_keeps_its_splits_classes_and_channels(tmp_path: Path) -> None:
    for part, count in (("train", 30), ("test", 4)):
        for label, name in enumerate(("cat", "dog")):
            for at in range(count):
                write_picture(tmp_path / part / name / f"{at:02}.png", 10 * label + at)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no picture")
    splits = data.load(tmp_path)
    assert splits.class_names == ("cat", "dog")
    assert splits.image_shape == (6, 5, 3)
    assert (splits.preprocessor, len(splits.test)) == ("resize", 8)
    assert len(splits.train) + len(splits.validation) == 60
    assert splits.test.labels.tolist() == [0] * 4 + [1] * 4
    assert splits.test.images[5, 0, 0].tolist() == [255 - 11, 11, 11]
    test, hashes = data.load_test(tmp_path)
    assert np.array_equal(test.images, splits.test.images)
    assert hashes["test_images"] == splits.sha256["test_images"]


def test_grey_pictures_have_one_channel_and_one_level_of_folders_is_split_by_a_fixed_seed(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        for at in range(12):
            write_picture(tmp_path / name / f"{at:02}.png", at, (4, 4))
    splits = data.load(tmp_path)
    assert splits.image_shape == (4, 4, 1)
    assert np.bincount(splits.test.labels).tolist() == [2, 2, 2]
    again = data.load(tmp_path, split_seed=7)
    assert np.array_equal(again.test.images, splits.test.images)
    values = {(label, image[0, 0, 0]) for part in (splits.train, splits.validation, splits.test)
              for label, image in zip(part.labels.tolist(), part.images, strict=True)}  # fmt: skip
    assert len(values) == 36


def test_the_parts_of_a_folder_have_one_shape_whichever_are_loaded(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for at in range(12):
            write_picture(tmp_path / "train" / name / f"{at:02}.png", at, (4, 5, 3))
        write_picture(tmp_path / "test" / name / "0.png", 7, (4, 5))
    turned = Image.new("RGB", (4, 5))
    turned.getexif()[274] = 6  # Orientation: upright, it has the size of the others
    turned.save(tmp_path / "train" / "b" / "turned.jpg", exif=turned.getexif())
    assert data.load(tmp_path).image_shape == (4, 5, 3)
    test, _ = data.load_test(tmp_path)
    assert test.images.shape == (2, 4, 5, 3)
    assert (test.images == 7).all()
    (tmp_path / "train" / "b" / "damaged.png").write_bytes(b"damaged")
    with pytest.raises(ContentError, match=r"damaged\.png is no picture"):
        data.load_test(tmp_path)


def test_pictures_of_different_sizes_need_a_stated_shape(tmp_path: Path) -> None:
    tmp_path = tmp_path / "my pictures"
    for at in range(12):
        write_picture(tmp_path / "a" / f"{at:02}.png", at, (4, 4, 3))
        write_picture(tmp_path / "b" / f"{at:02}.png", at, (8, 4, 3))
    with pytest.raises(UsageError, match="4 x 4 and 8 x 4") as caught:
        data.load(tmp_path)
    assert f"echo 32 32 3 > '{tmp_path / 'shape.txt'}'" in caught.value.remedy
    (tmp_path / "shape.txt").write_text("5 6 1\n")
    assert data.load(tmp_path).image_shape == (5, 6, 1)
    (tmp_path / "shape.txt").write_text("5 6 1\n", "utf-8-sig")
    assert data.load(tmp_path).image_shape == (5, 6, 1)
    for bad in ("5 6", "5 6 2", "0 6 1", "600 6 1", "a b c", "5 6 1".encode("utf-16")):
        (tmp_path / "shape.txt").write_bytes(bad if isinstance(bad, bytes) else bad.encode())
        with pytest.raises(ContentError, match="is no size of images"):
            data.load(tmp_path)


def test_damaged_pictures_and_classes_without_pictures_are_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for part in ("train", "test"):
            for at in range(3):
                write_picture(tmp_path / part / name / f"{at}.png", at)
    broken = tmp_path / "test" / "b" / "1.png"
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(ContentError, match=r"1\.png is no picture"):
        data.load(tmp_path)
    for path in (tmp_path / "test" / "b").iterdir():
        path.unlink()
    with pytest.raises(ContentError, match="no picture in test/b"):
        data.load(tmp_path)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8])
def test_arrays_that_are_no_pixels_are_features(tmp_path: Path, dtype: type[np.generic]) -> None:
    values = np.arange(26 * 7).reshape(26, 7).astype(dtype)
    labels = np.arange(26) % 2
    np.savez(tmp_path / "x.npz", x_train=values, y_train=labels, x_test=values[:5], y_test=labels[:5])
    splits = data.load(tmp_path / "x.npz")
    assert splits.image_shape == (7,)
    assert splits.preprocessor == "features"
    assert splits.test.images.dtype == (np.int8 if dtype is np.int8 else np.float32)
    values = values.astype(np.float32)
    values[0, 0] = np.nan
    np.savez(tmp_path / "x.npz", x_train=values, y_train=labels, x_test=values[:5], y_test=labels[:5])
    with pytest.raises(ContentError, match="not finite"):
        data.load(tmp_path / "x.npz")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address under which a local server offers it."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as opened:
        threading.Thread(target=opened.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{opened.server_port}/"
        opened.shutdown()


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, folder: Path, url: str) -> None:
    """Replace the mirrors and hashes of a data set by those of the files in a local server's folder."""
    hashes = {path.name: f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in folder.iterdir()}
    chosen = named.NamedSet(named.NAMES[name].class_names, hashes, ("http://127.0.0.1:9/", url))
    monkeypatch.setitem(named.NAMES, name, chosen)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder.parent / "cache"))


def test_kmnist_is_downloaded_once_and_verified(server: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, url = server
    images, labels = np.arange(24 * 4).reshape(24, 2, 2).astype(np.uint8), np.arange(24).astype(np.uint8) % 10
    for name, array in (("train", images), ("t10k", images[:10])):
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx.encode(array)))
        (folder / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx.encode(labels[: len(array)])))
    stand_in(monkeypatch, "kmnist", folder, url)
    splits = data.load(Path("kmnist"))
    assert splits.class_names[:3] == ("o", "ki", "su")
    assert splits.test.images[9, 1, 1, 0] == 39
    for path in folder.iterdir():
        path.unlink()
    assert len(data.load(Path("kmnist")).test) == 10
    (fetch.cache_folder("kmnist") / "t10k-labels-idx1-ubyte.gz").write_bytes(b"changed")
    with pytest.raises(MissingError, match="kmnist could not be downloaded"):
        data.load(Path("kmnist"))


def test_cifar10_is_read_from_its_binary_archive(server: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, url = server
    with tarfile.open(folder / named.CIFAR10_ARCHIVE, "w:gz") as archive:
        for name, first in (("data_batch_1", 0), ("data_batch_2", 12), ("test_batch", 24)):
            records = np.zeros((12, 3073), np.uint8)
            records[:, 0] = np.arange(first, first + 12) % 10
            records[:, 1:1025], records[:, 2049:] = 200, 7  # red, blue
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            member.size = records.nbytes
            archive.addfile(member, io.BytesIO(records.tobytes()))
    stand_in(monkeypatch, "cifar10", folder, url)
    splits = data.load(Path("cifar10"))
    assert splits.image_shape == (32, 32, 3)
    assert splits.test.images[3, 31, 31].tolist() == [200, 0, 7]
    assert splits.test.labels.tolist() == [4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5]
    assert splits.class_names[9] == "truck"
    test, hashes = data.load_test(Path("cifar10"))
    assert np.array_equal(test.images, splits.test.images)
    assert hashes == {role: splits.sha256[role] for role in TEST_ROLES}


def test_a_file_with_another_hash_is_refused(server: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, url = server
    (folder / named.CIFAR10_ARCHIVE).write_bytes(b"first")
    stand_in(monkeypatch, "cifar10", folder, url)
    (folder / named.CIFAR10_ARCHIVE).write_bytes(b"other")
    with pytest.raises(MissingError, match="cifar10 could not be downloaded") as caught:
        data.load(Path("cifar10"))
    assert "--data FOLDER" in caught.value.remedy


def test_fashion_mnist_is_debians_package_where_it_is_installed() -> None:
    if not Path("/usr/share/datasets/fashion-mnist").is_dir():
        unavailable("dataset-fashion-mnist")
    test, _ = data.load_test(Path("fashion-mnist"))
    assert test.images.shape == (10_000, 28, 28, 1)
