"""C code of steps whose outputs are copies of inputs: PAD, TRANSPOSE and RESIZE_NEAREST_NEIGHBOR."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mnist_edge.conversion.codegen.expressions import address, array, structure
from mnist_edge.conversion.codegen.plan import Plan
from mnist_edge.conversion.codegen.step import OFFSET, Step
from mnist_edge.int8.rearrangement import MAX_RANK, nearest


def pad(made: Plan, step: Step) -> tuple[str, str]:
    """C code of PAD: a copy of the input, inside of an output that is filled with the zero point."""
    source, out = made.tensors[step.op.inputs[0]], made.tensors[step.target]
    before = [int(pad[0]) for pad in made.constants[step.op.inputs[1]][1:]]
    steps = _steps(out.shape[1:])
    inside = address(made, step.target, sum(at * size for at, size in zip(before, steps, strict=True)))
    fill = (
        f"    (void)memset({address(made, step.target)}, {out.zero_point[0] + OFFSET}, {math.prod(out.shape[1:])});\n"
    )
    text, call = _copy(made, step, (source.shape[1:], _steps(source.shape[1:]), steps), inside)
    return text, fill + call


def transpose(made: Plan, step: Step) -> tuple[str, str]:
    """C code of TRANSPOSE: a copy in the order of the output, with the distances between the input's values."""
    source, out = made.tensors[step.op.inputs[0]], made.tensors[step.target]
    steps = _steps(source.shape[1:])
    order = [steps[axis - 1] for axis in made.constants[step.op.inputs[1]][1:].tolist()]
    return _copy(made, step, (out.shape[1:], order, _steps(out.shape[1:])), address(made, step.target))


def resize(made: Plan, step: Step) -> tuple[str, str]:
    """C code of RESIZE_NEAREST_NEIGHBOR: its row and column of the input for each of the output, and its call."""
    source, out = made.tensors[step.op.inputs[0]], made.tensors[step.target]
    rows, columns = (nearest(step.op, source.shape[at], out.shape[at]) for at in (1, 2))
    fields = {
        "height": out.shape[1], "width": out.shape[2], "in_width": source.shape[2], "channels": out.shape[3],
        "rows": f"{step.name}_rows", "columns": f"{step.name}_columns",
    }  # fmt: skip
    text = array("int32_t", f"{step.name}_rows", rows) + array("int32_t", f"{step.name}_columns", columns)
    text += structure("edge_resize_layer", f"{step.name}_layer", fields)
    ends = f"{address(made, step.sources[0])}, {address(made, step.target)}"
    return text, f"    edge_resize(&{step.name}_layer, {ends});\n"


def constant_bytes(made: Plan, step: Step) -> int:
    """Size of a step's arrays in bytes."""
    return 4 * sum(made.tensors[step.target].shape[1:3]) if step.kind == "RESIZE_NEAREST_NEIGHBOR" else 0


def _steps(shape: Sequence[int]) -> list[int]:
    """Distance of neighbouring values along each dimension."""
    return [math.prod(shape[at + 1 :]) for at in range(len(shape))]


def _copy(made: Plan, step: Step, layout: Sequence[Sequence[int]], target: str) -> tuple[str, str]:
    """Constants and call of a copy.

    Args:
        layout: sizes, and distances of the values in the input and in the output, by dimension. target: in C.
    """
    missing = MAX_RANK - 1 - len(layout[0])
    rows = zip((1, 0, 0), layout, strict=True)
    texts = ["{" + ", ".join(map(str, [filler] * missing + [*values])) + "}" for filler, values in rows]
    fields = dict(zip(("size", "in_step", "out_step"), texts, strict=True))
    text = structure("edge_rearrange_layer", f"{step.name}_layer", fields)
    return text, f"    edge_rearrange(&{step.name}_layer, {address(made, step.sources[0])}, {target});\n"
