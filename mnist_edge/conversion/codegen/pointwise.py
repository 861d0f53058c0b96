"""C code of steps without weights: look-up tables, sums and products of two tensors, means, concatenation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.conversion.codegen.expressions import address, array
from mnist_edge.conversion.codegen.plan import PIXELS_TABLE, Plan
from mnist_edge.conversion.codegen.step import OFFSET, Step, stored_offset
from mnist_edge.int8.fixed_point import multiplier
from mnist_edge.int8.operators import ADD_SHIFT, mean_axes, mean_multiplier, product_multiplier, repeated_size
from mnist_edge.int8.program import bounds, table

_TABLES = ("LEAKY_RELU", "LOGISTIC", "PIXELS", "QUANTIZE")


def look_up(made: Plan, step: Step, name: str) -> tuple[str, str]:
    """C code of a step in which each output depends on one input alone: a look-up table."""
    size = math.prod(made.tensors[step.target].shape[1:])
    ends = f"{address(made, step.sources[0])}, {address(made, step.target)}"
    return array("uint8_t", f"{name}_table", _table(made, step)), f"    edge_lookup({ends}, {size}, {name}_table);\n"


def _table(made: Plan, step: Step) -> NDArray[Any]:
    if step.kind == "PIXELS":
        return made.constants[PIXELS_TABLE]
    source, out = made.tensors[step.op.inputs[0]], made.tensors[step.target]
    return table(step.op, source, out) + stored_offset(out)


def add(made: Plan, step: Step, name: str) -> tuple[str, str]:
    """C code of ADD or SUB, of two tensors or of a tensor and a constant."""
    a, b, out = (made.tensors[key] for key in (*step.op.inputs[:2], step.target))
    twice = 2.0 * max(a.scale[0], b.scale[0])
    numbers: list[int] = [-1 if step.kind == "SUB" else 1]
    for end in (a, b):
        numbers += [end.zero_point[0] + OFFSET, *multiplier(end.scale[0] / twice)]
    numbers += multiplier(twice / ((1 << ADD_SHIFT) * out.scale[0]))
    return _pair("edge_add", made, step, name, numbers)


def multiply(made: Plan, step: Step, name: str) -> tuple[str, str]:
    """C code of MUL, of two tensors or of a tensor and a constant."""
    a, b, out = (made.tensors[key] for key in (*step.op.inputs[:2], step.target))
    numbers = [a.zero_point[0] + OFFSET, b.zero_point[0] + OFFSET, *product_multiplier(a, b, out)]
    return _pair("edge_multiply", made, step, name, numbers)


def _pair(kernel: str, made: Plan, step: Step, name: str, numbers: list[int]) -> tuple[str, str]:
    out = made.tensors[step.target]
    text, operands, computed = "", [], iter(step.sources)
    for key, letter in zip(step.op.inputs[:2], "ab", strict=True):
        if made.tensors[key].constant:
            text += array("uint8_t", f"{name}_{letter}", made.constants[key].astype(np.int64).ravel() + OFFSET)
        where = f"{name}_{letter}" if made.tensors[key].constant else address(made, next(computed))
        operands.append(f"{where}, {repeated_size(made.tensors[key], out)}")
    low, high = bounds(step.op, out)
    tail = [math.prod(out.shape[1:]), *numbers, out.zero_point[0] + OFFSET, low + OFFSET, high + OFFSET]
    ends = ", ".join([*operands, address(made, step.target)])
    return text, f"    {kernel}({ends}, {', '.join(map(str, tail))});\n"


def mean(made: Plan, step: Step, _: str) -> tuple[str, str]:
    """C code of MEAN over neighbouring dimensions."""
    source, out = made.tensors[step.op.inputs[0]], made.tensors[step.target]
    axes = mean_axes(made.constants[step.op.inputs[1]], len(source.shape))
    before, count, after = (
        math.prod(source.shape[first:last])
        for first, last in ((1, axes[0]), (axes[0], axes[-1] + 1), (axes[-1] + 1, len(source.shape)))
    )
    m, shift = mean_multiplier(source, out, count)
    numbers = (before, count, after, source.zero_point[0] + OFFSET, m, shift, out.zero_point[0] + OFFSET)
    ends = f"{address(made, step.sources[0])}, {address(made, step.target)}"
    return "", f"    edge_mean({ends}, {', '.join(map(str, numbers))});\n"


def concatenate(made: Plan, step: Step, _: str) -> tuple[str, str]:
    """C code of CONCATENATION: one call for each input, which copies its rows to where they lie in the output's."""
    out = made.tensors[step.target]
    axis = step.op.attributes["axis"][0] % len(out.shape)
    rows, row, at, calls = math.prod(out.shape[1:axis]), math.prod(out.shape[axis:]), 0, ""
    for key, source in zip(filter(None, step.op.inputs), step.sources, strict=True):
        length = math.prod(made.tensors[key].shape[axis:])
        calls += (
            f"    edge_copy_rows({address(made, source)}, {address(made, step.target, at)}, {rows}, {length}, {row});\n"
        )
        at += length
    return "", calls


def constant_bytes(made: Plan, step: Step) -> int:
    """Size of a step's constants in bytes."""
    if step.kind in _TABLES:
        return 256
    keys = step.op.inputs[:2] if step.kind in ("ADD", "SUB", "MUL") else ()
    return sum(made.constants[key].size for key in keys if made.tensors[key].constant)
