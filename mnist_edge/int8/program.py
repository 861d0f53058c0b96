"""Interpreter of int8 TFLite files in NumPy integers. It is slow and short, and defines the outputs of a file.

It rounds as the reference kernels of LiteRT 2.3: twice in convolutions, once in fully connected layers. The engine
``reference`` runs it, the C generator takes bounds and multipliers from it, and tests compare engines with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import RefusedError
from mnist_edge.formats import ModelStructure, OpInfo, TensorInfo
from mnist_edge.int8 import graph, rearrangement
from mnist_edge.int8.fixed_point import (
    ONCE,
    TWICE,
    Integers,
    divide_by_power,
    high_product,
    multiplier,
    multiply,
    softmax,
)
from mnist_edge.int8.graph import padding
from mnist_edge.int8.operators import (
    ADD_SHIFT,
    hard_swish_table,
    leaky_relu_multipliers,
    logistic_table,
    mean_axes,
    mean_multiplier,
    product_multiplier,
    relu_multiplier,
    tanh_table,
)
from mnist_edge.int8.quantize import Port, dequantize

ROUNDING = {"CONV_2D": TWICE, "DEPTHWISE_CONV_2D": TWICE, "FULLY_CONNECTED": ONCE}
# Numbers of fused activations, also of ops that do nothing else; and their lowest and highest real value.
_ACTIVATIONS = {"RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}
_RELU = {0: (-math.inf, math.inf), 1: (0.0, math.inf), 2: (-1.0, 1.0), 3: (0.0, 6.0)}


class IntegerProgram:
    """A graph of int8 ops. ``rounding`` gives, by the kind of op, how products are rounded.

    Raises:
        RefusedError: the graph cannot be computed exactly in integers.
    """

    batched = True
    delegate = "NumPy"
    direct = None

    def __init__(self, file: ModelStructure, constants: dict[str, NDArray[Any]], rounding: dict[str, str]) -> None:
        self.metadata = file.metadata
        self._file, self._constants, self._rounding = graph.integer_part(file), constants, rounding
        self._tensors = {tensor.name: tensor for tensor in file.tensors}
        why = graph.problem(file, constants)
        if why:
            raise RefusedError(f"It cannot be computed in integers: {why}.", "Name another --engine.")
        self.input, self.output = (_port(end) for end in (file.inputs[0], file.outputs[0]))
        self._first, self._last = self._file.inputs[0], self._file.outputs[0]

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """See `mnist_edge.runtime.engines.interface.Program.run`."""
        found = self.values(batch)[self._last.name]
        if self.output.dtype.kind == "f":
            return dequantize(found, self._last.scale[0], self._last.zero_point[0])
        return found.astype(self.output.dtype)

    def values(self, batch: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Every integer tensor of the graph, by its name, for a batch as `run` takes it."""
        values = {name: constant.astype(np.int64) for name, constant in self._constants.items()}
        values[self._first.name] = (_steps(batch, self._first) if self.input.dtype.kind == "f" else batch).astype(
            np.int64
        )
        for op in self._file.ops:
            ends = [self._tensors.get(name) for name in (*op.inputs, op.outputs[0])]
            inputs = [values.get(name) for name in op.inputs]
            values[op.outputs[0]] = _KERNELS[op.kind](op, inputs, ends, self._rounding.get(op.kind, ONCE))
        return values


def _port(tensor: TensorInfo) -> Port:
    scale, zero_point = (tensor.scale[0], tensor.zero_point[0]) if tensor.scale else (None, 0)
    return Port(np.dtype(tensor.dtype), tensor.shape[1:], scale, zero_point)


def _steps(real: NDArray[np.float32], tensor: TensorInfo) -> NDArray[np.float64]:
    """Real inputs on the grid of a tensor: divided in float32, and rounded to nearest, ties away from zero."""
    limits, steps = np.iinfo(tensor.dtype), (real / np.float32(tensor.scale[0])).astype(np.float64)
    rounded = np.sign(steps) * np.floor(np.abs(steps) + 0.5)
    found: NDArray[np.float64] = np.clip(rounded + tensor.zero_point[0], limits.min, limits.max)
    return found


def bounds(op: OpInfo, out: TensorInfo) -> tuple[int, int]:
    """The smallest and the largest value of an op's output: the limits of int8 and of its fused activation."""
    low, high = _RELU[_ACTIVATIONS.get(op.kind) or op.attributes.get("activation", (0,))[0]]
    scale, zero_point = out.scale[0], out.zero_point[0]
    least = -128 if low == -math.inf else max(-128, zero_point + round(low / scale))
    most = 127 if high == math.inf else min(127, zero_point + round(high / scale))
    return least, most


def table(op: OpInfo, source: TensorInfo, out: TensorInfo) -> Integers:
    """Outputs of an op with one input for each of the 256 input values, in ascending order; int64 (256,)."""
    least = 0 if source.dtype == "uint8" else -128
    return _KERNELS[op.kind](op, [np.arange(least, least + 256)], [source, out], ONCE)


def multipliers(source: TensorInfo, weights: TensorInfo, out: TensorInfo) -> tuple[Integers, Integers]:
    """Multipliers from sums of products to the output's scale, as (m, shift): one for each scale of the weights."""
    pairs = [multiplier(source.scale[0] * scale / out.scale[0]) for scale in weights.scale]
    return np.array([m for m, _ in pairs], np.int64), np.array([shift for _, shift in pairs], np.int64)


def windows(op: OpInfo, x: NDArray[Any], kernel: tuple[int, int], fill: int) -> list[NDArray[Any]]:
    """The input under each of the kernel's positions, row by row: (n, out height, out width, channels) each."""
    strides, dilations = op.attributes["strides"], op.attributes.get("dilations", (1, 1))
    same = bool(op.attributes["same_padding"][0])
    (out_h, top, bottom), (out_w, left, right) = (
        padding(x.shape[1 + at], kernel[at], strides[at], dilations[at], same) for at in (0, 1)
    )
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    return [
        padded[:, row : row + (out_h - 1) * strides[0] + 1 : strides[0],
               column : column + (out_w - 1) * strides[1] + 1 : strides[1]]
        for row in range(0, kernel[0] * dilations[0], dilations[0])
        for column in range(0, kernel[1] * dilations[1], dilations[1])
    ]  # fmt: skip


def _finish(op: OpInfo, total: Integers, ends: list[Any], rounding: str) -> Integers:
    source, weights, out = ends[0], ends[1], ends[-1]
    m, shift = multipliers(source, weights, out)
    return _clip(multiply(total, m, shift, rounding) + out.zero_point[0], bounds(op, out))


def _clip(x: Any, ends: tuple[int, int]) -> Integers:
    clipped: Integers = np.clip(x, *ends)
    return clipped


def _products(x: Integers, weights: Integers) -> Any:
    """X (..., k) times the transpose of weights (channels, k), in float64: BLAS has no integers; the sums are exact."""
    return (x.astype(np.float64) @ weights.T.astype(np.float64)).astype(np.int64)


def _conv(op: OpInfo, inputs: list[Any], ends: list[Any], rounding: str) -> Integers:
    x, weights, zero = inputs[0], inputs[1], ends[0].zero_point[0]
    _, height, width, depth = weights.shape
    groups, total = x.shape[-1] // depth, np.zeros((), np.int64)
    for at, window in enumerate(windows(op, x - zero, (height, width), 0)):
        shares = [
            _products(window[..., group * depth : (group + 1) * depth], part[:, at // width, at % width])
            for group, part in enumerate(np.split(weights, groups))
        ]
        total = total + (shares[0] if groups == 1 else np.concatenate(shares, axis=-1))
    return _finish(op, total + _bias(inputs), ends, rounding)


def _depthwise(op: OpInfo, inputs: list[Any], ends: list[Any], rounding: str) -> Integers:
    x, weights, zero = inputs[0], inputs[1], ends[0].zero_point[0]
    _, height, width, _ = weights.shape
    total = np.zeros((), np.int64)
    for at, window in enumerate(windows(op, x - zero, (height, width), 0)):
        total = (
            total
            + np.repeat(window, op.attributes["depth_multiplier"][0], axis=-1) * weights[0, at // width, at % width]
        )
    return _finish(op, total + _bias(inputs), ends, rounding)


def _dense(op: OpInfo, inputs: list[Any], ends: list[Any], rounding: str) -> Integers:
    x, weights = inputs[0].reshape(-1, inputs[1].shape[1]), inputs[1]
    rows = _finish(op, _products(x - ends[0].zero_point[0], weights) + _bias(inputs), ends, rounding)
    return rows.reshape(len(inputs[0]), *ends[-1].shape[1:])


def _bias(inputs: list[Any]) -> Any:
    return inputs[2] if len(inputs) > 2 and inputs[2] is not None else 0


def _max_pool(op: OpInfo, inputs: list[Any], ends: list[Any], _: str) -> Integers:
    found = windows(op, inputs[0], (op.attributes["kernel"][0], op.attributes["kernel"][1]), -128)
    return _clip(np.max(found, axis=0), bounds(op, ends[-1]))


def _average_pool(op: OpInfo, inputs: list[Any], ends: list[Any], _: str) -> Integers:
    kernel = op.attributes["kernel"][0], op.attributes["kernel"][1]
    total = np.sum(windows(op, inputs[0], kernel, 0), axis=0)
    count = np.sum(windows(op, np.ones_like(inputs[0]), kernel, 0), axis=0)
    # Rounded to nearest, ties away from zero, as C divides.
    return _clip(np.sign(total) * ((np.abs(total) + count // 2) // count), bounds(op, ends[-1]))


def _aligned(inputs: list[Any], ends: list[Any]) -> list[Any]:
    """Two operands with the same number of dimensions; an activation keeps its first one, the batch."""
    rank = len(ends[-1].shape)
    return [
        x if end.constant or x.ndim == rank else x.reshape(len(x), *[1] * (rank - x.ndim), *x.shape[1:])
        for x, end in zip(inputs, ends[:2], strict=True)
    ]


def _add(op: OpInfo, inputs: list[Any], ends: list[Any], _: str) -> Integers:
    a, b, out = ends
    twice = 2.0 * max(a.scale[0], b.scale[0])
    total = np.zeros((), np.int64)
    operands = _aligned(inputs, ends)
    for x, end, sign in zip(operands, (a, b), (1, -1 if op.kind == "SUB" else 1), strict=True):
        m, shift = multiplier(end.scale[0] / twice)
        total = total + sign * divide_by_power(high_product((x - end.zero_point[0]) << ADD_SHIFT, m), -shift)
    m, shift = multiplier(twice / ((1 << ADD_SHIFT) * out.scale[0]))
    return _clip(divide_by_power(high_product(total, m), -shift) + out.zero_point[0], bounds(op, out))


def _multiply(op: OpInfo, inputs: list[Any], ends: list[Any], _: str) -> Integers:
    a, b, out = ends
    first, second = _aligned(inputs, ends)
    product = (first - a.zero_point[0]) * (second - b.zero_point[0])
    return _clip(multiply(product, *product_multiplier(a, b, out), TWICE) + out.zero_point[0], bounds(op, out))


def _mean(op: OpInfo, inputs: list[Any], ends: list[Any], _: str) -> Integers:
    source, out = ends[0], ends[-1]
    axes = mean_axes(inputs[1], inputs[0].ndim)
    total = (inputs[0] - source.zero_point[0]).sum(axis=tuple(axes))
    m, shift = mean_multiplier(source, out, math.prod(source.shape[axis] for axis in axes))
    mean = multiply(total, m, shift, TWICE) + out.zero_point[0]
    return _clip(mean, (-128, 127)).reshape(len(total), *out.shape[1:])


def _concatenate(op: OpInfo, inputs: list[Any], _: list[Any], __: str) -> Integers:
    found: Integers = np.concatenate(inputs, axis=op.attributes["axis"][0])
    return found


def _leaky_relu(op: OpInfo, inputs: list[Any], ends: list[Any], _: str) -> Integers:
    source, out = ends
    negative, positive = leaky_relu_multipliers(op, source, out)
    x = inputs[0] - source.zero_point[0]
    scaled = np.where(x < 0, multiply(x, *negative, TWICE), multiply(x, *positive, TWICE))
    return _clip(scaled + out.zero_point[0], (-128, 127))


def _by_table(op: OpInfo, inputs: list[Any], ends: list[Any], _: str) -> Integers:
    table = _TABLES[op.kind](*ends)
    assert table is not None  # `graph.problem` has checked that there is one
    found: Integers = table[inputs[0] + 128]
    return found


def _relu(op: OpInfo, inputs: list[Any], ends: list[Any], _: str) -> Integers:
    source, out = ends
    scaled = multiply(inputs[0] - source.zero_point[0], *relu_multiplier(source, out), TWICE)
    return _clip(scaled + out.zero_point[0], bounds(op, out))


def _rearranged(op: OpInfo, inputs: list[Any], ends: list[Any], _: str) -> Integers:
    x, out = inputs[0], ends[-1]
    places = rearrangement.places(op, ends[0], out, inputs[1])
    found: Integers = np.where(places == rearrangement.FILL, out.zero_point[0], x.reshape(len(x), -1)[:, places])
    return found


def _quantize(op: OpInfo, inputs: list[Any], ends: list[Any], _: str) -> Integers:
    source, out = ends[0], ends[-1]
    m, shift = multiplier(source.scale[0] / out.scale[0])
    ends_of = (0, 255) if out.dtype == "uint8" else (-128, 127)
    return _clip(multiply(inputs[0] - source.zero_point[0], m, shift, TWICE) + out.zero_point[0], ends_of)


def _reshape(_: OpInfo, inputs: list[Any], ends: list[Any], __: str) -> Integers:
    found: Integers = inputs[0].reshape(len(inputs[0]), *ends[-1].shape[1:])
    return found


def _softmax(_: OpInfo, inputs: list[Any], ends: list[Any], __: str) -> Integers:
    logits = inputs[0]
    return softmax(logits.reshape(-1, logits.shape[-1]), ends[0].scale[0]).reshape(logits.shape)


_TABLES = {"LOGISTIC": logistic_table, "TANH": tanh_table, "HARD_SWISH": hard_swish_table}
_KERNELS: dict[str, Callable[[OpInfo, list[Any], list[Any], str], Integers]] = {
    "ADD": _add, "AVERAGE_POOL_2D": _average_pool, "CONV_2D": _conv, "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense, "MAX_POOL_2D": _max_pool, "QUANTIZE": _quantize, "RESHAPE": _reshape,
    "SOFTMAX": _softmax, "CONCATENATION": _concatenate, "LEAKY_RELU": _leaky_relu, "LOGISTIC": _by_table,
    "MEAN": _mean, "MUL": _multiply, "SUB": _add, "SQUEEZE": _reshape, "PAD": _rearranged, "TRANSPOSE": _rearranged,
    "RESIZE_NEAREST_NEIGHBOR": _rearranged, "TANH": _by_table, "HARD_SWISH": _by_table, "RELU": _relu,
    "RELU6": _relu, "RELU_N1_TO_1": _relu,
}  # fmt: skip
