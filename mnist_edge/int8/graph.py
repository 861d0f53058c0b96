"""Preconditions under which the integer reference engine and generated C compute an int8 graph exactly."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mnist_edge.formats import ModelStructure, OpInfo, TensorInfo
from mnist_edge.int8.fixed_point import multiplier
from mnist_edge.int8.operators import same_grid
from mnist_edge.int8.rearrangement import Constants, Tensors
from mnist_edge.int8.unweighted import CHECKS, INT32_MAX, ZERO_POINT_LIMITS, activation_grid, fused

# Kinds of ops that may read the uint8 image.
_ON_PIXELS = ("QUANTIZE", "RESHAPE")
# Number of inputs of an op, by its kind.
_INPUTS = {
    "ADD": 2, "SUB": 2, "MUL": 2, "MEAN": 2, "LEAKY_RELU": 1, "LOGISTIC": 1, "QUANTIZE": 1, "SOFTMAX": 1, "PAD": 2,
    "TRANSPOSE": 2, "RESIZE_NEAREST_NEIGHBOR": 2, "TANH": 1, "HARD_SWISH": 1, "RELU": 1, "RELU6": 1, "RELU_N1_TO_1": 1,
    "SQUEEZE": 1,
}  # fmt: skip


def padding(size: int, kernel: int, stride: int, dilation: int, same: bool) -> tuple[int, int, int]:
    """Output size and zero padding (before, after) of a window along one dimension."""
    extent = (kernel - 1) * dilation + 1
    if not same:
        return (size - extent) // stride + 1, 0, 0
    out = -(-size // stride)
    total = max(0, (out - 1) * stride + extent - size)
    return out, total // 2, total - total // 2


def problem(file: ModelStructure, constants: Constants) -> str | None:
    """Why a graph cannot be computed exactly in integers: the first op or tensor at fault, or None.

    Args:
        file: a parsed int8 TFLite file. constants: its constant tensors by name.
    """
    tensors = {tensor.name: tensor for tensor in file.tensors}
    computed_in_integers = integer_part(file).ops
    for position, op in enumerate(file.ops):
        if op not in computed_in_integers:
            continue
        where = f"op {position} ({op.kind})"
        if op.kind not in _CHECKS:
            return f"{where} has no integer kernel; there are kernels for: {', '.join(sorted(_CHECKS))}"
        if len(op.outputs) != 1:
            return f"{where} has {len(op.outputs)} outputs"
        computed = [tensors[name] for name in (*op.inputs, *op.outputs) if name and not tensors[name].constant]
        found = next(filter(None, map(_activation, computed)), None)
        if found is None and op.kind not in _ON_PIXELS and any(item.dtype != "int8" for item in computed):
            found = "it computes on uint8"
        found = found or _ends(op) or _checked(op, tensors, constants)
        if found:
            return f"{where}: {found}"
    return None


def integer_part(file: ModelStructure) -> ModelStructure:
    """The file without a QUANTIZE of its float input and without a DEQUANTIZE that makes its float output."""
    if (len(file.inputs), len(file.outputs)) != (1, 1):
        return file
    tensors, first, last = {tensor.name: tensor for tensor in file.tensors}, file.inputs[0], file.outputs[0]
    ops = list(file.ops)
    readers = [op for op in ops if first.name in op.inputs]
    if first.dtype == "float32" and [op.kind for op in readers] == ["QUANTIZE"]:
        ops.remove(readers[0])
        first = tensors[readers[0].outputs[0]]
    makers = [op for op in ops if last.name in op.outputs]
    if last.dtype == "float32" and [op.kind for op in makers] == ["DEQUANTIZE"]:
        ops.remove(makers[0])
        last = tensors[makers[0].inputs[0]]
    return dataclasses.replace(file, inputs=(first,), outputs=(last,), ops=tuple(ops))


def _ends(op: OpInfo) -> str | None:
    """Cause if the number of inputs is not that of the kernel."""
    wanted = _INPUTS.get(op.kind, len(op.inputs))
    if len(op.inputs) != wanted:
        return f"it has {len(op.inputs)} inputs, not {wanted}"
    return "an input is missing" if op.kind in (*_INPUTS, "CONCATENATION") and not all(op.inputs) else None


def _checked(op: OpInfo, tensors: Tensors, constants: Constants) -> str | None:
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return _CHECKS[op.kind](op, tensors, constants)
    except (OverflowError, ValueError):  # a multiplier is infinite in float32
        return "its scales are out of range"


def _activation(tensor: TensorInfo) -> str | None:
    """Cause if a computed tensor has several scales or zero points, or no batch as its first dimension."""
    if tensor.dtype not in ZERO_POINT_LIMITS:
        return f"{tensor.name} is {tensor.dtype}"
    if not tensor.shape or tensor.shape[0] not in (1, -1) or -1 in tensor.shape[1:]:
        return f"{tensor.name} has the shape {tensor.shape}, whose first dimension is no batch"
    return activation_grid(tensor)


def _weights(op: OpInfo, tensors: Tensors, constants: Constants, axis: int) -> str | None:
    """Cause if weights and bias are not constants of the right type, zero point and size, or if a sum may overflow."""
    weights, info = constants.get(op.inputs[1]), tensors[op.inputs[1]]
    if weights is None or info.dtype != "int8":
        return "its weights are no int8 constants"
    channels = weights.shape[axis]
    if len(info.scale) not in (1, channels) or any(info.zero_point):
        return "its weights have zero points, or scales of another axis"
    if not all(0 < scale < math.inf for scale in info.scale):
        return "its weights have a scale that is not positive"
    bias = np.zeros(channels, np.int64)
    if len(op.inputs) > 2 and op.inputs[2]:
        given = constants.get(op.inputs[2])
        if given is None or tensors[op.inputs[2]].dtype != "int32" or given.shape != (channels,):
            return "its bias is not an int32 constant with one value per channel"
        bias = given.astype(np.int64)
    return _sums(op, tensors, weights, bias, axis) or fused(op)


def _sums(op: OpInfo, tensors: Tensors, weights: NDArray[np.int8], bias: NDArray[np.int64], axis: int) -> str | None:
    """Cause if a sum of products does not fit 32 bits, or does not after the shift that precedes its scaling."""
    rest = tuple(at for at in range(weights.ndim) if at != axis)
    # Inputs are stored as 0 to 255, which bounds the sum. The bias also gets the zero point times the sum of the
    # weights, which has the same bound: hence the factor 2.
    largest = 2 * 255 * np.abs(weights.astype(np.int64)).sum(axis=rest) + np.abs(bias)
    if int(largest.max()) > INT32_MAX:
        return "its sums may not fit 32 bits"
    source, info, out = tensors[op.inputs[0]], tensors[op.inputs[1]], tensors[op.outputs[0]]
    ratios = source.scale[0] / out.scale[0] * np.broadcast_to(info.scale, len(largest))
    up = [max(multiplier(float(ratio))[1], 0) for ratio in ratios]
    if any(int(total) << shift > INT32_MAX for total, shift in zip(largest, up, strict=True)):
        return "its output's scale is too small for its sums"
    return None


def _window(op: OpInfo, source: TensorInfo, out: TensorInfo, kernel: tuple[int, ...]) -> str | None:
    """Cause if the output's height and width are not those that kernel, stride and padding give."""
    if len(source.shape) != 4 or len(out.shape) != 4 or "strides" not in op.attributes:
        return f"it goes from {source.shape} to {out.shape}"
    same = bool(op.attributes["same_padding"][0])
    dilations = op.attributes.get("dilations", (1, 1))
    sizes = tuple(
        padding(source.shape[1 + at], kernel[at], op.attributes["strides"][at], dilations[at], same)[0] for at in (0, 1)
    )
    return None if sizes == out.shape[1:3] else f"it gives {sizes}, and the file says {out.shape[1:3]}"


def _convolution(op: OpInfo, tensors: Tensors, constants: Constants) -> str | None:
    source, out, weights = tensors[op.inputs[0]], tensors[op.outputs[0]], tensors[op.inputs[1]]
    if len(weights.shape) != 4 or source.constant:
        return f"its weights have the shape {weights.shape}"
    groups, rest = divmod(source.shape[-1], weights.shape[3])
    if rest or groups == 0 or weights.shape[0] % groups:
        return f"its weights have {weights.shape[0]} x {weights.shape[3]} channels, and its input {source.shape[-1]}"
    if weights.shape[0] != out.shape[-1]:
        return f"its weights make {weights.shape[0]} channels, and the file says {out.shape[-1]}"
    return _window(op, source, out, weights.shape[1:3]) or _weights(op, tensors, constants, axis=0)


def _depthwise(op: OpInfo, tensors: Tensors, constants: Constants) -> str | None:
    source, out, weights = tensors[op.inputs[0]], tensors[op.outputs[0]], tensors[op.inputs[1]]
    if len(weights.shape) != 4 or weights.shape[0] != 1 or source.constant:
        return f"its weights have the shape {weights.shape}"
    multiplier = op.attributes.get("depth_multiplier", (0,))[0]
    if not weights.shape[3] == out.shape[-1] == source.shape[-1] * multiplier:
        return f"it makes {out.shape[-1]} channels of {source.shape[-1]} with the depth multiplier {multiplier}"
    return _window(op, source, out, weights.shape[1:3]) or _weights(op, tensors, constants, axis=3)


def _dense(op: OpInfo, tensors: Tensors, constants: Constants) -> str | None:
    source, out, weights = tensors[op.inputs[0]], tensors[op.outputs[0]], tensors[op.inputs[1]]
    if len(weights.shape) != 2 or source.constant:
        return f"its weights have the shape {weights.shape}"
    rows, rest = divmod(math.prod(source.shape[1:]), weights.shape[1])
    if rest or math.prod(out.shape[1:]) != rows * weights.shape[0]:
        return f"it goes from {source.shape} to {out.shape} with the weights {weights.shape}"
    return _weights(op, tensors, constants, axis=0)


def _pool(op: OpInfo, tensors: Tensors, _: Constants) -> str | None:
    source, out = tensors[op.inputs[0]], tensors[op.outputs[0]]
    if source.constant or source.shape[-1] != out.shape[-1]:
        return f"it goes from {source.shape} to {out.shape}"
    found = _window(op, source, out, op.attributes.get("kernel", (0, 0)))
    return found or same_grid(source, out) or fused(op)


_CHECKS: dict[str, Callable[[OpInfo, Tensors, Constants], str | None]] = {
    "AVERAGE_POOL_2D": _pool, "CONV_2D": _convolution, "DEPTHWISE_CONV_2D": _depthwise, "FULLY_CONNECTED": _dense,
    "MAX_POOL_2D": _pool, **CHECKS,
}  # fmt: skip
