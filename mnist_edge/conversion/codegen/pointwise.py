"""C code of steps without weights: look-up tables, sums and products of two tensors, means, concatenation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.conversion.codegen.expressions import address, array, structure
from mnist_edge.conversion.codegen.plan import PIXELS_TABLE, Plan
from mnist_edge.conversion.codegen.step import OFFSET, Step, stored_offset
from mnist_edge.int8.fixed_point import multiplier
from mnist_edge.int8.operators import ADD_SHIFT, mean_axes, mean_multiplier, product_multiplier, repeated_size
from mnist_edge.int8.program import bounds, table

_TABLES = (
    "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "PIXELS", "QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1", "TANH",
)  # fmt: skip


def look_up(made: Plan, step: Step) -> tuple[str, str]:
    """C code of a step in which each output depends on one input alone: its table, and its call."""
    size = math.prod(made.tensors[step.target].shape[1:])
    ends = f"{address(made, step.sources[0])}, {address(made, step.target)}"
    table = array("uint8_t", f"{step.name}_table", _table(made, step))
    return table, f"    edge_lookup({ends}, {size}, {step.name}_table);\n"


def _table(made: Plan, step: Step) -> NDArray[Any]:
    if step.kind == "PIXELS":
        return made.constants[PIXELS_TABLE]
    source, out = made.tensors[step.op.inputs[0]], made.tensors[step.target]
    return table(step.op, source, out) + stored_offset(out)


def store(made: Plan, step: Step) -> tuple[str, str]:
    """C code that stores the net's int8 input plus 128, with the padding that its reader needs."""
    tensor, (top, bottom, left, right) = made.tensors[step.target], step.border
    if not any(step.border):
        return "", f"    edge_store(input, {address(made, step.target)}, 1, {math.prod(tensor.shape[1:])}, 0);\n"
    _, height, width, depth = tensor.shape
    row = (left + width + right) * depth
    zero, size = tensor.zero_point[0] + OFFSET, (top + height + bottom) * row
    fill = f"    (void)memset({address(made, step.target)}, {zero}, {size}); /* padding */\n"
    inside = address(made, step.target, top * row + left * depth)
    return "", f"{fill}    edge_store(input, {inside}, {height}, {width * depth}, {row});\n"


def add(made: Plan, step: Step) -> tuple[str, str]:
    """C code of ADD or SUB, of two tensors or of a tensor and a constant: its constants, and its call."""
    a, b, out = (made.tensors[key] for key in (*step.op.inputs[:2], step.target))
    twice = 2.0 * max(a.scale[0], b.scale[0])
    fields: dict[str, object] = {"sign": -1 if step.kind == "SUB" else 1}
    for letter, operand in (("a", a), ("b", b)):
        m, shift = multiplier(operand.scale[0] / twice)
        zero = operand.zero_point[0] + OFFSET
        fields |= {f"{letter}_zero": zero, f"{letter}_multiplier": m, f"{letter}_shift": shift}
    return _pair("edge_add", made, step, fields, multiplier(twice / ((1 << ADD_SHIFT) * out.scale[0])))


def multiply(made: Plan, step: Step) -> tuple[str, str]:
    """C code of MUL, of two tensors or of a tensor and a constant: its constants, and its call."""
    a, b, out = (made.tensors[key] for key in (*step.op.inputs[:2], step.target))
    fields: dict[str, object] = {"a_zero": a.zero_point[0] + OFFSET, "b_zero": b.zero_point[0] + OFFSET}
    return _pair("edge_multiply", made, step, fields, product_multiplier(a, b, out))


def _pair(
    kernel: str, made: Plan, step: Step, fields: dict[str, object], m_and_shift: tuple[int, int]
) -> tuple[str, str]:
    """C code of a step with two operands.

    Args:
        kernel: the name of the C function; the structure of its parameters has this name followed by ``_layer``.
        fields: fields that only this kernel's structure has. m_and_shift: multiplier that gives the output's scale.
    """
    out, computed = made.tensors[step.target], iter(step.sources)
    text, operands, sizes = "", [], []
    for key in step.op.inputs[:2]:
        operand = made.tensors[key]
        sizes.append(repeated_size(operand, out))
        if operand.constant:
            operands.append(f"{step.name}_constant")
            text += array("uint8_t", operands[-1], made.constants[key].astype(np.int64).ravel() + OFFSET)
        else:
            operands.append(address(made, next(computed)))
    low, high = bounds(step.op, out)
    fields = {
        "size": math.prod(out.shape[1:]), "a_size": sizes[0], "b_size": sizes[1], **fields,
        "multiplier": m_and_shift[0], "shift": m_and_shift[1],
        "zero": out.zero_point[0] + OFFSET, "low": low + OFFSET, "high": high + OFFSET,
    }  # fmt: skip
    text += structure(f"{kernel}_layer", f"{step.name}_layer", fields)
    ends = ", ".join([*operands, address(made, step.target)])
    return text, f"    {kernel}(&{step.name}_layer, {ends});\n"


def mean(made: Plan, step: Step) -> tuple[str, str]:
    """C code of MEAN over neighbouring dimensions: its sizes, and its call."""
    source, out = made.tensors[step.op.inputs[0]], made.tensors[step.target]
    axes = mean_axes(made.constants[step.op.inputs[1]], len(source.shape))
    before, count, after = (
        math.prod(source.shape[first:last])
        for first, last in ((1, axes[0]), (axes[0], axes[-1] + 1), (axes[-1] + 1, len(source.shape)))
    )
    m, shift = mean_multiplier(source, out, count)
    fields = {
        "before": before, "count": count, "after": after, "in_zero": source.zero_point[0] + OFFSET,
        "multiplier": m, "shift": shift, "zero": out.zero_point[0] + OFFSET,
    }  # fmt: skip
    ends = f"{address(made, step.sources[0])}, {address(made, step.target)}"
    return structure("edge_mean_layer", f"{step.name}_layer", fields), f"    edge_mean(&{step.name}_layer, {ends});\n"


def concatenate(made: Plan, step: Step) -> tuple[str, str]:
    """C code of CONCATENATION: one call for each input, which copies its rows to their places in the output."""
    out = made.tensors[step.target]
    axis = step.op.attributes["axis"][0] % len(out.shape)
    rows, row, at, calls = math.prod(out.shape[1:axis]), math.prod(out.shape[axis:]), 0, ""
    for key, source in zip(filter(None, step.op.inputs), step.sources, strict=True):
        length = math.prod(made.tensors[key].shape[axis:])
        ends = f"{address(made, source)}, {address(made, step.target, at)}"
        calls += f"    edge_copy_rows({ends}, {rows}, {length}, {row});\n"
        at += length
    return "", calls


def constant_bytes(made: Plan, step: Step) -> int:
    """Size of a step's constants in bytes."""
    if step.kind in _TABLES:
        return 256
    keys = step.op.inputs[:2] if step.kind in ("ADD", "SUB", "MUL") else ()
    return sum(made.constants[key].size for key in keys if made.tensors[key].constant)
