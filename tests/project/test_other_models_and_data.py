"""Other architectures and another data set are trained, exported, verified and used without any change of the code."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnist_edge import data, runtime
from mnist_edge.data.catalog import FILES
from tests.conftest import Run, unavailable

pytestmark = pytest.mark.slow

FASHION = Path("/usr/share/datasets/fashion-mnist")


def test_a_keras_file_with_strides_and_batch_norm_is_trained_exported_verified_and_used(
    tmp_path: Path, mnist: data.Splits, cli: Callable[..., Run]
) -> None:
    from mnist_edge.models.backend import import_keras

    keras = import_keras()
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(16, 3, strides=2, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(32, 3, strides=2, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    source = tmp_path / "strided.keras"
    model.save(source)
    assert cli("train", "--model", source, "--recipe", "tutorial", "--epochs", 2, "-o", tmp_path / "out").code == 0
    trained = tmp_path / "out" / "strided" / "model.keras"
    shutil.copy(trained, tmp_path / "mine.keras")
    run = cli("export", "--format", "all", "--model", tmp_path / "mine.keras", "-o", tmp_path / "out", "--json")
    assert run.code == 0, run.err
    assert {Path(item["path"]).name for item in run.json["artifacts"]} == {
        "mine-int8.tflite", "mine-float32.tflite", "mine-int8.onnx", "mine-float32.onnx", "mine-int8.c",
    }  # fmt: skip
    assert cli("verify", tmp_path / "out" / "mine").code == 0
    Image.fromarray(mnist.test.images[1, ..., 0]).save(tmp_path / "two.png")
    run = cli("predict", tmp_path / "two.png", "--model", tmp_path / "out" / "mine" / "mine-int8.onnx", "--json")
    assert run.json["predictions"][0]["label"] == 2


def test_a_model_with_logits_rescaling_and_no_channels_gives_probabilities_in_every_format(
    tmp_path: Path, slice_npz: Path, cli: Callable[..., Run]
) -> None:
    from mnist_edge.models.backend import import_keras

    keras = import_keras()
    layers = keras.layers
    model = keras.Sequential([keras.Input((28, 28)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(10)])
    model.save(tmp_path / "logits.keras")
    arguments = ["--model", tmp_path / "logits.keras", "-o", tmp_path / "out", "--data", slice_npz]
    assert cli("train", *arguments, "--recipe", "tutorial", "--epochs", 3).code == 0
    shutil.copy(tmp_path / "out" / "logits" / "model.keras", tmp_path / "logits.keras")
    run = cli("export", "--format", "all", *arguments, "--json", "--max-drop-pp", "2", "--min-agreement", "0.97")
    assert run.code == 0, run.out
    splits = data.load(slice_npz)
    for item in run.json["artifacts"]:
        session = runtime.open_session(Path(item["path"]))
        assert session.contract.output == "logits"
        assert session.predict(splits.test.images[:9]).sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_a_model_that_does_not_classify_images_of_the_data_is_refused(
    tmp_path: Path, slice_npz: Path, cli: Callable[..., Run]
) -> None:
    from mnist_edge.models.backend import import_keras

    keras = import_keras()
    keras.Sequential([keras.Input((7,)), keras.layers.Dense(3)]).save(tmp_path / "table.keras")
    run = cli("export", "--model", tmp_path / "table.keras", "-o", tmp_path / "out", "--data", slice_npz)
    assert run.code == 4
    keras.Sequential([keras.Input((9, 9, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]).save(
        tmp_path / "nine.keras"
    )
    run = cli("export", "--model", tmp_path / "nine.keras", "-o", tmp_path / "out", "--data", slice_npz)
    assert run.code == 4
    assert "--data" in run.err


def test_an_op_without_a_kernel_fails_the_gate_for_the_engine_that_lacks_it(
    tmp_path: Path, slice_npz: Path, cli: Callable[..., Run]
) -> None:
    from mnist_edge.models.backend import import_keras

    keras = import_keras()
    layers = keras.layers
    net = [
        keras.Input((28, 28, 1)),
        layers.Flatten(),
        layers.Dense(10),
        layers.Activation("softsign"),
        layers.Softmax(),
    ]
    keras.Sequential(net).save(tmp_path / "odd.keras")
    run = cli(
        "export", "--format", "tflite", "--model", tmp_path / "odd.keras", "-o", tmp_path / "out", "--data", slice_npz,
        "--json",
    )  # fmt: skip
    assert run.code == 1, run.err
    reports = [report for item in run.json["artifacts"] for report in item["parity"]]
    refused = [item for item in reports if item["rule"] == "refused"]
    assert [(Path(item["path"]).name, item["engine"]) for item in refused] == [("odd-int8.tflite", "tflite-runtime")]
    assert "DIV" in refused[0]["verdict"]


@pytest.fixture(scope="session")
def fashion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of Fashion-MNIST from Debian's package, which is unpacked into a temporary folder if not installed."""
    if FASHION.is_dir():
        return FASHION
    folder = tmp_path_factory.mktemp("fashion")
    try:
        subprocess.run(["apt-get", "download", "dataset-fashion-mnist"], cwd=folder, check=True, capture_output=True)
        subprocess.run(["dpkg", "-x", next(folder.glob("*.deb")), folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        unavailable("Debian's package dataset-fashion-mnist")
    return folder / FASHION.relative_to("/")


def test_the_cnn_is_trained_exported_and_used_on_fashion_mnist(
    tmp_path: Path, fashion: Path, cli: Callable[..., Run]
) -> None:
    common = ["--model", "cnn", "-o", tmp_path, "--data", fashion]
    assert (
        cli(
            "train", *common, "--recipe", "tutorial", "--epochs", 2, "--optimizer", "adam", "--learning-rate", 1e-3
        ).code
        == 0
    )
    # After two epochs the net is undecided about many shirts, so the margins are wider than the defaults.
    margins = ["--min-agreement", "0.98", "--max-class-drop-pp", "5", "--max-drop-pp", "0.5"]
    run = cli("export", "--format", "all", *common, *margins, "--json")
    assert run.code == 0, run.out
    assert cli("verify", tmp_path / "cnn", "--data", fashion, *margins).code == 0
    pixels = np.frombuffer(gzip.decompress((fashion / f"{FILES['test_images']}.gz").read_bytes()), np.uint8, offset=16)
    Image.fromarray(pixels[: 28 * 28].reshape(28, 28)).save(tmp_path / "boot.png")
    run = cli("predict", tmp_path / "boot.png", "-o", tmp_path, "--json")
    assert run.json["predictions"][0]["name"] == "Ankle boot"
    assert runtime.open_session(tmp_path / "cnn" / "cnn-int8.tflite").contract.preprocessor == "resize"
    # Without --data the images are MNIST's, which the file was not made for.
    assert cli("verify", tmp_path / "cnn").code == 2
