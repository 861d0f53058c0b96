"""Ops without weights: generated C and the integer reference engine equal LiteRT's reference kernels, or refuse."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mnist_edge.errors import RefusedError, StageError
from mnist_edge.formats import TensorInfo
from mnist_edge.int8.operators import logistic_table
from mnist_edge.runtime.engines import litert_reference, native, reference
from tests.conftest import unavailable
from tests.support import backends, int8_nets
from tests.support.int8_nets import POINTWISE, Net, pointwise


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    """An image with every pixel value in order, and noise from dark to light."""
    draw = np.random.default_rng(3)
    noise = [draw.integers(low, low + 130, 256) for low in range(0, 127, 6)]
    return np.stack([np.arange(256), *noise]).reshape(-1, 16, 16, 1).astype(np.uint8)


def expected(content: bytes, images: NDArray[np.uint8]) -> NDArray[np.int8]:
    kernels = litert_reference.load(content, 1)
    return np.concatenate([kernels.run(image[None]) for image in images])


@pytest.mark.parametrize("name", POINTWISE)
def test_outputs_of_the_reference_engine_are_those_of_the_reference_kernels(
    name: str, images: NDArray[np.uint8]
) -> None:
    content = pointwise(name)
    wanted = expected(content, images)
    assert len(np.unique(wanted)) > 4
    assert (reference.load(content, 1).run(images) == wanted).all()


@pytest.mark.parametrize("name", POINTWISE)
def test_outputs_of_generated_c_are_those_of_the_reference_kernels(name: str, images: NDArray[np.uint8]) -> None:
    if shutil.which("cc") is None:
        unavailable("A C compiler")
    content = pointwise(name)
    for backend in ("all", "c99"):
        text = backends.source(content, "net", images, backend)
        assert (native.load(text, 1).run(images) == expected(content, images)).all()


def test_an_image_is_quantized_to_another_scale(images: NDArray[np.uint8]) -> None:
    """The first QUANTIZE of a file may do more than subtract 128."""
    net = int8_nets.begun(1, 16, 16)
    grid = net.tensors[net.last].quantization
    net.scale, net.zero_point = 0.006, -40
    grid.scale, grid.zeroPoint = np.float32([net.scale]), np.int64([net.zero_point])
    net.reshape(256)
    content = net.content()
    wanted = expected(content, images)
    assert len(np.unique(wanted)) > 100
    assert (reference.load(content, 1).run(images) == wanted).all()
    assert (native.load(backends.source(content, "net", images), 1).run(images) == wanted).all()


def _mean_over_separate_dimensions(net: Net) -> None:
    net.mean((1, 3), keep=True)


def _a_mean_over_images(net: Net) -> None:
    net.mean((0, 1), keep=True)
    net.tensors[net.last].shape = [1, 1, *net.shape[1:]]


def _mean_with_a_tiny_output_scale(net: Net) -> None:
    net.mean((1, 2), keep=True, scale=net.scale / 1e7, zero_point=0)


def _constant_with_repeated_rows(net: Net) -> None:
    net.pair("MUL", net.last, net.constant((1, 4, 8, 1)))


def _constant_with_a_scale_per_channel(net: Net) -> None:
    other = net.constant((8,))
    grid = net.tensors[other].quantization
    grid.scale, grid.zeroPoint = np.full(8, 0.1, np.float32), np.zeros(8, np.int64)
    net.pair("MUL", net.last, other)


def _product_with_a_tiny_output_scale(net: Net) -> None:
    net.pair("MUL", net.last, net.constant((8,)), scale=1e-9, zero_point=0)


def _difference_with_a_tiny_output_scale(net: Net) -> None:
    net.pair("SUB", net.last, net.constant((8,)), scale=1e-9, zero_point=0)


def _concatenation_of_two_scales(net: Net) -> None:
    first = net.last
    net.leaky_relu(0.1)
    net.concatenate([first], -1)


def _a_negative_slope(net: Net) -> None:
    net.leaky_relu(-0.5)


def _leaky_relu_with_a_tiny_output_scale(net: Net) -> None:
    net.leaky_relu(0.5, scale=1e-10, zero_point=0)


def _logistic_with_another_zero_point(net: Net) -> None:
    net.logistic()
    net.tensors[net.last].quantization.zeroPoint = np.int64([0])


def _scales_beyond_float32(net: Net) -> None:
    net.leaky_relu(0.5, scale=1e25, zero_point=0)
    net.pair("MUL", net.last, net.tensor((1,), "int8", 1e25, 0, np.int8([1])), scale=1e-20, zero_point=0)


def _tanh_on_another_grid(net: Net) -> None:
    net.unary("TANH")
    net.tensors[net.last].quantization.zeroPoint = np.int64([5])


def _hard_swish_with_a_tiny_output_scale(net: Net) -> None:
    net.unary("HARD_SWISH", scale=1e-9, zero_point=0)


def _relu_with_a_tiny_output_scale(net: Net) -> None:
    net.unary("RELU", scale=1e-10, zero_point=0)


def _a_third_input(net: Net) -> None:
    net.leaky_relu(0.5)
    net.operators[-1].inputs = [*net.operators[-1].inputs, net.constant((1,))]


def _a_zero_point_out_of_range(net: Net) -> None:
    net.leaky_relu(0.5, scale=0.1, zero_point=300)


@pytest.mark.parametrize(
    ("build", "cause"),
    [
        (_mean_over_separate_dimensions, r"over the dimensions \[1, 3\]"),
        (_a_mean_over_images, r"over the dimensions \[0, 1\]"),
        (_mean_with_a_tiny_output_scale, "too small for its sums"),
        (_constant_with_repeated_rows, "only the first dimensions can be repeated"),
        (_constant_with_a_scale_per_channel, "no int8 constant with a single scale"),
        (_product_with_a_tiny_output_scale, "too small for its inputs"),
        (_difference_with_a_tiny_output_scale, "too small for its inputs"),
        (_concatenation_of_two_scales, "different scales or zero points"),
        (_a_negative_slope, "slope is -0.5"),
        (_leaky_relu_with_a_tiny_output_scale, "too small for its input"),
        (_logistic_with_another_zero_point, "not 1/256 and -128"),
        (_a_zero_point_out_of_range, "zero point 300"),
        (_scales_beyond_float32, "scales are out of range"),
        (_a_third_input, "2 inputs, not 1"),
        (_tanh_on_another_grid, "not 1/128 and 0"),
        (_hard_swish_with_a_tiny_output_scale, "too small for its input"),
        (_relu_with_a_tiny_output_scale, "too small for its input"),
    ],
)
def test_an_op_that_cannot_be_computed_exactly_is_refused_by_name(build: Callable[[Net], None], cause: str) -> None:
    net = int8_nets.begun(1, 16, 16)
    net.reshape(4, 8, 8)
    build(net)
    kind = net.codes[net.operators[-1].opcodeIndex]
    net.reshape(int(np.prod(net.shape)))
    content = net.content()
    with pytest.raises(StageError, match=rf"\({kind}\): .*{cause}") as caught:
        backends.source(content, "net", np.zeros((1, 16, 16, 1), np.uint8))
    assert "lists the ops that have kernels" in caught.value.remedy
    with pytest.raises(RefusedError, match=cause):
        reference.load(content, 1)


def test_sigmoids_that_depend_on_the_c_library_are_refused() -> None:
    out = TensorInfo("y", "int8", (1, 8), (1 / 256,), (-128,))
    scales = np.linspace(0.01, 0.06, 20_000, dtype=np.float32)
    sources = [TensorInfo("x", "int8", (1, 8), (float(scale),), (3,)) for scale in scales]
    refused = sum(logistic_table(source, out) is None for source in sources)
    assert 0 < refused < 200
