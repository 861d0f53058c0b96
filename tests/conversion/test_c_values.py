"""C and the integer reference engine for int8 files from elsewhere: inputs of any shape that are no pixels."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mnist_edge.conversion import c as converter
from mnist_edge.conversion.request import ConversionRequest
from mnist_edge.data import Split
from mnist_edge.errors import ContentError, RefusedError, StageError
from mnist_edge.formats import METADATA_KEY, Contract, c, tflite
from mnist_edge.formats.model_structure import FEATURES
from mnist_edge.int8.quantize import Port, quantize
from mnist_edge.results.precision import Precision
from mnist_edge.runtime import open_session
from mnist_edge.runtime.engines import litert_reference, native, reference
from mnist_edge.store.manifest import Manifest
from mnist_edge.store.workspace import SHIPPED
from tests.conftest import unavailable
from tests.support import backends, int8_nets
from tests.support.int8_nets import PATTERNS


def values(content: bytes, n: int = 20) -> NDArray[np.int8]:
    """Random inputs: of the whole range, of narrow ranges, and the two ends."""
    draw, shape = np.random.default_rng(0), tflite.read(content).inputs[0].shape[1:]
    found = draw.integers(-128, 128, (n, *shape))
    found[n // 2 :] = found[n // 2 :] // 8 + draw.integers(-112, 112, (n - n // 2, *[1] * len(shape)))
    found[0], found[1] = -128, 127
    return found.astype(np.int8)


def expected(content: bytes, inputs: NDArray[Any]) -> NDArray[Any]:
    kernels = litert_reference.load(content, 1)
    found: NDArray[Any] = np.concatenate([kernels.run(item[None]) for item in inputs])
    return found


@pytest.mark.parametrize("name", PATTERNS)
def test_outputs_are_those_of_the_reference_kernels(name: str) -> None:
    if shutil.which("cc") is None:
        unavailable("A C compiler")
    content = PATTERNS[name]()
    inputs = values(content)
    wanted = expected(content, inputs)
    assert len(np.unique(wanted)) > 10
    assert (reference.load(content, 1).run(inputs) == wanted).all()
    # A file with all backends takes seconds to compile.
    for backend, order in (("all" if name in ("frames", "residual") else "c99", inputs), ("c99", None)):
        code = native.load(converter.from_tflite(content, name, order, backend), 1)
        assert (code.run(inputs) == wanted).all()


def test_the_header_tells_the_grids_of_input_and_output() -> None:
    content = PATTERNS["autoencoder"]()
    text = converter.from_tflite(content, "machine")
    facts = c.facts_of(text)
    header = converter.companions(text, "machine")["machine.h"].decode()
    assert header in text.decode()
    first, last = tflite.read(content).inputs[0], tflite.read(content).outputs[0]
    for end, tensor in (("INPUT", first), ("OUTPUT", last)):
        assert f"#define MACHINE_INT8_{end}_SCALE {tensor.scale[0]!r}f\n" in header
        assert f"#define MACHINE_INT8_{end}_ZERO ({tensor.zero_point[0]})\n" in header
        assert f"#define MACHINE_INT8_{end}_BYTES 70\n" in header
    assert "void machine_int8_run(const int8_t *input, int8_t *answer, void *scratch);" in header
    assert "One input of 70 values" in header
    assert not re.search("CLASS|HEIGHT|image", header)
    assert c.read(text).inputs[0].dtype == "int8"
    assert facts["constant_bytes"] > 70 * 24


def test_a_net_that_ends_in_a_softmax_has_classes() -> None:
    header = converter.companions(converter.from_tflite(PATTERNS["frames"](), "word"), "word")["word.h"].decode()
    assert '#define WORD_INT8_CLASS_NAMES {"0", "1", "2"}' in header
    assert "to probabilities of the classes" in header


def test_the_int8_input_is_stored_in_the_padding_of_the_first_convolution() -> None:
    """A second buffer for the picture would be a quarter of the memory."""
    text = converter.from_tflite(PATTERNS["mobile"](), "net", backend="c99").decode()
    assert "_padded = &memory" not in text
    assert "edge_store(input, input_output, 16, 48, 51);" in text


def test_a_uint8_input_that_is_no_image_is_taken_as_it_is() -> None:
    net = int8_nets.begun(1, 5, 4, 2, scale=0.3, zero_point=100)
    net.conv(4, (3, 3), (1, 1), int8_nets.SAME)
    content = int8_nets.ended(net)
    inputs = np.random.default_rng(0).integers(0, 256, (20, 5, 4, 2)).astype(np.uint8)
    text = converter.from_tflite(content, "net")
    assert b"void net_int8_run(const uint8_t *input, int8_t *answer" in text
    code = native.load(text, 1)
    assert code.input == Port(np.dtype(np.uint8), (5, 4, 2), float(np.float32(0.3)), 100)
    assert (code.run(inputs) == reference.load(content, 1).run(inputs)).all()


def test_a_uint8_output_has_its_own_type_in_c() -> None:
    net = int8_nets.signed(6, 30)
    net.dense(9, int8_nets.NONE)
    for grid in ({"scale": net.scale, "zero_point": net.zero_point + 128}, {"scale": net.scale / 2, "zero_point": 60}):
        scale, zero_point, last = net.scale, net.zero_point, net.last
        net.quantize(**grid)
        net.tensors[net.last].type = 3
        content = net.content()
        inputs = values(content)
        text = converter.from_tflite(content, "net")
        assert b"void net_int8_run(const int8_t *input, uint8_t *answer" in text
        wanted = reference.load(content, 1).run(inputs)
        assert wanted.dtype == np.uint8
        assert wanted.max() > 127
        assert (native.load(text, 1).run(inputs) == wanted).all()
        assert (expected(content, inputs) == wanted).all()
        net.operators.pop()
        net.scale, net.zero_point, net.last = scale, zero_point, last


def test_a_session_opens_the_code_as_it_opens_the_file(tmp_path: Path) -> None:
    content = PATTERNS["autoencoder"]()
    text = converter.from_tflite(content, "net", backend="c99")
    Manifest.load(tmp_path).commit({"net.c": (text, {}), "net.tflite": (content, {})})
    features = np.random.default_rng(0).normal(size=(5, 70)).astype(np.float32)
    names = {"net.c": "native", "net.tflite": "reference"}
    code, file = (open_session(tmp_path / name, engine) for name, engine in names.items())
    assert (code.predict(features) == file.predict(features)).all()


def test_a_file_that_mnist_edge_made_gives_code_that_takes_pixels() -> None:
    content = (SHIPPED / "dense" / "dense-int8.tflite").read_bytes()
    contract = tflite.read(content).metadata[METADATA_KEY]
    text = converter.from_tflite(content, "ignored")
    assert c.facts_of(text)["contract"] == contract
    assert b"(const uint8_t *image, int8_t *answer" in text


def test_the_accuracy_of_code_with_an_int8_input_is_measured_on_pixels_in_its_scale() -> None:
    net = int8_nets.signed(11, 6, 5, 1, zero_point=-128)
    net.tensors[0].quantization.scale = np.float32([1 / 255])
    net.conv(4, (3, 3), (1, 1), int8_nets.SAME)
    content = int8_nets.ended(net, 4)
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 5, 1)).astype(np.uint8)
    steps = (images.astype(np.int64) - 128).astype(np.int8)
    labels = reference.load(content, 1).run(steps).argmax(axis=1)
    assert len(np.unique(labels)) > 1
    text = converter.finish(converter.from_tflite(content, "net", backend="c99"), Split(images, labels, np.arange(40)))
    assert c.facts_of(text)["accuracy"] == {"top1": 1.0, "images": 40}


def test_features_are_brought_to_the_grid_of_the_input_and_integers_are_taken_as_they_are(tmp_path: Path) -> None:
    net = int8_nets.signed(4, 7)
    net.dense(3, int8_nets.NONE)
    net.softmax()
    content = net.content()
    real = np.random.default_rng(0).normal(size=(40, 7)).astype(np.float32)
    steps = quantize(real, 0.02, -5, np.dtype(np.int8))
    labels = reference.load(content, 1).run(steps).argmax(axis=1)
    assert len(np.unique(labels)) > 1
    contract = Contract(
        "net", ("a", "b", "c"), "int8", FEATURES, reference_sha256="", tool_version="0.1", pixel_scale=1.0
    )
    for features in (real, steps):
        request = ConversionRequest(Precision.INT8, features, contract, tmp_path / "log", "c99")
        text = converter.finish(converter.convert_given(content, request), Split(features, labels, np.arange(40)))
        assert c.facts_of(text)["accuracy"] == {"top1": 1.0, "images": 40}


def test_code_of_a_uint8_input_takes_its_values_if_they_are_features(tmp_path: Path) -> None:
    contract = Contract(
        "net", tuple("0123456789"), "int8", FEATURES, reference_sha256="", tool_version="0.1", pixel_scale=1.0
    )
    content = int8_nets.ended(int8_nets.begun(1, 5, 4, 2, scale=0.3, zero_point=100))
    inputs = np.zeros((2, 5, 4, 2), np.float32)
    text = converter.convert_given(content, ConversionRequest(Precision.INT8, inputs, contract, tmp_path / "log"))
    assert b"(const uint8_t *input, int8_t *answer" in text
    assert native.load(text, 1).input.zero_point == 100


@pytest.mark.parametrize(("scale", "pixel_scale"), [(1.0, 1.0), (1 / 255, 1 / 255)])
def test_pixels_of_a_file_without_a_contract_have_the_scale_that_a_session_assumes(
    scale: float, pixel_scale: float
) -> None:
    net = int8_nets.signed(11, 6, 5, 1, zero_point=-128)
    net.tensors[0].quantization.scale = np.float32([scale])
    net.conv(4, (3, 3), (1, 1), int8_nets.SAME)
    facts = c.facts_of(converter.from_tflite(int8_nets.ended(net, 4), "net", backend="c99"))
    assert Contract.from_text(facts["contract"]).pixel_scale == pixel_scale


def test_a_damaged_file_and_one_that_is_not_int8_are_refused() -> None:
    with pytest.raises(ContentError):
        converter.from_tflite(PATTERNS["frames"]()[:500], "net")

    net = int8_nets.signed(7, 12)
    net.dense(4)
    net.tensors[0].type = 1  # float16
    with pytest.raises(StageError, match="input is float16"):
        converter.from_tflite(net.content(), "net")


@pytest.mark.parametrize("name", ["autoencoder", "mobile"])
def test_the_program_compiles_without_a_warning(name: str, tmp_path: Path) -> None:
    way = backends.WAYS["C99"]
    backends.runs_here(way)
    content = PATTERNS[name]()
    inputs = values(content, 6)
    program = backends.build(converter.from_tflite(content, name, inputs), way, tmp_path)
    assert (backends.answers(program, way, inputs) == expected(content, inputs)).all()


def test_float_ends_are_left_to_the_caller_of_c() -> None:
    """Real inputs lie on and between the steps of the grid, and outside of its range."""
    content = int8_nets.float_ends()
    draw = np.random.default_rng(0)
    inputs = np.float32(0.02) * draw.integers(-300, 300, (400, 30)).astype(np.float32) / 2
    inputs[200:] = draw.normal(0, 1.5, (200, 30))
    inputs = inputs.astype(np.float32)
    wanted = expected(content, inputs)
    engine = reference.load(content, 1)
    assert (engine.input.dtype, engine.output.dtype, wanted.dtype) == (np.float32, np.float32, np.float32)
    assert len(np.unique(wanted)) > 100
    assert (engine.run(inputs) == wanted).all()
    text = converter.from_tflite(content, "net", backend="c99")
    code, values = native.load(text, 1), engine.values(inputs)  # type: ignore[attr-defined]
    first, last = (values[name] for name in ("t1", "t4"))
    assert b"#define NET_INT8_INPUT_SCALE 0.0199999" in text
    assert (code.run(first.astype(np.int8)) == last).all()


def test_a_float_op_between_the_ends_is_refused_with_its_position() -> None:
    net = int8_nets.signed(9, 30)
    net.dense(9, int8_nets.NONE)
    net.op("DEQUANTIZE", [net.last], None, 0, net.shape)
    net.tensors[net.last].type = 0
    net.quantize()
    content = net.content()
    with pytest.raises(StageError, match=r"op 1 \(DEQUANTIZE\)"):
        converter.from_tflite(content, "net")
    with pytest.raises(RefusedError, match=r"op 1 \(DEQUANTIZE\)"):
        reference.load(content, 1)


@pytest.mark.parametrize("groups", [2, 3])
def test_a_grouped_convolution_has_the_outputs_of_the_reference_kernels(groups: int) -> None:
    net = int8_nets.signed(groups, 7, 6, 6)
    net.conv(12, (3, 2), (2, 1), int8_nets.SAME, groups=groups)
    net.conv(6, (3, 3), (1, 1), int8_nets.VALID, dilation=1, groups=groups)
    content = int8_nets.ended(net)
    inputs = values(content)
    wanted = expected(content, inputs)
    assert (reference.load(content, 1).run(inputs) == wanted).all()
    text = converter.from_tflite(content, "net", inputs, "c99")
    assert (native.load(text, 1).run(inputs) == wanted).all()


@pytest.mark.parametrize(
    ("kind", "numbers", "cause"),
    [
        ("PAD", [[0, 1], [0, 0], [0, 0], [0, 0]], "images cannot be mixed or added"),
        ("PAD", [[0, 0], [0, 0], [0, -1], [0, 0]], "images cannot be mixed or added"),
        ("PAD", [[0, 0], [1, 1]], r"the shape \(2, 2\), not \(4, 2\)"),
        ("PAD", [[0, 0], [1, 1], [0, 0], [0, 0]], r"gives \(8, 6, 4\), and the file says \(6, 6, 4\)"),
        ("TRANSPOSE", [1, 0, 2, 3], "images cannot be mixed or added"),
        ("TRANSPOSE", [0, 1, 1, 3], "images cannot be mixed or added"),
        ("TRANSPOSE", [0, 3, 1, 2], r"gives \(4, 6, 6\)"),
        ("RESIZE_NEAREST_NEIGHBOR", [0, 6], "images cannot be mixed or added"),
        ("RESIZE_NEAREST_NEIGHBOR", [6, 7], r"gives \(6, 7, 4\)"),
    ],
)
def test_a_rearrangement_that_does_not_fit_is_refused(kind: str, numbers: list[Any], cause: str) -> None:
    net = int8_nets.signed(1, 6, 6, 4)
    net.rearrange(kind, numbers, net.shape)
    net.reshape(144)
    with pytest.raises(StageError, match=rf"op 0 \({kind}\): .*{cause}"):
        converter.from_tflite(net.content(), "net")


def test_weights_that_do_not_divide_into_groups_are_refused() -> None:
    net = int8_nets.signed(1, 6, 6, 4)
    net.conv(6, (3, 3), (1, 1), int8_nets.SAME, groups=2)
    net.tensors[0].shape[3] = 5
    net.reshape(216)
    with pytest.raises(StageError, match="its weights have 6 x 2 channels, and its input 5"):
        converter.from_tflite(net.content(), "net")
