"""A given int8 TFLite file whose input is no picture is evaluated, verified, measured and described."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnist_edge import runtime
from mnist_edge.errors import ImageShapeError, UsageError
from mnist_edge.training.source import open_float
from tests.conftest import Run, assert_two_lines

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``net.tflite`` (int8 in and out), its float model ``net.keras`` and that model's ``answers.npz``.

    Features are in ``data.npz``, float32.
    """
    from mnist_edge.models.backend import import_keras, import_tensorflow

    keras, tf = import_keras(), import_tensorflow()
    folder = tmp_path_factory.mktemp("features")
    keras.utils.set_random_seed(0)
    draw = np.random.default_rng(0)
    values = draw.standard_normal((800, 7, 5, 2)).astype(np.float32)
    labels = (values[..., 0, 0].sum(axis=1) > 0).astype(np.int64)
    model = keras.Sequential(
        [keras.Input((7, 5, 2)), keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")]
    )
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    model.fit(values[:400], labels[:400], epochs=10, verbose=0)

    def samples() -> Iterator[list[np.ndarray]]:
        for row in values[:100]:
            yield [row[np.newaxis]]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow warns of statistics that this kind of conversion does not use
        content = converter.convert()
    (folder / "net.tflite").write_bytes(content)
    model.save(folder / "net.keras")
    np.savez(folder / "data.npz", x_train=values[:400], y_train=labels[:400], x_test=values[400:], y_test=labels[400:])
    np.savez(folder / "answers.npz", probabilities=model.predict_on_batch(values[400:]))
    return folder


def test_real_values_and_the_files_own_integers_give_the_same_answers(files: Path) -> None:
    session = runtime.open_session(files / "net.tflite")
    values = np.load(files / "data.npz")["x_test"]
    answers = session.predict(values)
    assert np.abs(answers - np.load(files / "answers.npz")["probabilities"]).max() < 0.1
    from ai_edge_litert.interpreter import Interpreter

    scale, zero_point = Interpreter(str(files / "net.tflite")).get_input_details()[0]["quantization"]
    integers = np.clip(np.rint(values / scale) + zero_point, -128, 127).astype(np.int8)
    assert np.array_equal(session.predict(integers), answers)
    with pytest.raises(ImageShapeError, match="float64"):
        session.predict(values.astype(np.float64))


def test_every_command_takes_the_file_with_its_features(files: Path, cli: Callable[..., Run]) -> None:
    net, arrays = files / "net.tflite", files / "data.npz"
    page = files / "evaluation.html"
    run = cli("evaluate", net, "--data", arrays, "--report", page, "--json")
    assert run.code == 0, run.err
    assert run.json["results"][0]["accuracy"] > 0.8
    assert "<img" not in page.read_text()
    margins = ["--max-drop-pp", 8, "--max-class-drop-pp", 20, "--max-brier-increase", 0.05]
    run = cli("verify", net, "--data", arrays, "--reference", files / "answers.npz", *margins, "--json")
    assert run.code == 0, run.err
    run = cli("info", net)
    assert "x 7 x 5 x 2" in run.out
    run = cli("bench", net, "--seconds", 0.2, "--count", 20, "--json")
    assert run.code == 0, run.err


def test_pictures_are_refused_with_the_command_that_works(files: Path, tmp_path: Path, cli: Callable[..., Run]) -> None:
    Image.new("L", (5, 7)).save(tmp_path / "picture.png")
    run = cli("predict", tmp_path / "picture.png", "--model", files / "net.tflite")
    assert_two_lines(run, 2)
    assert "takes features of the shape (7, 5, 2), no pictures" in run.err
    assert f"mnist-edge evaluate {files / 'net.tflite'} --data FILE.npz" in run.err


def test_a_float_model_gets_the_real_values_of_its_features(files: Path, cli: Callable[..., Run]) -> None:
    model, arrays = files / "net.keras", files / "data.npz"
    run = cli("evaluate", model, "--data", arrays, "--json")
    assert run.code == 0, run.err
    labels = np.load(arrays)["y_test"]
    right = np.load(files / "answers.npz")["probabilities"].argmax(axis=1) == labels
    assert run.json["results"][0]["correct"] == right.sum()
    by_answers, by_model = (
        cli("verify", files / "net.tflite", "--data", arrays, "--reference", reference, "--json").json["results"][0]
        for reference in (files / "answers.npz", model)
    )
    assert by_model["reference_accuracy"] == by_answers["reference_accuracy"]
    assert by_model["flips"] == by_answers["flips"]


def test_export_refuses_features_with_the_way_to_pixels(files: Path, tmp_path: Path, cli: Callable[..., Run]) -> None:
    run = cli("export", "--model", files / "net.keras", "--data", files / "data.npz", "-o", tmp_path)
    assert_two_lines(run, 2)
    assert "are float32 (400, 7, 5, 2), not uint8 pixels" in run.err


def test_integers_of_a_quantized_file_are_no_input_of_a_float_model(files: Path) -> None:
    with pytest.raises(UsageError, match="takes real values"):
        open_float(files / "net.keras", np.zeros((2, 7, 5, 2), np.int8))


def test_logits_are_no_float_answers(files: Path, tmp_path: Path, cli: Callable[..., Run]) -> None:
    probabilities = np.load(files / "answers.npz")["probabilities"]
    np.savez(tmp_path / "logits.npz", probabilities=np.log(probabilities + 1e-6))
    run = cli("verify", files / "net.tflite", "--data", files / "data.npz", "--reference", tmp_path / "logits.npz")
    assert_two_lines(run, 4)
    assert "are no probabilities" in run.err
