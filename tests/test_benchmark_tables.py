"""Committed figures of the shipped cnn, measured again on fewer pictures: within sampling error of the tables."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks import corruptions, pictures
from mnist_edge import data
from mnist_edge.runtime import open_session
from mnist_edge.runtime.predict import predict_picture
from mnist_edge.workspace import SHIPPED
from tests.conftest import ROOT
from tests.test_figures import CORRUPTION_COLUMNS, numbers, table

pytestmark = pytest.mark.slow
RESULTS = ROOT / "benchmarks" / "results"
CNN = SHIPPED / "cnn" / "cnn-int8.tflite"
# A test fails by chance with this probability, were the pictures drawn anew.
CHANCE = 1e-4


def range_of(share: float, n: int) -> tuple[int, int]:
    """Fewest and most of n pictures that a share of all pictures allows."""
    return int(binom.ppf(CHANCE / 2, n, share)), int(binom.ppf(1 - CHANCE / 2, n, share))


@pytest.mark.parametrize("name", ["brightness", "stripe", "translate"])
def test_accuracy_on_corrupted_images_is_that_of_the_table(name: str, mnist: data.Splits) -> None:
    row = next(
        row for row in table(RESULTS / "training.md", CORRUPTION_COLUMNS) if row["corruption"].replace(" ", "_") == name
    )
    images = corruptions.corrupted(mnist.test.images[:1000], name)
    right = int((open_session(CNN).predict(images).argmax(axis=1) == mnist.test.labels[:1000]).sum())
    low, high = range_of(float(row["cnn best, seed 0"]) / 100, 1000)
    assert low <= right <= high


@pytest.mark.parametrize(("name", "n"), [("text", 200), ("a page of print", 30), ("a face", 50)])
def test_no_more_pictures_without_a_digit_are_answered_with_one_than_in_the_table(name: str, n: int) -> None:
    """The first of the very pictures that the table counts. Two more may go astray: fonts and engines have versions."""
    (row,) = (row for row in table(RESULTS / "pictures.md", ("no digit", "answered null")) if row["no digit"] == name)
    share, of = numbers(row["answered null"].replace("%", ""))
    session, draw = open_session(CNN), np.random.default_rng(0)
    answers = [predict_picture(session, "x", pictures.OTHERS[name](draw))[0].prediction.label for _ in range(n)]
    assert n - answers.count(None) <= round((100 - share) / 100 * of) + 2
