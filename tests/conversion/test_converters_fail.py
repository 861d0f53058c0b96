"""Errors of conversions: models that are refused, converters that fail or crash, and the names of layers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnist_edge import conversion, data, models
from mnist_edge.cli import main
from mnist_edge.conversion import ConversionRequest, c, isolation, onnx, tflite
from mnist_edge.errors import StageError
from mnist_edge.formats import Contract
from mnist_edge.formats import onnx as onnx_format
from mnist_edge.formats import tflite as tflite_format
from mnist_edge.models.backend import import_keras
from mnist_edge.results.precision import Precision
from mnist_edge.toolchains import host_cc
from mnist_edge.workflows import export, verify
from tests.conftest import Run, assert_two_lines

pytestmark = pytest.mark.slow


def _chain(*layers: Any, shape: tuple[int | None, ...] = (28, 28, 1)) -> Any:
    keras = import_keras()
    return keras.Sequential([keras.Input(shape), *layers])


def _head() -> list[Any]:
    layers = import_keras().layers
    return [layers.Flatten(), layers.Dense(10, activation="softmax")]


def _recurrent(kind: str) -> Any:
    layers = import_keras().layers
    recurrent = getattr(layers, kind)(8, name="remember")
    return _chain(layers.Reshape((28, 28)), recurrent, layers.Dense(10, activation="softmax"))


def _custom_layer() -> Any:
    keras = import_keras()

    class Twice(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def call(self, inputs: Any) -> Any:
            return inputs * 2

    return _chain(Twice(), *_head())


def _two_inputs() -> Any:
    keras = import_keras()
    first, second = keras.Input((28, 28, 1)), keras.Input((28, 28, 1))
    flat, dense = _head()
    return keras.Model([first, second], dense(flat(keras.layers.Add()([first, second]))))


def _two_outputs() -> Any:
    keras = import_keras()
    image = keras.Input((28, 28, 1))
    flat, dense = _head()
    return keras.Model(image, [dense(flat(image)), keras.layers.Dense(10)(flat(image))])


def _any_size() -> Any:
    layers = import_keras().layers
    pooled = [layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(10, activation="softmax")]
    return _chain(*pooled, shape=(None, None, 1))


def _strings() -> Any:
    keras = import_keras()
    words = keras.Input((28, 28, 1), dtype="string")
    flat, dense = _head()
    return keras.Model(words, dense(flat(keras.layers.Hashing(10)(words))))


# For each kind of model: a function that makes it, the exit code, and a part of the cause.
REFUSED: dict[str, tuple[Callable[[], Any], int, str]] = {
    "GRU": (lambda: _recurrent("GRU"), 5, "layer remember loops"),
    "LSTM": (lambda: _recurrent("LSTM"), 5, "layer remember loops"),
    "custom layer": (_custom_layer, 4, "needs Twice"),
    "Lambda": (lambda: _chain(import_keras().layers.Lambda(lambda x: x * 2), *_head()), 4, "Lambda layer"),
    "two inputs": (_two_inputs, 4, "no image classifier"),
    "two outputs": (_two_outputs, 4, "no image classifier"),
    "RGB, data are grey": (lambda: _chain(*_head(), shape=(28, 28, 3)), 4, "takes (28, 28, 3) and answers 10 classes"),
    "dynamic shape": (_any_size, 4, "no image classifier"),
    "string input": (_strings, 4, "takes strings"),
    "empty model": (lambda: import_keras().Sequential(), 4, "has no layers"),
}


@pytest.fixture
def run_here(capfd: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    """Run ``mnist-edge ARGUMENTS`` in this process, which has already imported TensorFlow."""

    def run(*arguments: object) -> Run:
        capfd.readouterr()
        code = main(list(map(str, arguments)))
        return Run(code, *capfd.readouterr())

    return run


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
def test_a_model_that_cannot_be_converted_is_an_error_with_a_remedy(
    name: str, tmp_path: Path, slice_npz: Path, cli: Callable[..., Run], run_here: Callable[..., Run]
) -> None:
    build, code, cause = REFUSED[name]
    build().save(tmp_path / "net.keras")
    command = cli if code == 5 else run_here  # TFLite's converter crashes on recurrent layers if it gets them
    run = command("export", "--model", tmp_path / "net.keras", "-o", tmp_path / "out", "--data", slice_npz, "--json")
    assert_two_lines(run, code)
    assert cause in run.json["error"]["message"], run.json
    assert run.json["error"]["message"] in run.err
    assert not list(tmp_path.glob("out/net/*.tflite")) + list(tmp_path.glob("out/net/*.onnx"))


def full_disk() -> str:
    raise StageError("The disk is full.", "Make room.")


def test_formats_succeed_or_fail_one_by_one(
    tmp_path: Path, slice_npz: Path, run_here: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """tf2onnx writes an op for GELU that ONNX does not have."""
    layers = import_keras().layers
    gelu = layers.Activation("gelu", name="curve")
    _chain(layers.Conv2D(4, 3, strides=2), gelu, *_head()).save(tmp_path / "net.keras")
    margins = ["--max-drop-pp", "50", "--min-agreement", "0.5", "--max-class-drop-pp", "100"]
    margins += ["--max-probability-distance", "1"]
    monkeypatch.chdir(tmp_path)  # short paths, since the table wraps long ones
    command = ["export", "--model", "net.keras", "-o", "out", "--data", slice_npz, *margins]
    run = run_here(*command)
    assert_two_lines(Run(run.code, run.out, "\n".join(run.err.splitlines()[-2:])), 5)
    assert "Replace the layer curve, or choose another --format" in run.err
    rows = {Path(line.split()[0]).name: line for line in run.out.splitlines() if line.startswith("out/")}
    assert "FAILED" in rows["net-float32.onnx"]
    assert "FAILED" not in rows["net-int8.tflite"]
    (reason,) = [line for line in run.err.splitlines() if line.startswith("Without net-int8.c: ")]
    assert "GELU" in reason
    folder = tmp_path / "out" / "net"
    log = (folder / "export.log").read_text()
    assert "Traceback" in log
    assert "INVALID_GRAPH" in log

    monkeypatch.setattr(host_cc, "COMPILER", "no-compiler")
    whole = run_here(*command, "--json").json
    left_out = {"path": "out/net/net-int8.c", "format": "c", "reason": "There is no C compiler here."}
    assert whole["left_out"] == [{**left_out, "remedy": "Install one: sudo apt install gcc libc6-dev"}]
    assert [Path(item["path"]).name for item in whole["artifacts"]] == ["net-float32.tflite", "net-int8.tflite"]
    assert all(report["passed"] for item in whole["artifacts"] for report in item["parity"])
    (failure,) = whole["failures"]
    assert (failure["format"], failure["code"]) == ("onnx", 5)
    assert failure["message"] == whole["error"]["message"]
    assert failure["message"].endswith(" …")
    assert ".layer" not in failure["message"]
    entries = json.loads((folder / "manifest.json").read_text())["files"]
    made = {path.name for path in folder.iterdir()} - {"manifest.json", "export.log"}
    assert made == set(entries)
    assert not [name for name in made if "onnx" in name]

    # Without the format that fails, C that is left out is an error only if its size is to be judged.
    monkeypatch.delitem(conversion.CONVERTERS, "onnx")
    unmeasured = run_here(*command, "--max-flash", 10**6)
    assert unmeasured.code == 3
    last = unmeasured.err.splitlines()[-2:]
    assert last == ["mnist-edge: There is no C compiler here.", "  remedy: Install one: sudo apt install gcc libc6-dev"]
    assert "Without net-int8.c: There is no C compiler here. Install one: sudo apt install gcc" in unmeasured.err
    # What is neither an op without a kernel nor missing here is a failure of the format.
    monkeypatch.setattr(host_cc, "find", full_disk)
    full = run_here(*command, "--json")
    assert (full.code, full.json["left_out"]) == (5, [])
    assert [(item["format"], item["message"]) for item in full.json["failures"]] == [("c", "The disk is full.")]


def test_an_op_that_stays_float_is_traced_to_its_layer(
    tmp_path: Path, slice_npz: Path, run_here: Callable[..., Run]
) -> None:
    layers = import_keras().layers
    _chain(layers.Conv2D(4, 3, strides=2), layers.ELU(name="bend"), *_head()).save(tmp_path / "net.keras")
    common = ["--model", tmp_path / "net.keras", "-o", tmp_path / "out", "--data", slice_npz, "--json"]
    run = run_here("export", "--format", "tflite", *common)
    assert run.code == 5
    assert "its layer bend needs the op ELU, which stays float" in run.json["error"]["message"]
    assert [Path(item["path"]).name for item in run.json["artifacts"]] == ["net-float32.tflite"]


def test_output_of_native_libraries_during_an_export_goes_to_its_log(
    tmp_path: Path, slice_npz: Path, run_here: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime raises errors and prints them to standard error, too."""

    def chatter(where: str) -> Callable[..., Any]:
        def print_and_fail(*_: object) -> None:
            os.write(2, f"[E:onnxruntime:, {where}] Attempting to broadcast\n".encode())
            raise StageError("An engine failed.", "Nothing.")

        return print_and_fail

    monkeypatch.setattr(verify, "_layers", chatter("layers"))
    monkeypatch.setattr(export, "calibrate_confidence", chatter("confidence"))
    _chain(*_head()).save(tmp_path / "net.keras")
    command = ["export", "--model", tmp_path / "net.keras", "-o", tmp_path / "out", "--data", slice_npz]
    run = run_here(*command, "--format", "onnx", "--json")
    assert run.json["error"]["message"] == "An engine failed."
    monkeypatch.undo()
    monkeypatch.setattr(verify, "_layers", chatter("layers"))
    second = run_here(*command, "--format", "tflite")
    assert second.code in (0, 1), second.err
    assert "Attempting" not in run.out + run.err + second.out + second.err
    log = (tmp_path / "out" / "net" / "export.log").read_text()
    assert "layers] Attempting to broadcast" in log


def test_an_onnx_file_depends_on_the_model_alone(tmp_path: Path, mnist: data.Splits) -> None:
    """The order of parallel branches and the names of merged nodes differ between two runs of tf2onnx."""
    keras = import_keras()
    layers = keras.layers
    image = keras.Input((28, 28, 1))
    tokens = layers.Reshape((49, 16))(layers.Conv2D(16, 4, strides=4)(image))
    query, key, value = (layers.Dense(16)(tokens) for _ in range(3))
    weights = layers.Softmax()(layers.Dot(axes=(2, 2))([query, key]))
    flat, dense = _head()
    model = keras.Model(image, dense(flat(layers.Add()([tokens, layers.Dot(axes=(2, 1))([weights, value])]))))
    request = _request(mnist.calibration.images[:20], tmp_path, Precision.FLOAT32)
    assert len({isolation.attempt("onnx", onnx.convert, model, request) for _ in range(5)}) == 1


# For each way to end: the code that takes the converter's place, the timeout in s, and a part of the cause.
ENDINGS = {
    "a crash": ("os.write(2, b'no kernel for this op\\n'); os.abort()", 600, "SIGABRT; its last output: no kernel for"),
    "an endless loop": ("import time; time.sleep(600)", 1, "no result in 1 s"),
    "an exit": ("os._exit(3)", 600, "exit 3"),
    "an exit with code 0": ("os._exit(0)", 600, "exit 0"),
}


@pytest.mark.parametrize("how", ENDINGS)
def test_a_converter_that_crashes_hangs_or_exits_is_an_error_with_its_last_output(
    how: str, tmp_path: Path, slice_npz: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    code, seconds, cause = ENDINGS[how]
    patch = f"""
from dataclasses import replace
from mnist_edge.conversion.registry import CONVERTERS
def end(*_):
    {code}
CONVERTERS["tflite"] = replace(CONVERTERS["tflite"], convert=end)
"""
    monkeypatch.setattr(isolation, "_CHILD", f"import os\n{patch}{isolation._CHILD}")
    monkeypatch.setattr(isolation, "TIMEOUT_S", seconds)
    _chain(import_keras().layers.GaussianNoise(0.1), *_head()).save(tmp_path / "net.keras")
    result = export.export(
        export.ExportOptions(
            model=str(tmp_path / "net.keras"), workspace=tmp_path / "out", formats=("tflite",), data=slice_npz
        )
    )
    assert result.artifacts == ()
    (failure,) = result.failures
    assert isinstance(failure.error, StageError)
    assert cause in failure.error.cause
    assert str(tmp_path / "out" / "net" / "export.log") in failure.error.remedy
    assert "".join(capfd.readouterr()) == ""
    log = (tmp_path / "out" / "net" / "export.log").read_text()
    assert ("no kernel for this op" in log) == (how == "a crash")


def _request(images: Any, folder: Path, quantization: Precision) -> ConversionRequest:
    contract = Contract("net", tuple("0123456789"), quantization, "digit", "", "0", pixel_scale=1 / 255)
    return ConversionRequest(quantization, images, contract, folder / "log")


def test_a_child_process_makes_the_file_that_this_process_makes(tmp_path: Path, mnist: data.Splits) -> None:
    path = tmp_path / "net.keras"
    _chain(import_keras().layers.GaussianNoise(0.1), *_head()).save(path)
    model = models.load(path)
    request = _request(mnist.calibration.images[:20], tmp_path, Precision.INT8)
    assert not isolation.is_known(model)
    child = tflite_format.read(isolation.run("tflite", tflite.convert, path, model, request))
    here = tflite_format.read(isolation.attempt("tflite", tflite.convert, model, request))
    assert (child.ops, child.inputs, child.outputs, child.metadata) == (
        here.ops, here.inputs, here.outputs, here.metadata,
    )  # fmt: skip


def test_c_of_a_model_is_c_of_the_int8_file_of_the_same_conversion(tmp_path: Path, mnist: data.Splits) -> None:
    request = _request(mnist.calibration.images[:20], tmp_path, Precision.INT8)
    model = _chain(*_head())
    assert c.convert(model, request) == c.convert_int8(tflite.convert(model, request), request)


def test_a_model_with_a_layer_as_an_activation_is_not_among_the_models_known_to_convert() -> None:
    layers = import_keras().layers
    assert isolation.is_known(_chain(layers.Dense(3, activation="relu"), *_head()))
    assert not isolation.is_known(_chain(layers.Dense(3, activation=layers.LeakyReLU(0.1)), *_head()))


def test_the_child_process_imports_nothing_from_the_working_directory(
    tmp_path: Path, mnist: data.Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.keras"
    _chain(import_keras().layers.GaussianNoise(0.1), *_head()).save(path)
    for name in ("random", "keras", "textwrap"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(4)\n")
    monkeypatch.chdir(tmp_path)
    request = _request(mnist.calibration.images[:5], tmp_path, Precision.FLOAT32)
    assert isolation.run("tflite", tflite.convert, path, models.load(path), request)


def test_layers_keep_their_names_in_the_files(tmp_path: Path, mnist: data.Splits) -> None:
    """Batch normalization is folded into the layer before it, and TensorFlow appends numbers to the names of layers."""
    layers = import_keras().layers
    inner = _chain(
        layers.Conv2D(4, 3, strides=2, name="conv"), layers.BatchNormalization(name="norm"), shape=(28, 28, 4)
    )
    inner.name = "inner"
    model = _chain(
        layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv2d"), layers.BatchNormalization(name="bn"),
        layers.ReLU(name="re_lu"), inner, layers.ReLU(name="re_lu_1"),
        layers.SeparableConv2D(6, 3, use_bias=False, name="separable"), layers.BatchNormalization(name="bn_1"),
        layers.ReLU(name="re_lu_2"), layers.SeparableConv2D(6, 3, activation="relu", name="separable_1"), *_head(),
    )  # fmt: skip
    names = [layer.name for layer in model.layers]
    for quantization in (Precision.FLOAT32, Precision.INT8):
        request = _request(mnist.calibration.images[:20], tmp_path, quantization)
        content = isolation.attempt("tflite", tflite.convert, model, request)
        ops = [op for op in tflite_format.read(content).ops if op.kind.endswith("CONV_2D")]
        assert [op.outputs[0] for op in ops] == [
            "conv2d/CONV_2D", "inner.conv/CONV_2D", "separable/DEPTHWISE_CONV_2D", "separable/CONV_2D",
            "separable_1/DEPTHWISE_CONV_2D", "separable_1/CONV_2D",
        ]  # fmt: skip
    content = isolation.attempt(
        "onnx", onnx.convert, model, _request(mnist.calibration.images[:20], tmp_path, Precision.FLOAT32)
    )
    found = onnx_format.read(content).ops
    assert [op.outputs[0].split("/")[0] for op in found if op.kind == "Conv"] == [
        "conv2d", "inner.conv", "separable", "separable", "separable_1", "separable_1",
    ]  # fmt: skip
    assert [layer.name for layer in model.layers] == names
