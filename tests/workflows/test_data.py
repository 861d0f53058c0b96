"""``data --sample``: a test digit as a picture, which a newcomer gives to ``predict``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnist_edge.data import Splits
from mnist_edge.errors import UsageError
from mnist_edge.workflows.data import DataOptions, data
from tests.conftest import Run, assert_two_lines


def test_a_sample_is_the_first_test_image_and_predict_reads_it(
    tmp_path: Path, mnist: Splits, cli: Callable[..., Run]
) -> None:
    run = cli("data", "--sample", "digit.png", "--json", cwd=tmp_path)
    assert run.code == 0, run.err
    assert run.json["sample"] == {"path": "digit.png", "label": int(mnist.test.labels[0])}
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
