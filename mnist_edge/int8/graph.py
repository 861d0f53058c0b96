"""Preconditions under which the integer reference engine and generated C compute an int8 graph exactly."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.formats import ModelStructure, OpInfo, TensorInfo
from mnist_edge.int8.fixed_point import multiplier
from mnist_edge.int8.operators import (
    ADD_SHIFT,
    leaky_relu_multipliers,
    logistic_table,
    mean_axes,
    mean_multiplier,
    product_multiplier,
    repeated_size,
)

Tensors = dict[str, TensorInfo]
Constants = dict[str, NDArray[Any]]
INT32_MAX = (1 << 31) - 1
# The sum of exponentials has 12 integer bits (see `mnist_edge.int8.fixed_point.softmax`).
MAX_CLASSES = 1 << 12
# Scale and zero point of the outputs of SOFTMAX and LOGISTIC.
_PROBABILITY_GRID = (1 / 256, -128)
# Smallest and largest zero point of a tensor, by its dtype.
_ZERO_POINT_LIMITS = {"int8": (-128, 127), "uint8": (0, 255)}
# Kinds of ops that may read the uint8 image.
_ON_PIXELS = ("QUANTIZE", "RESHAPE")
# Number of inputs of an op, by its kind.
_INPUTS = {"ADD": 2, "SUB": 2, "MUL": 2, "MEAN": 2, "LEAKY_RELU": 1, "LOGISTIC": 1, "QUANTIZE": 1, "SOFTMAX": 1}


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
    for position, op in enumerate(file.ops):
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
    if tensor.dtype not in _ZERO_POINT_LIMITS:
        return f"{tensor.name} is {tensor.dtype}"
    if not tensor.shape or tensor.shape[0] not in (1, -1) or -1 in tensor.shape[1:]:
        return f"{tensor.name} has the shape {tensor.shape}, whose first dimension is no batch"
    return _activation_grid(tensor)


def _activation_grid(tensor: TensorInfo) -> str | None:
    if len(tensor.scale) != 1 or len(tensor.zero_point) != 1 or not 0 < tensor.scale[0] < math.inf:
        return f"{tensor.name} has no single scale and zero point"
    least, most = _ZERO_POINT_LIMITS[tensor.dtype]
    if not least <= tensor.zero_point[0] <= most:
        return f"{tensor.name} has the zero point {tensor.zero_point[0]}"
    return None


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
    return _sums(op, tensors, weights, bias, axis) or _fused(op)


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


def _fused(op: OpInfo) -> str | None:
    activation = op.attributes.get("activation", (0,))[0]
    return None if activation in (0, 1, 2, 3) else f"its fused activation {activation} is unknown"


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
    if weights.shape[3] != source.shape[-1]:
        return f"it is a grouped convolution ({source.shape[-1]} channels in, {weights.shape[3]} a group)"
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
    return found or _same_grid(source, out) or _fused(op)


def _pair(op: OpInfo, tensors: Tensors, _: Constants) -> str | None:
    """ADD, SUB and MUL: of two computed tensors, or of one and a constant."""
    a, b, out = (tensors[name] for name in (*op.inputs[:2], op.outputs[0]))
    for end in (a, b):
        if end.constant and (end.dtype != "int8" or _activation_grid(end)):
            return f"{end.name} is no int8 constant with a single scale and zero point"
    if (a.constant and b.constant) or out.shape[1:] not in [end.shape[1:] for end in (a, b) if not end.constant]:
        return f"it goes from {a.shape} and {b.shape} to {out.shape}"
    if None in (repeated_size(a, out), repeated_size(b, out)):
        return f"it takes {a.shape} and {b.shape}: only the first dimensions can be repeated"
    if op.kind == "MUL":
        fits = _fits(255 * 255, product_multiplier(a, b, out))
    else:
        fits = multiplier(2.0 * max(a.scale[0], b.scale[0]) / ((1 << ADD_SHIFT) * out.scale[0]))[1] <= 0
    return _fused(op) if fits else "its output's scale is too small for its inputs"


def _fits(largest: int, m_and_shift: tuple[int, int]) -> bool:
    """Whether numbers up to the largest stay in 32 bits when they are shifted before they are multiplied."""
    return largest << max(m_and_shift[1], 0) <= INT32_MAX


def _mean(op: OpInfo, tensors: Tensors, constants: Constants) -> str | None:
    source, out, axes = tensors[op.inputs[0]], tensors[op.outputs[0]], constants.get(op.inputs[1])
    rank = len(source.shape)
    if (
        source.constant
        or axes is None
        or axes.dtype.kind != "i"
        or axes.size == 0
        or not all(-rank <= axis < rank for axis in axes.ravel())
    ):
        return "the dimensions of its mean are not constant, or its input does not have them"
    over = mean_axes(axes, rank)
    if over[0] == 0 or over != list(range(over[0], over[-1] + 1)):
        return f"it goes over the dimensions {over}: only neighbouring ones, without the first, are supported"
    kept = op.attributes.get("keep_dims", (0,)) != (0,)
    sizes = [1 if at in over else size for at, size in enumerate(source.shape) if kept or at not in over]
    if tuple(sizes[1:]) != out.shape[1:]:
        return f"it gives {tuple(sizes)}, and the file says {out.shape}"
    count = math.prod(source.shape[at] for at in over)
    fits = _fits(255 * count, mean_multiplier(source, out, count))
    return None if fits else "its output's scale is too small for its sums"


def _concatenation(op: OpInfo, tensors: Tensors, _: Constants) -> str | None:
    sources, out = [tensors[name] for name in op.inputs if name], tensors[op.outputs[0]]
    rank, axis = len(out.shape), op.attributes.get("axis", (0,))[0]
    axis += rank * (axis < 0)
    if any(source.constant or len(source.shape) != rank for source in sources) or not 1 <= axis < rank:
        return f"it concatenates {[source.shape for source in sources]} along dimension {axis}"
    others = {(*source.shape[1:axis], *source.shape[axis + 1 :]) for source in (*sources, out)}
    if len(others) != 1 or sum(source.shape[axis] for source in sources) != out.shape[axis]:
        return f"it makes {out.shape} of {[source.shape for source in sources]}"
    return next(filter(None, (_same_grid(source, out) for source in sources)), None) or (
        "it has a fused activation" if op.attributes.get("activation", (0,)) != (0,) else None
    )


def _leaky_relu(op: OpInfo, tensors: Tensors, _: Constants) -> str | None:
    source, out, alpha = tensors[op.inputs[0]], tensors[op.outputs[0]], op.numbers.get("alpha", 0.0)
    if source.constant or source.shape[1:] != out.shape[1:]:
        return f"it goes from {source.shape} to {out.shape}"
    if not 0 <= alpha < math.inf:
        return f"its slope is {alpha:g}"  # versions of LiteRT differ for negative slopes
    fits = all(_fits(255, item) for item in leaky_relu_multipliers(op, source, out))
    return None if fits else "its output's scale is too small for its input"


def _logistic(op: OpInfo, tensors: Tensors, _: Constants) -> str | None:
    source, out = tensors[op.inputs[0]], tensors[op.outputs[0]]
    if source.constant or source.shape[1:] != out.shape[1:]:
        return f"it goes from {source.shape} to {out.shape}"
    if (out.scale[0], out.zero_point[0]) != _PROBABILITY_GRID:
        return f"its output has the scale {out.scale[0]:g} and the zero point {out.zero_point[0]}, not 1/256 and -128"
    return None if logistic_table(source, out) is not None else "its answers depend on the C library's exp"


def _reshape(op: OpInfo, tensors: Tensors, _: Constants) -> str | None:
    source, out = tensors[op.inputs[0]], tensors[op.outputs[0]]
    if source.constant or math.prod(source.shape[1:]) != math.prod(out.shape[1:]):
        return f"it goes from {source.shape} to {out.shape}"
    return _same_grid(source, out)


def _quantize(op: OpInfo, tensors: Tensors, _: Constants) -> str | None:
    source, out = tensors[op.inputs[0]], tensors[op.outputs[0]]
    if source.constant or source.shape[1:] != out.shape[1:]:
        return f"it goes from {source.shape} to {out.shape}"
    fits = _fits(255, multiplier(source.scale[0] / out.scale[0]))
    return None if fits else "its output's scale is too small for its input"


def _softmax(op: OpInfo, tensors: Tensors, _: Constants) -> str | None:
    source, out = tensors[op.inputs[0]], tensors[op.outputs[0]]
    if source.constant or source.dtype != "int8" or out.dtype != "int8" or source.shape[1:] != out.shape[1:]:
        return f"it goes from {source.dtype} {source.shape} to {out.dtype} {out.shape}"
    if (out.scale[0], out.zero_point[0]) != _PROBABILITY_GRID:
        return f"its output has the scale {out.scale[0]:g} and the zero point {out.zero_point[0]}, not 1/256 and -128"
    if op.attributes.get("unit_beta", (1,)) != (1,):
        return "its beta is not 1"
    return None if source.shape[-1] <= MAX_CLASSES else f"it has more than {MAX_CLASSES:,} classes"


def _same_grid(source: TensorInfo, out: TensorInfo) -> str | None:
    same = (source.dtype, source.scale, source.zero_point) == (out.dtype, out.scale, out.zero_point)
    return None if same else "its input and its output have different scales or zero points"


_CHECKS: dict[str, Callable[[OpInfo, Tensors, Constants], str | None]] = {
    "ADD": _pair, "AVERAGE_POOL_2D": _pool, "CONV_2D": _convolution, "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense, "MAX_POOL_2D": _pool, "QUANTIZE": _quantize, "RESHAPE": _reshape, "SOFTMAX": _softmax,
    "CONCATENATION": _concatenation, "LEAKY_RELU": _leaky_relu, "LOGISTIC": _logistic, "MEAN": _mean, "MUL": _pair,
    "SUB": _pair,
}  # fmt: skip
