"""Committed figures of the shipped cnn, measured again on fewer pictures: within sampling error of the tables."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks import corruptions, pictures
from mnist_edge import data
from mnist_edge.runtime import open_session
from mnist_edge.runtime.predict import predict_picture
from mnist_edge.store.workspace import SHIPPED
from tests.conftest import ROOT
from tests.project.test_figures import CORRUPTION_COLUMNS, numbers, table

pytestmark = pytest.mark.slow
RESULTS = ROOT / "benchmarks" / "results"
CNN = SHIPPED / "cnn" / "cnn-int8.tflite"
# Probability that a test fails by chance, if the pictures were drawn again.
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


@pytest.mark.parametrize("split", ["test", "validation"])
def test_scenes_alone_are_written_for_the_reported_split_with_the_command_that_made_them(
    split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = json.dumps({kind: [1, 1, 0] for kind in pictures.scenes.KINDS})
    monkeypatch.setattr(
        subprocess, "run", lambda words, **_: subprocess.CompletedProcess(words, 0, stdout=counts.encode())
    )
    results = tmp_path / "pictures.md"
    results.write_text("# Pictures\n\n## Scenes\n\nearlier\n")
    monkeypatch.setattr(pictures, "RESULTS", results)
    words = ["--scenes-alone", "--scenes", "2", "--split", split]
    monkeypatch.setattr(sys, "argv", ["pictures.py", *words])
    pictures.main()
    if split == "validation":
        assert "earlier" in results.read_text()
        return
    assert results.read_text().startswith("# Pictures\n\n## Scenes\n\n`python benchmarks/pictures.py --scenes-alone ")
    assert "earlier" not in results.read_text()
    assert "--model cnn --scenes 2`: 2 photograph-like scenes" in results.read_text()


@pytest.mark.parametrize(("name", "n"), [("text", 200), ("a page of print", 30), ("a face", 50)])
def test_no_more_pictures_without_a_digit_are_answered_with_one_than_in_the_table(name: str, n: int) -> None:
    """The first of the very pictures that the table counts. Two more may go astray: fonts and engines have versions."""
    (row,) = (row for row in table(RESULTS / "pictures.md", ("no digit", "answered null")) if row["no digit"] == name)
    share, of = numbers(row["answered null"].replace("%", ""))
    session, draw = open_session(CNN), np.random.default_rng(0)
    answers = [predict_picture(session, "x", pictures.OTHERS[name](draw))[0].prediction.label for _ in range(n)]
    assert n - answers.count(None) <= round((100 - share) / 100 * of) + 2
