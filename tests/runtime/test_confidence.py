"""Confidence calibration: when a temperature is kept, that each file has its own, and how it changes answers."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from mnist_edge.data import Split
from mnist_edge.parity.changes import CALIBRATION_BINS, calibration_error
from mnist_edge.runtime.confidence import apply_temperature, choose_temperature, log_losses
from mnist_edge.store.manifest import KERAS_NAME, Manifest
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.workflows import judgement
from tests.conftest import ROOT, Run

Sample = tuple[NDArray[np.float32], NDArray[np.int64]]


def calibrated(seed: int, n: int = 2000) -> Sample:
    """Probabilities, and labels drawn from these probabilities."""
    numbers = np.random.default_rng(seed)
    probabilities = numbers.dirichlet(np.full(10, 0.1), n)
    labels = (probabilities.cumsum(axis=1) < numbers.random((n, 1))).sum(axis=1).clip(0, 9)
    return probabilities.astype(np.float32), labels.astype(np.int64)


def test_calibrated_probabilities_get_the_temperature_1() -> None:
    """With a one-sided test at 95 %, two of forty may get another one by chance."""
    found = [choose_temperature(*calibrated(seed)) for seed in range(40)]
    assert sum(temperature != 1.0 for temperature in found) <= 4


@pytest.mark.parametrize("sharpening", [0.67, 1.5])
def test_overconfident_and_underconfident_probabilities_get_the_inverse_temperature(sharpening: float) -> None:
    probabilities, labels = calibrated(0, 5000)
    found = choose_temperature(apply_temperature(probabilities, 1 / sharpening), labels)
    assert found == pytest.approx(sharpening, rel=0.1)


def test_a_temperature_that_helps_only_the_images_it_was_fitted_on_is_not_kept() -> None:
    """One half is as overconfident as the other is underconfident, so that the temperature of each harms the other."""
    probabilities, labels = calibrated(0, 4000)
    probabilities[::2] = apply_temperature(probabilities[::2], 1 / 2)
    probabilities[1::2] = apply_temperature(probabilities[1::2], 2)
    assert choose_temperature(probabilities, labels) == 1.0


@given(st.integers(0, 10**6), st.floats(0.5, 2), st.integers(100, 400))
@settings(max_examples=30, deadline=None)
def test_a_kept_temperature_never_raises_the_log_loss_of_the_validation_images(
    seed: int, sharpening: float, n: int
) -> None:
    probabilities, labels = calibrated(seed, n)
    sharpened = apply_temperature(probabilities, 1 / sharpening)
    found = choose_temperature(sharpened, labels)
    assert found is not None
    after = log_losses(apply_temperature(sharpened, found), labels).mean()
    assert after <= log_losses(apply_temperature(sharpened, 1.0), labels).mean() + 1e-12


def test_with_too_few_images_no_temperature_is_chosen() -> None:
    probabilities, labels = calibrated(0, 99)
    assert choose_temperature(apply_temperature(probabilities, 0.5), labels) is None


def test_each_format_of_one_model_gets_its_own_temperature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities, labels = calibrated(0, 5000)
    answers = {".tflite": apply_temperature(probabilities, 1 / 1.5), ".onnx": probabilities}
    manifest = Manifest(tmp_path)
    content: tuple[bytes, dict[str, Any]] = (b"", {"made_by": {"recipe": {}}})
    manifest.commit({KERAS_NAME: content, "net-int8.tflite": (b"1", {}), "net-int8.onnx": (b"2", {})})

    def opened(path: Path, *_: object) -> SimpleNamespace:
        return SimpleNamespace(predict=lambda images: answers[path.suffix])

    monkeypatch.setattr(judgement, "open_session", opened)
    images = np.zeros((len(labels), 28, 28, 1), np.uint8)
    splits = SimpleNamespace(validation=Split(images, labels, np.arange(len(labels))))
    for name in ("net-int8.tflite", "net-int8.onnx"):
        judgement.calibrate_confidence(tmp_path / name, splits, 1)  # type: ignore[arg-type]
    files = Manifest.load(tmp_path).files
    assert files["net-int8.tflite"]["temperature"] == pytest.approx(1.5, rel=0.1)
    assert files["net-int8.onnx"]["temperature"] == 1.0


def test_a_net_that_trained_on_the_validation_images_gets_no_temperature_from_them(tmp_path: Path) -> None:
    """Recipe ``best`` of an earlier version trained on them too, and the manifest records that as ``refit``."""
    manifest = Manifest(tmp_path)
    manifest.commit({KERAS_NAME: (b"", {"made_by": {"recipe": {"refit": True}}}), "net-int8.tflite": (b"1", {})})
    judgement.calibrate_confidence(tmp_path / "net-int8.tflite", SimpleNamespace(), 1)  # type: ignore[arg-type]
    assert "temperature" not in Manifest.load(tmp_path).files["net-int8.tflite"]


@pytest.mark.parametrize(("temperature", "is_calibrated"), [(1.0, True), (None, False)])
def test_a_file_with_the_temperature_1_is_calibrated_and_one_without_an_entry_is_not(
    temperature: float | None, is_calibrated: bool, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    shutil.copytree(SHIPPED / "dense", tmp_path / "dense")
    path = tmp_path / "dense" / "manifest.json"
    manifest = json.loads(path.read_text())
    entry = manifest["files"]["dense-int8.tflite"]
    entry.pop("temperature", None)
    if temperature is not None:
        entry["temperature"] = temperature
    path.write_text(json.dumps(manifest))
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "image.png")
    words = ("predict", tmp_path / "image.png", "--raw", "--model", tmp_path / "dense" / "dense-int8.tflite")
    assert cli(*words, "--json").json["calibrated"] is is_calibrated
    assert ("was not adjusted to how often such answers are right" in cli(*words).out) is not is_calibrated


@given(st.integers(0, 10**6), st.integers(1, 300), st.integers(2, 12))
@settings(max_examples=50, deadline=None)
def test_the_calibration_error_matches_its_definition(seed: int, n: int, classes: int) -> None:
    numbers = np.random.default_rng(seed)
    probabilities = numbers.dirichlet(np.full(classes, 0.3), n).astype(np.float32)
    labels = numbers.integers(0, classes, n)
    expected = 0.0
    for number in range(CALIBRATION_BINS):
        low, high = number / CALIBRATION_BINS, (number + 1) / CALIBRATION_BINS
        inside = [
            (float(max(row)), int(row.argmax()) == label)
            for row, label in zip(probabilities, labels, strict=True)
            if low <= float(max(row)) and (float(max(row)) < high or number == CALIBRATION_BINS - 1)
        ]
        if inside:
            confidence = sum(value for value, _ in inside) / len(inside)
            accuracy = sum(right for _, right in inside) / len(inside)
            expected += len(inside) / n * abs(confidence - accuracy)
    assert calibration_error(probabilities, labels) == pytest.approx(expected, abs=1e-9)


@pytest.fixture(scope="module")
def ship_models() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ship_models", ROOT / "tools" / "ship_models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("model", ["dense", "cnn"])
def test_a_model_card_matches_its_manifest(model: str, ship_models: ModuleType) -> None:
    assert (SHIPPED / model / "MODEL_CARD.md").read_text() == ship_models.card(model, Manifest.load(SHIPPED / model))
