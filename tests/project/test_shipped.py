"""The models in the wheel: verified on the 10,000 test images, on each installed engine."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mnist_edge import data, parity
from mnist_edge.runtime import engine_names
from mnist_edge.runtime.exported import artifact_paths
from mnist_edge.store.manifest import Manifest
from mnist_edge.store.model_file import ModelFile
from mnist_edge.store.workspace import SHIPPED
from tests.conftest import Run

pytestmark = pytest.mark.slow
WHEEL_LIMIT = 2_000_000
# Smallest accuracy of a file in the wheel: a little below the figures on the model cards.
FLOOR = {"dense": 0.990, "cnn": 0.995}


@pytest.mark.parametrize("path", artifact_paths(SHIPPED), ids=lambda path: path.name)
def test_a_shipped_file_passes_and_has_the_accuracy_in_its_manifest(path: Path, mnist: data.Splits) -> None:
    entry = Manifest.load(path.parent).files[path.name]
    reports, _ = parity.verify(ModelFile.open(path), mnist.test, mnist.sha256["test_images"])
    assert {report.engine for report in reports} == set(engine_names(path.suffix))
    recorded = {report["engine"]: report for report in entry["verdict"]["results"]}
    for report in reports:
        assert report.passed, report.verdict
        assert report.verified_hash
        assert report.accuracy > FLOOR[path.parent.name]
        # On another processor, rounding may decide a tie the other way.
        assert report.accuracy == pytest.approx(recorded[report.engine]["accuracy"], abs=3e-4)


@pytest.mark.parametrize("model", ["dense", "cnn"])
def test_recipe_seed_versions_and_hashes_of_a_shipped_model_are_recorded(model: str) -> None:
    manifest = Manifest.load(SHIPPED / model)
    names = [path.name for path in artifact_paths(SHIPPED, model)]
    assert names == [f"{model}-int8.onnx", f"{model}-int8.tflite"]
    trained = manifest.files[f"{model}-int8.tflite"]["trained"]
    assert trained["made_by"]["recipe"]["name"] == "best"
    assert trained["made_by"]["seed"] == 0
    assert trained["made_by"]["versions"]["tensorflow"]
    card = (SHIPPED / model / "MODEL_CARD.md").read_text()
    assert all(manifest.files[name]["sha256"] in card for name in names)


def test_the_wheel_holds_the_models_and_stays_below_its_limit(wheel: Path) -> None:
    assert wheel.stat().st_size < WHEEL_LIMIT
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if name.endswith((".keras", ".h5"))]
    for model in ("dense", "cnn"):
        for name in (f"{model}-int8.tflite", f"{model}-int8.onnx", "manifest.json", "reference.npz", "MODEL_CARD.md"):
            assert f"mnist_edge/shipped/{model}/{name}" in names


def test_without_a_workspace_the_shipped_models_answer_but_verify_does_not_use_them(
    tmp_path: Path, mnist: data.Splits, cli: Callable[..., Run]
) -> None:
    from PIL import Image

    Image.fromarray(mnist.test.images[0, ..., 0]).save(tmp_path / "seven.png")
    for model in ("dense", "cnn"):
        run = cli("predict", "seven.png", "--model", model, "--json", cwd=tmp_path)
        assert run.code == 0, run.err
        assert run.json["predictions"][0]["label"] == 7
        assert run.json["model"] == str(SHIPPED / model / f"{model}-int8.tflite")
        assert run.json["verified"]
    run = cli("verify", "--shipped", "--selftest", "--json", cwd=tmp_path)
    assert run.code == 0, run.err
    assert len(run.json["selftests"]) == 4
    assert cli("verify", cwd=tmp_path).code == 2, "verify must not use other files than those of the workspace"
