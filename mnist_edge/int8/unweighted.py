"""Preconditions of ops without weights, under which the integer reference engine and generated C are exact."""

from __future__ import annotations

import math
from collections.abc import Callable

from mnist_edge.formats import OpInfo, TensorInfo
from mnist_edge.int8 import rearrangement
from mnist_edge.int8.fixed_point import multiplier
from mnist_edge.int8.operators import (
    ADD_SHIFT,
    hard_swish_table,
    leaky_relu_multipliers,
    logistic_table,
    mean_axes,
    mean_multiplier,
    product_multiplier,
    relu_multiplier,
    repeated_size,
    same_grid,
    tanh_table,
)
from mnist_edge.int8.rearrangement import Constants, Tensors

INT32_MAX = (1 << 31) - 1
# The sum of exponentials has 12 integer bits (see `mnist_edge.int8.fixed_point.softmax`).
MAX_CLASSES = 1 << 12
# Scale and zero point of the outputs of SOFTMAX and LOGISTIC.
_PROBABILITY_GRID = (1 / 256, -128)
_TANH_GRID = (1 / 128, 0)
# Smallest and largest zero point of a tensor, by its dtype.
ZERO_POINT_LIMITS = {"int8": (-128, 127), "uint8": (0, 255)}


def activation_grid(tensor: TensorInfo) -> str | None:
    """Cause if a tensor has several scales or zero points, or impossible ones."""
    if len(tensor.scale) != 1 or len(tensor.zero_point) != 1 or not 0 < tensor.scale[0] < math.inf:
        return f"{tensor.name} has no single scale and zero point"
    least, most = ZERO_POINT_LIMITS[tensor.dtype]
    if not least <= tensor.zero_point[0] <= most:
        return f"{tensor.name} has the zero point {tensor.zero_point[0]}"
    return None


def fused(op: OpInfo) -> str | None:
    """Cause if an op has an unknown activation."""
    activation = op.attributes.get("activation", (0,))[0]
    return None if activation in (0, 1, 2, 3) else f"its fused activation {activation} is unknown"


def _pair(op: OpInfo, tensors: Tensors, _: Constants) -> str | None:
    """ADD, SUB and MUL: of two computed tensors, or of one and a constant."""
    a, b, out = (tensors[name] for name in (*op.inputs[:2], op.outputs[0]))
    for end in (a, b):
        if end.constant and (end.dtype != "int8" or activation_grid(end)):
            return f"{end.name} is no int8 constant with a single scale and zero point"
    if (a.constant and b.constant) or out.shape[1:] not in [end.shape[1:] for end in (a, b) if not end.constant]:
        return f"it goes from {a.shape} and {b.shape} to {out.shape}"
    if None in (repeated_size(a, out), repeated_size(b, out)):
        return f"it takes {a.shape} and {b.shape}: only the first dimensions can be repeated"
    if op.kind == "MUL":
        fits = _fits(255 * 255, product_multiplier(a, b, out))
    else:
        fits = multiplier(2.0 * max(a.scale[0], b.scale[0]) / ((1 << ADD_SHIFT) * out.scale[0]))[1] <= 0
    return fused(op) if fits else "its output's scale is too small for its inputs"


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
    return next(filter(None, (same_grid(source, out) for source in sources)), None) or (
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


def _table(op: OpInfo, tensors: Tensors, _: Constants) -> str | None:
    """LOGISTIC, TANH and HARD_SWISH, which are computed by a table."""
    source, out = tensors[op.inputs[0]], tensors[op.outputs[0]]
    if source.constant or source.shape[1:] != out.shape[1:]:
        return f"it goes from {source.shape} to {out.shape}"
    grid = {"LOGISTIC": _PROBABILITY_GRID, "TANH": _TANH_GRID}.get(op.kind)
    if grid is None:
        return None if hard_swish_table(source, out) is not None else "its output's scale is too small for its input"
    if (out.scale[0], out.zero_point[0]) != grid:
        return (
            f"its output has the scale {out.scale[0]:g} and the zero point {out.zero_point[0]}, not "
            f"1/{round(1 / grid[0])} and {grid[1]}"
        )
    found, function = (logistic_table, "exp") if op.kind == "LOGISTIC" else (tanh_table, "tanh")
    return None if found(source, out) is not None else f"its answers depend on the C library's {function}"


def _relu(op: OpInfo, tensors: Tensors, _: Constants) -> str | None:
    source, out = tensors[op.inputs[0]], tensors[op.outputs[0]]
    if source.constant or source.shape[1:] != out.shape[1:]:
        return f"it goes from {source.shape} to {out.shape}"
    return None if _fits(255, relu_multiplier(source, out)) else "its output's scale is too small for its input"


def _reshape(op: OpInfo, tensors: Tensors, _: Constants) -> str | None:
    source, out = tensors[op.inputs[0]], tensors[op.outputs[0]]
    if source.constant or math.prod(source.shape[1:]) != math.prod(out.shape[1:]):
        return f"it goes from {source.shape} to {out.shape}"
    return same_grid(source, out)


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


CHECKS: dict[str, Callable[[OpInfo, Tensors, Constants], str | None]] = {
    "ADD": _pair, "SUB": _pair, "MUL": _pair, "MEAN": _mean, "CONCATENATION": _concatenation, "QUANTIZE": _quantize,
    "RESHAPE": _reshape, "SQUEEZE": _reshape, "SOFTMAX": _softmax, "LEAKY_RELU": _leaky_relu, "RELU": _relu,
    "RELU6": _relu, "RELU_N1_TO_1": _relu, "LOGISTIC": _table, "TANH": _table, "HARD_SWISH": _table,
    "PAD": rearrangement.problem, "TRANSPOSE": rearrangement.problem, "RESIZE_NEAREST_NEIGHBOR": rearrangement.problem,
}  # fmt: skip
