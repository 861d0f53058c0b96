"""Edits of a converter's file: made only if their preconditions hold, kept only if the file is as close as before."""

from __future__ import annotations

import dataclasses
import importlib
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import mnist_edge
from mnist_edge import conversion, data
from mnist_edge.conversion import ConversionRequest, onnx, tflite, tflite_edit
from mnist_edge.formats import Contract
from mnist_edge.formats import onnx as onnx_format
from mnist_edge.formats import tflite as tflite_format
from mnist_edge.int8.quantize import dequantize, softmax
from mnist_edge.parity.layers import layer_errors
from mnist_edge.results.precision import Precision
from mnist_edge.runtime.engines import reference
from mnist_edge.store.model_file import ModelFile
from tests.support import int8_nets
from tests.support.int8_nets import NONE, RELU, Net

SCALE = 1 / 255
DIGITS = tuple(map(str, range(10)))


def images() -> NDArray[np.uint8]:
    """40 random images, uint8 (40, 9, 8, 1)."""
    return np.random.default_rng(3).integers(0, 256, (40, 9, 8, 1)).astype(np.uint8)


def net_without_output() -> Net:
    """A convolution and a reshape, to which a test adds the last layers."""
    net = int8_nets.begun(5, 9, 8)
    net.conv(6, (3, 3), (2, 2), int8_nets.VALID)
    net.reshape(math.prod(net.shape))
    return net


def dense_logits(net: Net) -> None:
    net.dense(10, NONE)


def reshaped_logits(net: Net) -> None:
    """The reshape copies quantized values: with another scale after it they would stand for other real values."""
    net.dense(10, NONE)
    net.reshape(10)


def pooled_logits(net: Net) -> None:
    net.reshape(2, 2, net.shape[0] // 4)
    net.conv(10, (1, 1), (1, 1), int8_nets.SAME, act=NONE)
    net.pool("MAX_POOL_2D", (2, 2), (2, 2), int8_nets.VALID)
    net.reshape(10)


def logits_with_an_activation(net: Net) -> None:
    net.dense(10, RELU)


def logits_with_two_readers(net: Net) -> None:
    net.dense(10, NONE)
    logits = net.last
    net.add(logits)
    net.last, net.shape = logits, (10,)  # the softmax and the sum read the same tensor


def softmax_before_the_last_layer(net: Net) -> None:
    net.dense(10, NONE)
    net.softmax()
    net.dense(10, NONE)


def expected(content: bytes) -> NDArray[np.float32]:
    """The softmax of the file's logits, computed in float: probabilities that a float model would have."""
    program = reference.load(content, 1)
    file = tflite_format.read(content)
    logits = next(tensor for tensor in file.tensors if tensor.name == file.ops[-1].inputs[0])
    values = program.values(images())[logits.name]
    return softmax(dequantize(values, logits.scale[0], logits.zero_point[0]).reshape(len(values), -1))


def file_with(last_layers: Callable[[Net], None]) -> bytes:
    """A file with these last layers and a softmax, whose logits have a larger scale than they need."""
    net = net_without_output()
    net.grid = lambda: {"scale": 0.5, "zero_point": 0}  # type: ignore[method-assign]
    last_layers(net)
    net.softmax()
    return net.content()


@pytest.mark.parametrize(
    ("last_layers", "allowed"),
    [
        (dense_logits, True),
        (reshaped_logits, False),
        (pooled_logits, False),
        (logits_with_an_activation, False),
        (logits_with_two_readers, False),
    ],
)  # fmt: skip
def test_only_logits_of_a_linear_layer_that_only_the_softmax_reads_get_another_scale(
    last_layers: Callable[[Net], None], allowed: bool
) -> None:
    content = file_with(last_layers)
    assert (tflite_edit._logits(tflite_edit._unpack(content)) is not None) is allowed
    if not allowed:
        assert tflite_edit.refine_logits(content, images(), SCALE, expected(content)) == content


def test_a_softmax_that_does_not_make_the_output_keeps_the_scale_of_its_input() -> None:
    net = net_without_output()
    softmax_before_the_last_layer(net)
    content = net.content()
    uniform = np.full((len(images()), 10), 0.1, np.float32)
    assert tflite_edit.refine_logits(content, images(), SCALE, uniform) == content


def test_a_smaller_scale_of_logits_brings_probabilities_closer_to_the_float_model() -> None:
    content = file_with(dense_logits)
    wanted = softmax(dequantize(*_logits_in_float(content)))
    refined = tflite_edit.refine_logits(content, images(), SCALE, wanted)
    assert refined != content
    before, after = (_probabilities(item) for item in (content, refined))
    assert np.abs(after - wanted).mean() < np.abs(before - wanted).mean()


def test_a_scale_that_makes_probabilities_less_close_to_the_float_model_is_not_kept() -> None:
    content = file_with(dense_logits)
    # If the float model has exactly the probabilities of the file, every other file is less close to it.
    assert tflite_edit.refine_logits(content, images(), SCALE, _probabilities(content)) == content


def _probabilities(content: bytes) -> NDArray[np.float32]:
    program = reference.load(content, 1)
    assert program.output.scale is not None
    return dequantize(program.run(images()), program.output.scale, program.output.zero_point)


def _logits_in_float(content: bytes) -> tuple[NDArray[Any], float, int]:
    """The last dense layer's results before they are rounded, with a scale of 1 and a zero point of 0."""
    program = reference.load(content, 1)
    file = tflite_format.read(content)
    op = file.ops[-2]
    tensors = {tensor.name: tensor for tensor in file.tensors}
    source, weights = tensors[op.inputs[0]], tensors[op.inputs[1]]
    values = program.values(images())
    sums = (values[op.inputs[0]] - source.zero_point[0]) @ values[op.inputs[1]].T + values[op.inputs[2]]
    return sums * np.array(weights.scale) * source.scale[0], 1.0, 0


def test_embed_names_input_output_and_the_result_of_every_op_and_stores_the_contract() -> None:
    net = net_without_output()
    net.reshape(net.shape[0])
    dense_logits(net)
    net.softmax()
    contract = Contract("net", DIGITS, "int8", "digit", "", "0")
    # The marks of two fused layers in a result's name, and of a layer in the name of its weights.
    net.tensors[net.operators[1].outputs[0]].name = b"net/curve.layer1_1/Relu;net/conv.layer0_1/BiasAdd"
    net.tensors[net.operators[4].inputs[1]].name = b"net/hidden.layer2_1/MatMul"
    content = net.content()
    file = tflite_format.read(tflite_edit.embed(content, contract, ["conv", "curve", "hidden"]))
    assert file.inputs[0].name == "image"
    assert [op.outputs[0] for op in file.ops] == [
        "graph/QUANTIZE", "conv/CONV_2D", "graph/RESHAPE", "graph/RESHAPE_2", "hidden/FULLY_CONNECTED", "probabilities",
    ]  # fmt: skip
    assert file.contract == contract
    before = tflite_format.read(content)
    assert [op.kind for op in file.ops] == [op.kind for op in before.ops]
    assert [(item.shape, item.dtype, item.scale) for item in file.tensors] == [
        (item.shape, item.dtype, item.scale) for item in before.tensors
    ]


@given(st.integers(1, 5000))
def test_negligible_logits_of_any_number_of_classes_add_at_most_as_much_as_nine_at_distance_eight(classes: int) -> None:
    distance = tflite_edit.negligible_distance(classes)
    assert distance >= 8
    assert (classes - 1) * math.exp(-distance) <= 9 * math.exp(-8) * (1 + 1e-9)


def _request(calibration: NDArray[np.uint8], folder: Path, pixel_scale: float = SCALE) -> ConversionRequest:
    contract = Contract("net", DIGITS, "int8", "digit", "", "0", pixel_scale=pixel_scale)
    return ConversionRequest(Precision.INT8, calibration, contract, folder / "log")


def _model(first: Any = None, seed: int = 1) -> Any:
    import keras

    keras.utils.set_random_seed(seed)
    image = keras.Input((28, 28, 1))
    x = image if first is None else first(image)
    x = keras.layers.Conv2D(6, 3, strides=3, activation="relu")(x)
    return keras.Model(image, keras.layers.Dense(10, activation="softmax")(keras.layers.Flatten()(x)))


@pytest.mark.slow
def test_the_scale_of_the_input_does_not_depend_on_the_calibration_images(mnist: data.Splits, tmp_path: Path) -> None:
    dark = (mnist.calibration.images[:60] * (200 / 255)).astype(np.uint8)
    assert dark.max() == 200
    model = _model()
    (source,) = tflite_format.read(tflite.convert(model, _request(dark, tmp_path))).inputs
    assert (source.dtype, source.zero_point) == ("uint8", (0,))
    assert source.scale[0] == pytest.approx(SCALE, rel=1e-6)
    (source,) = onnx_format.read(onnx.convert(model, _request(dark, tmp_path))).inputs
    assert source.dtype == "uint8"


@pytest.mark.slow
def test_an_onnx_input_with_another_scale_stays_float(mnist: data.Splits, tmp_path: Path) -> None:
    """Its quantized bias depends on the input's scale, and would stand for another real value."""
    request = _request(mnist.calibration.images[:60], tmp_path)
    graph = onnx.unedited(_model(), request)
    assert onnx._take_pixels(graph, SCALE) is not None
    assert onnx._take_pixels(graph, SCALE * 1.3) is None


@pytest.mark.slow
def test_an_onnx_softmax_that_does_not_make_the_output_keeps_its_quantized_input(
    mnist: data.Splits, tmp_path: Path
) -> None:
    import keras

    keras.utils.set_random_seed(1)
    image = keras.Input((28, 28, 1))
    inner = keras.layers.Softmax()(keras.layers.Dense(8)(keras.layers.Flatten()(image)))
    model = keras.Model(image, keras.layers.Dense(10)(inner))
    graph = onnx.unedited(model, _request(mnist.calibration.images[:60], tmp_path))
    assert onnx._keep_logits_float(graph) == graph
    outer = onnx.unedited(_model(), _request(mnist.calibration.images[:60], tmp_path))
    assert onnx._keep_logits_float(outer) != outer


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_layers_of_a_model_that_scales_pixels_itself_are_close_to_its_float_export(
    suffix: str, mnist: data.Splits, tmp_path: Path
) -> None:
    import keras

    model = _model(keras.layers.Rescaling(1 / 255))
    request = _request(mnist.calibration.images[:60], tmp_path, pixel_scale=1.0)
    converter = tflite if suffix == "tflite" else onnx
    float_request = dataclasses.replace(request, quantization=Precision.FLOAT32)
    (tmp_path / f"net-int8.{suffix}").write_bytes(converter.convert(model, request))
    (tmp_path / f"net-float32.{suffix}").write_bytes(converter.convert(model, float_request))
    found = layer_errors(ModelFile.open(tmp_path / f"net-int8.{suffix}", trust=True), mnist.validation.images[:20])
    assert len(found) >= 2
    assert min(item.sqnr_db for item in found if item.sqnr_db is not None) > 15


def _package(folder: Path) -> Path:
    """A copy of the package's code, which a test may edit."""
    unneeded = shutil.ignore_patterns("__pycache__", "shipped")
    shutil.copytree(Path(mnist_edge.__file__).parent, folder / "mnist_edge", ignore=unneeded)
    return folder / "mnist_edge"


@pytest.mark.slow
def test_a_changed_byte_in_the_code_of_a_converter_makes_only_its_files_outdated(
    workspace: Path, tmp_path: Path, mnist: data.Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = _package(tmp_path)
    # `conversion.export` is the function of this name.
    module = importlib.import_module("mnist_edge.conversion.export")
    monkeypatch.setattr(module, "PACKAGE_FOLDER", package)
    shutil.copytree(workspace / "dense", tmp_path / "dense")

    def fresh(format_: str) -> bool:
        return conversion.export(tmp_path / "dense", conversion.ExportConfig(format_), mnist).fresh

    assert (fresh("c"), fresh("tflite")) == (True, False)
    assert (fresh("c"), fresh("tflite")) == (False, False)
    (package / "cli" / "verify.py").write_text("# edited")
    assert fresh("c") is False
    for name in ("clamp.c", "avx2.c.in"):
        template = package / "conversion" / "codegen" / "kernels" / name
        template.write_text(template.read_text().replace("a", "A", 1))
        assert (fresh("c"), fresh("tflite")) == (True, False)
    edits = package / "conversion" / "tflite_edit.py"
    edits.write_text(edits.read_text() + "\n")
    assert (fresh("tflite"), fresh("c")) == (True, True)


@pytest.mark.parametrize("name", ["tflite", "onnx", "c"])
def test_the_key_of_a_file_depends_on_every_module_that_its_converter_imports(name: str) -> None:
    import grimp

    graph = grimp.build_graph("mnist_edge", exclude_type_checking_imports=True)  # the root names the public API
    used = graph.find_upstream_modules(f"mnist_edge.conversion.{name}") | {f"mnist_edge.conversion.{name}"}
    sources = conversion.CONVERTERS[name].sources
    relevant = {module for module in used if module.startswith(("mnist_edge.conversion.", "mnist_edge.models"))}
    for module in sorted(relevant):
        path = module.removeprefix("mnist_edge.").replace(".", "/")
        assert any(
            path == item.removesuffix(".py") or path.startswith(f"{item}/") or path == item for item in sources
        ), path


def test_the_range_of_large_logits_still_begins_at_zero_so_that_none_saturates() -> None:
    """An int8 zero point cannot express a range that begins above 0; clipping it would cut off the largest logits."""
    net = net_without_output()
    net.grid = lambda: {"scale": 0.5, "zero_point": 0}  # type: ignore[method-assign]
    dense_logits(net)
    net.buffers[net.tensors[net.operators[-1].inputs[2]].buffer].data = np.frombuffer(
        np.full(10, 210_000, np.int32).tobytes(), np.uint8
    )
    net.softmax()
    content = net.content()
    program = reference.load(content, 1)
    (logits,) = (
        t for t in tflite_format.read(content).tensors if t.name == tflite_format.read(content).ops[-1].inputs[0]
    )
    values = program.values(images())[logits.name]
    best = (values.max(axis=1) - logits.zero_point[0]) * logits.scale[0]
    assert best.min() > 20
    assert 55 < best.max() < 63.5  # near the end of the range, as after calibration
    refined = tflite_edit.refine_logits(content, images(), SCALE, softmax(dequantize(*_logits_in_float(content))))
    assert refined != content
    (grid,) = (t for t in tflite_format.read(refined).tensors if t.name == logits.name)
    assert (127 - grid.zero_point[0]) * grid.scale[0] >= best.max()
