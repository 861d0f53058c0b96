"""Outputs of the integer reference engine equal those of LiteRT's and tflite-runtime's reference kernels."""

from __future__ import annotations

import math
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_edge import data
from mnist_edge.errors import RefusedError
from mnist_edge.formats import tflite
from mnist_edge.int8.fixed_point import ONCE, TWICE, multiplier, multiply, softmax, softmax_table
from mnist_edge.runtime import engine_names, open_session
from mnist_edge.runtime.engines import litert_reference, reference
from mnist_edge.store.workspace import SHIPPED
from tests.conftest import needs_tflite_runtime
from tests.support import int8_nets
from tests.support.architectures import ARCHITECTURES, int8_file
from tests.support.backends import ALL_IMAGES

N = {} if ALL_IMAGES else {"cnn": 2000}  # number of test images by model; all 10,000 for other models
Q31 = 1 << 31
THEIRS = """
import sys
import numpy as np
from tflite_runtime.interpreter import Interpreter, OpResolverType
images = np.load(sys.argv[2])
theirs = Interpreter(sys.argv[1], experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
theirs.resize_tensor_input(theirs.get_input_details()[0]["index"], images.shape)
theirs.allocate_tensors()
theirs.set_tensor(theirs.get_input_details()[0]["index"], images)
theirs.invoke()
np.save(sys.argv[3], theirs.get_tensor(theirs.get_output_details()[0]["index"]))
"""


def differing(content: bytes, images: np.ndarray) -> int:
    ours, theirs = reference.load(content, 1), litert_reference.load(content, 1)
    count = 0
    for at in range(0, len(images), 250):
        batch = images[at : at + 250]
        expected = theirs.run(batch) if theirs.batched else np.concatenate([theirs.run(item[None]) for item in batch])
        count += int((ours.run(batch) != expected).any(axis=1).sum())
    return count


@pytest.mark.slow
@pytest.mark.parametrize("model", ["dense", "cnn"])
def test_no_output_of_the_shipped_nets_differs_from_litert(model: str, mnist: data.Splits) -> None:
    content = (SHIPPED / model / f"{model}-int8.tflite").read_bytes()
    assert differing(content, mnist.test.images[: N.get(model)]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_no_output_of_other_architectures_differs_from_litert(name: str, mnist: data.Splits, tmp_path: Path) -> None:
    content = int8_file(name, mnist.calibration.images[:100], tmp_path / "log")
    kinds = {op.kind for op in tflite.read(content).ops}
    assert kinds >= {
        "strides": {"AVERAGE_POOL_2D"}, "depthwise": {"DEPTHWISE_CONV_2D"}, "residual": {"ADD"},
        "pointwise": {"MEAN", "MUL", "CONCATENATION", "LEAKY_RELU", "LOGISTIC"},
    }[name]  # fmt: skip
    assert differing(content, mnist.test.images) == 0


@pytest.mark.slow
@needs_tflite_runtime
def test_rounding_twice_everywhere_gives_the_outputs_of_tflite_runtime(mnist: data.Splits, tmp_path: Path) -> None:
    path = SHIPPED / "dense" / "dense-int8.tflite"
    images, found = tmp_path / "images.npy", tmp_path / "found.npy"
    np.save(images, mnist.test.images[:2000])
    # In another process, since tflite-runtime must be imported before TensorFlow.
    subprocess.run([sys.executable, "-c", THEIRS, path, images, found], check=True, capture_output=True)
    content, twice = path.read_bytes(), dict.fromkeys(reference.ROUNDING, TWICE)
    ours = reference.IntegerProgram(tflite.read(content), tflite.constants(content), twice)
    assert (ours.run(mnist.test.images[:2000]) == np.load(found)).all()


def test_the_reference_engine_is_used_only_if_it_is_named(mnist: data.Splits) -> None:
    assert "reference" not in engine_names() + engine_names(kernels_only=True)
    session = open_session(SHIPPED / "dense" / "dense-int8.tflite", "reference")
    assert session.engine == "reference"
    found = session.predict(mnist.test.images[:500]).argmax(axis=1)
    assert (found == mnist.test.labels[:500]).mean() > 0.98


def test_a_file_with_an_op_that_has_no_integer_kernel_is_refused(tmp_path: Path, mnist: data.Splits) -> None:
    from tests.support.bad_models import tflite as edited

    def pad(model: object, graph: object) -> None:
        for code in model.operatorCodes:  # type: ignore[attr-defined]
            if code.builtinCode == 17:
                code.builtinCode = code.deprecatedBuiltinCode = 60

    with pytest.raises(RefusedError, match="PADV2"):
        reference.load(edited(pad), 1)


@given(st.floats(1e-9, 1e3))
def test_a_multiplier_and_its_shift_represent_a_real_number_to_31_bits(real: float) -> None:
    m, shift = multiplier(real)
    assert m == 0 or abs(m * 2.0 ** (shift - 31) / real - 1) < 2**-30


@given(st.integers(-(1 << 24), 1 << 24), st.integers(1 << 30, Q31 - 1), st.integers(-20, 5))
def test_rounding_once_is_exact_and_rounding_twice_is_within_one(x: int, m: int, shift: int) -> None:
    exact = Fraction(x * m) * Fraction(2) ** (shift - 31)
    once = int(multiply(np.array([x]), m, shift, ONCE)[0])
    assert once == math.floor(exact + Fraction(1, 2))
    assert abs(int(multiply(np.array([x]), m, shift, TWICE)[0]) - exact) <= 1


@given(st.lists(st.integers(-128, 127), min_size=2, max_size=20), st.floats(1e-3, 0.5))
def test_softmax_is_near_that_of_real_numbers(logits: list[int], scale: float) -> None:
    found = (softmax(np.array([logits]), scale)[0] + 128) / 256
    real = np.exp((np.array(logits) - max(logits)) * scale)
    assert np.abs(found - real / real.sum()).max() <= 1.5 / 256
    table, counted = softmax_table(scale)
    assert np.abs(table[:counted] / Q31 - np.exp(-np.arange(counted) * scale)).max() < 1e-5


@pytest.mark.parametrize(("classes", "runs"), [(511, True), (512, False)])
def test_a_softmax_that_would_end_the_process_is_refused_by_the_reference_kernels(classes: int, runs: bool) -> None:
    """All logits are equal, so that the exponentials sum to the number of classes: 512 fails an assertion in LiteRT."""
    net = int8_nets.begun(1, 4, 4)
    net.reshape(16)
    net.dense(classes, int8_nets.NONE)
    for index in net.operators[-1].inputs[1:]:
        buffer = net.buffers[net.tensors[index].buffer]
        buffer.data = np.zeros_like(buffer.data)
    net.softmax()
    content = net.content()
    image = np.zeros((1, 4, 4, 1), np.uint8)
    if runs:
        assert (litert_reference.load(content, 1).run(image) == reference.load(content, 1).run(image)).all()
    else:
        with pytest.raises(RefusedError, match="at most 511 classes"):
            litert_reference.load(content, 1)
