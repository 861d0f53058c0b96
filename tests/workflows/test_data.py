"""``data --sample``: a test digit as a picture, which a newcomer gives to ``predict``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnist_edge.data import Splits, fetch
from mnist_edge.errors import UsageError
from mnist_edge.workflows.data import DataOptions, data
from tests.conftest import Run, assert_two_lines


def test_a_sample_is_the_first_test_image_and_predict_reads_it(
    tmp_path: Path, mnist: Splits, cli: Callable[..., Run]
) -> None:
    run = cli("data", "--sample", "digit.png", "--json", cwd=tmp_path)
    assert run.code == 0, run.err
    assert run.json["sample"] == {
        "path": "digit.png", "label": int(mnist.test.labels[0]), "source": "test images",
    }  # fmt: skip
    assert np.array_equal(np.asarray(Image.open(tmp_path / "digit.png")), mnist.test.images[0, ..., 0])
    assert [item["cached"] for item in run.json["files"]] == [True] * 4
    again = cli("data", "--sample", "digit.png", cwd=tmp_path)
    assert again.code == 0, again.err
    assert again.out.rstrip().endswith("Next:\n  mnist-edge predict digit.png")
    answer = cli("predict", "digit.png", cwd=tmp_path, env={"MNIST_EDGE_DATA": ""})
    assert answer.out.startswith(f"digit.png: {mnist.test.labels[0]} (")


def test_a_sample_is_of_the_data_set_that_is_named(tmp_path: Path) -> None:
    images, labels = np.full((3, 8, 8), 7, np.uint8), np.array([2, 1, 0])
    np.savez(tmp_path / "own.npz", x_test=images, y_test=labels)
    result = data(DataOptions(sample=tmp_path / "own.png", data=tmp_path / "own.npz"))
    assert result.sample is not None
    assert result.sample.label == 2
    assert np.array_equal(np.asarray(Image.open(tmp_path / "own.png")), images[0])


def test_the_cached_files_of_all_data_sets_are_cleared_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names = ("mnist", "cifar10", "fashion-mnist", "kmnist", "native")
    for name in names:
        fetch.cache_folder(name).mkdir(parents=True)
        (fetch.cache_folder(name) / "file").write_bytes(b"")
    data(DataOptions(clear=True))
    assert [name for name in names if fetch.cache_folder(name).exists()] == ["native"]


def test_no_sample_is_taken_from_features(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", x_test=np.ones((2, 7), np.float32), y_test=np.array([0, 1]))
    with pytest.raises(UsageError, match="holds features, not images"):
        data(DataOptions(sample=tmp_path / "own.png", data=tmp_path / "own.npz"))
    assert not (tmp_path / "own.png").exists()


def test_without_cached_data_the_sample_is_a_labelled_image_of_the_wheel_and_nothing_is_downloaded(
    tmp_path: Path, mnist: Splits, cli: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "digit.png"
    offline = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "MNIST_EDGE_DATA": ""}
    for name, value in offline.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(fetch, "mnist", lambda *_: pytest.fail("a download was tried"))
    result = data(DataOptions(sample=path))
    assert result.sample is not None
    assert result.sample.source == "wheel"
    assert not any(file.cached for file in result.files)
    known = np.concatenate([mnist.train.images, mnist.validation.images])[..., 0]
    labels = np.concatenate([mnist.train.labels, mnist.validation.labels])
    (row,) = np.flatnonzero((known == np.asarray(Image.open(path))).all(axis=(1, 2)))
    assert result.sample.label == labels[row]
    run = cli("data", "--sample", "digit.png", cwd=tmp_path, env=offline)
    words = f"label {result.sample.label} from the self-test in the wheel, because MNIST is not in the cache"
    assert f"digit.png: an image of {words}\n" in run.out
    answer = cli("predict", "digit.png", cwd=tmp_path, env=offline)
    assert answer.out.startswith(f"digit.png: {result.sample.label} (")


def test_a_sample_replaces_one_of_the_wheel_after_the_data_were_fetched(tmp_path: Path, mnist: Splits) -> None:
    path = tmp_path / "digit.png"
    with pytest.MonkeyPatch.context() as offline:
        offline.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        offline.setenv("MNIST_EDGE_DATA", "")
        data(DataOptions(sample=path))
    data(DataOptions(sample=path, data=mnist))
    assert np.array_equal(np.asarray(Image.open(path)), mnist.test.images[0, ..., 0])


def test_a_sample_replaces_no_other_picture(tmp_path: Path, mnist: Splits) -> None:
    path = tmp_path / "mine.png"
    path.write_bytes(b"my own picture")
    with pytest.raises(UsageError, match="is another picture"):
        data(DataOptions(sample=path, data=mnist))
    assert path.read_bytes() == b"my own picture"


@pytest.mark.parametrize(("name", "remedy"), [("digit.jpg", "--sample digit.png"), ("no/digit.png", "mkdir -p no")])
def test_a_sample_that_cannot_be_written_is_a_usage_error(
    name: str, remedy: str, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    run = cli("data", "--sample", name, cwd=tmp_path)
    assert_two_lines(run, 2)
    assert remedy in run.err
