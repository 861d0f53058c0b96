"""Architectures of the zoo: exported files are as close to Keras as possible. All: ``python benchmarks/zoo.py``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.zoo import ZOO, examine

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "name",
    ["conv, flatten, softmax", "softmax inside", "attention", "Rescaling to -1 .. 1 first", "pixels of 20 to 200",
     "one sigmoid"],
)  # fmt: skip
def test_files_are_as_close_to_keras_as_those_of_the_plain_converters(name: str, tmp_path: Path) -> None:
    rows = examine(name, ("tflite", "onnx"), tmp_path)
    assert [row.refusal for row in rows] == ["", ""]
    for row in rows:
        assert row.sound, row
        # A defect once raised the calibration error of such a file from 0.9 to 8.1 %.
        assert abs(row.ece - row.ece_keras) < 0.005, row


@pytest.mark.parametrize("name", ["valid convolutions", "100 classes, 28 x 56"])
def test_generated_c_is_as_close_to_keras_as_the_plain_tflite_file(name: str, tmp_path: Path) -> None:
    (row,) = examine(name, ("c",), tmp_path)
    assert row.refusal == ""
    assert row.sound, row


@pytest.mark.parametrize("name", [name for name, specimen in ZOO.items() if specimen.refused])
def test_a_model_without_probabilities_of_classes_is_refused_with_a_remedy(name: str, tmp_path: Path) -> None:
    (row,) = examine(name, ("tflite",), tmp_path)
    assert ZOO[name].refused in row.refusal
    assert row.refusal.count(". ") >= 1  # a cause and a remedy
