"""A classifier of colour pictures, in folders of two classes and with a single sigmoid, goes through every command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnist_edge import data, runtime
from mnist_edge.runtime.predict import predict_picture
from tests.conftest import Run

SHAPE = (12, 10, 3)  # not square


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of noisy pictures whose mean is reddish or bluish."""
    folder = tmp_path_factory.mktemp("colour") / "pictures"
    draw = np.random.default_rng(0)
    for part, count in (("train", 150), ("test", 40)):
        for name, tint in (("blue", (60, 60, 120)), ("red", (120, 60, 60))):
            (folder / part / name).mkdir(parents=True)
            for at in range(count):
                pixels = np.clip(draw.normal(tint, 40, SHAPE), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{at:03}.png")
    return folder


@pytest.fixture(scope="module")
def exported(pictures: Path, cli: Callable[..., Run]) -> Path:
    """The folder of a colour model with a single sigmoid, exported as TFLite, ONNX and C."""
    from mnist_edge.models.backend import import_keras

    keras = import_keras()
    layers = keras.layers
    keras.utils.set_random_seed(0)
    splits = data.load(pictures)
    assert splits.image_shape == SHAPE
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(4, 3, activation="relu", strides=2),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.05), "binary_crossentropy")
    model.fit(splits.train.images / np.float32(255), splits.train.labels, epochs=8, verbose=0)
    source, out = pictures.parent / "tint.keras", pictures.parent / "out"
    model.save(source)
    # Few images cannot prove a small loss, so the margins are wide.
    margins = ["--max-drop-pp", 12, "--min-agreement", 0.9, "--max-class-drop-pp", 25]
    names = [f"tint-{end}" for end in ("float32.onnx", "int8.onnx", "float32.tflite", "int8.tflite", "int8.c")]
    # A second export makes nothing again, and ``all`` has made the C.
    for format_, made, fresh in (("all", names, True), ("all", names, False), ("c", names[-1:], False)):
        run = cli("export", "--model", source, "--data", pictures, "--format", format_, "-o", out, *margins, "--json")
        assert run.code == 0, run.err
        artifacts = [(Path(item["path"]).name, item["fresh"]) for item in run.json["artifacts"]]
        assert artifacts == [(name, fresh) for name in made]
    return out / "tint"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tint-int8.tflite", "tint-float32.tflite", "tint-int8.onnx", "tint-int8.c"])
def test_every_file_answers_as_the_float_model(exported: Path, pictures: Path, name: str) -> None:
    session = runtime.open_session(exported / name)
    test, _ = data.load_test(pictures)
    answers = session.predict(test.images)
    assert session.image_shape == SHAPE
    assert (session.contract.output, session.classes) == ("sigmoid", 2)
    assert answers.sum(axis=1) == pytest.approx(1)
    assert (answers.argmax(axis=1) == test.labels).mean() > 0.9
    one = session.predict(test.images[:1])
    assert np.abs(one - answers[:1]).max() < 1e-6


@pytest.mark.slow
def test_a_larger_picture_is_resized_in_colour_and_its_class_is_named(exported: Path, tmp_path: Path) -> None:
    session = runtime.open_session(exported / "tint-int8.tflite")
    for name, tint in (("blue", (60, 60, 120)), ("red", (120, 60, 60))):
        Image.new("RGB", (64, 90), tint).save(tmp_path / f"{name}.png")
        (seen,) = predict_picture(session, str(tmp_path / f"{name}.png"))
        assert seen.prediction.name == name
        assert seen.pixels is not None
        assert seen.pixels.shape == SHAPE
        assert np.abs(seen.pixels.astype(int) - tint).max() <= 1


@pytest.mark.slow
def test_evaluate_counts_as_many_right_answers_as_the_verdict(
    exported: Path, pictures: Path, cli: Callable[..., Run]
) -> None:
    files = [exported / name for name in ("model.keras", "tint-int8.tflite", "tint-int8.c")]
    run = cli("evaluate", *files, "--data", pictures, "--json")
    assert run.code == 0, run.err
    assert min(item["accuracy"] for item in run.json["results"]) > 0.9


@pytest.mark.slow
def test_a_built_in_net_is_trained_on_colour_pictures(pictures: Path, tmp_path: Path, cli: Callable[..., Run]) -> None:
    options = ["--model", "dense", "--recipe", "tutorial", "--epochs", 2, "--data", pictures, "-o", tmp_path]
    run = cli("train", *options, "--json")
    assert run.code == 0, run.err
    run = cli("evaluate", tmp_path / "dense" / "model.keras", "--data", pictures, "--json")
    assert run.json["results"][0]["n"] == 80


@pytest.mark.slow
def test_a_model_of_other_pictures_is_refused_before_it_is_trained(
    exported: Path, slice_npz: Path, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    run = cli("train", "--model", exported / "model.keras", "--data", slice_npz, "-o", tmp_path)
    assert run.code == 4
    assert "The model takes (12, 10, 3) and answers 1 classes, the data are (28, 28, 1) with 10." in run.err
