"""C code of convolutions, dense layers, pooling and softmax, and of the padding before them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from mnist_edge.conversion.codegen.expressions import address, array, structure
from mnist_edge.conversion.codegen.kernel_table import FOUR_BITS
from mnist_edge.conversion.codegen.order import GROUP
from mnist_edge.conversion.codegen.packing import Requantization
from mnist_edge.conversion.codegen.plan import Plan
from mnist_edge.conversion.codegen.step import OFFSET, Step, layer_input
from mnist_edge.int8.fixed_point import softmax_table
from mnist_edge.int8.graph import padding
from mnist_edge.int8.program import bounds

_WEIGHTS = "EDGE_ALIGNED EDGE_WEIGHTS_SECTION "  # attributes of arrays of weights


def conv_dense(made: Plan, step: Step) -> tuple[str, str]:
    """C code of a convolution or dense layer: its constants, and its call."""
    name, layer = step.name, made.layers[step.target]
    fields = _conv_dense_fields(made, step)
    bias = array("int32_t", f"{name}_bias", layer.requantization.bias)
    attributes = f"EDGE_WORDS {_WEIGHTS}" if "cortex_m.c" in made.kernels else _WEIGHTS
    text = (
        array("int8_t", f"{name}_weights", layer.stored_weights, attributes) + bias
        + _arrays(layer.requantization, name) + array("int32_t", f"{name}_run_at", layer.run_at)
        + structure("edge_conv_dense_layer", f"{name}_layer", fields)
    )  # fmt: skip
    call, source = _padding(made, step)
    target = address(made, step.target)
    if any(step.border):
        # The border that the next layer reads is set before the output is written inside it.
        size = made.buffers[step.target].size - GROUP
        call += f"    (void)memset({target}, {layer.requantization.zero}, {size}); /* padding of the next layer */\n"
        inside = step.border[0] * fields["out_row"] + step.border[2] * layer.channels
        target = address(made, step.target, inside)
    if made.has_backends:
        text += f"EDGE_LAYER({name})\n"
        return text, f"{call}    {name}_compute(backend, {source}, {target});\n"
    return text, f"{call}    edge_conv_dense(&{name}_layer, {source}, {target});\n"


def dense_tile(made: Plan, step: Step, images: int, source: str, target: str) -> tuple[str, str]:
    """C code of a dense layer for several images, one after the other in memory: its constants, and its call."""
    name = f"{step.name}_tile"
    text = structure("edge_conv_dense_layer", f"{name}_layer", {**_conv_dense_fields(made, step), "width": images})
    if made.has_backends:
        return f"{text}EDGE_LAYER({name})\n", f"    {name}_compute(backend, {source}, {target});\n"
    return text, f"    edge_conv_dense(&{name}_layer, {source}, {target});\n"


def _conv_dense_fields(made: Plan, step: Step) -> dict[str, Any]:
    """Initializers of an ``edge_conv_dense_layer`` structure in C, by field."""
    name, layer, layout = step.name, made.layers[step.target], layer_input(step, made.tensors)
    (height, width), (step_y, step_x) = layout.pixels, layout.step
    group_bytes = {"group_bytes": layer.group_bytes} if FOUR_BITS in made.kernels else {}
    return {
        "height": height, "width": width, "out_row": (width + step.border[2] + step.border[3]) * layer.channels,
        "step_y": step_y, "step_x": step_x, "pool": step.pool, "runs": layer.runs, "groups": layer.groups,
        "run_at": f"{name}_run_at", "channels": layer.channels, "blocks": layer.blocks,
        **group_bytes, "weights": f"{name}_weights", "output": _output(layer.requantization, name),
    }  # fmt: skip


def depthwise(made: Plan, step: Step) -> tuple[str, str]:
    """C code of a depthwise convolution: its constants, and its call."""
    name, layer = step.name, made.depthwise[step.target]
    source, out = made.tensors[step.op.inputs[0]], made.tensors[step.target]
    row, depth = (source.shape[2] + step.pad[2] + step.pad[3]) * source.shape[3], source.shape[3]
    strides, dilations = step.op.attributes["strides"], step.op.attributes["dilations"]
    fields = {
        "size": _braced(out.shape[1:]), "kernel": _braced(layer.weights.shape[:2]),
        "step": _braced((strides[0] * row, strides[1] * depth)),
        "dilation": _braced((dilations[0] * row, dilations[1] * depth)), "repeats": out.shape[3] // depth,
        "weights": f"{name}_weights",
        "output": _output(layer.requantization, name),
    }  # fmt: skip
    text = (
        array("int8_t", f"{name}_weights", layer.weights.ravel(), _WEIGHTS)
        + array("int32_t", f"{name}_bias", layer.requantization.bias) + _arrays(layer.requantization, name)
        + structure("edge_depthwise_layer", f"{name}_layer", fields)
    )  # fmt: skip
    call, start = _padding(made, step)
    if "depthwise_avx2.c" in made.kernels:
        return f"{text}EDGE_DEPTHWISE({name})\n", (
            f"{call}    {name}_compute(backend, {start}, {address(made, step.target)});\n"
        )
    return text, f"{call}    edge_depthwise(&{name}_layer, {start}, {address(made, step.target)});\n"


def pool(made: Plan, step: Step) -> tuple[str, str]:
    """C code of MAX_POOL_2D or AVERAGE_POOL_2D: its sizes, and its call."""
    source, out = made.tensors[step.op.inputs[0]], made.tensors[step.target]
    kernel, strides = step.op.attributes["kernel"], step.op.attributes["strides"]
    same = bool(step.op.attributes["same_padding"][0])
    top, left = (padding(source.shape[1 + at], kernel[at], strides[at], 1, same)[1] for at in (0, 1))
    low, high = bounds(step.op, out)
    fields = {
        "average": int(step.kind == "AVERAGE_POOL_2D"),
        "in_height": source.shape[1], "in_width": source.shape[2], "channels": source.shape[3],
        "height": out.shape[1], "width": out.shape[2], **_pair("kernel", kernel), **_pair("stride", strides),
        "top": top, "left": left, "low": low + OFFSET, "high": high + OFFSET,
    }  # fmt: skip
    ends = f"{address(made, step.sources[0])}, {address(made, step.target)}"
    return structure("edge_pool_layer", f"{step.name}_layer", fields), f"    edge_pool(&{step.name}_layer, {ends});\n"


def softmax(made: Plan, step: Step) -> tuple[str, str]:
    """C code of SOFTMAX: its table of exponentials, and its call."""
    source = made.tensors[step.op.inputs[0]]
    table, counted = softmax_table(source.scale[0])
    *rows, classes = source.shape[1:]
    text = array("int32_t", f"{step.name}_exponentials", table)
    ends = f"{address(made, step.sources[0])}, {address(made, step.target)}"
    call = f"edge_softmax({ends}, {math.prod(rows)}, {classes}, {step.name}_exponentials, {counted})"
    return text, f"    {call};\n"


def _output(output: Requantization, name: str) -> dict[str, object]:
    """Initializers of an ``edge_requantization`` structure in C, by field."""
    arrays = {key: f"{name}_{key}" for key in ("bias", "multiplier", "shift")}
    return {**arrays, "rounds": output.rounds, "zero": output.zero, "low": output.low, "high": output.high}


def _arrays(output: Requantization, name: str) -> str:
    multipliers = array("int32_t", f"{name}_multiplier", output.multiplier)
    return multipliers + array("int8_t", f"{name}_shift", output.shift)


def _braced(values: Iterable[int]) -> str:
    return f"{{{', '.join(map(str, values))}}}"


def _pair(name: str, values: Any) -> dict[str, object]:
    return {f"{name}_y": values[0], f"{name}_x": values[1]}


def _padding(made: Plan, step: Step) -> tuple[str, str]:
    """C code that copies a step's input with its padding, and the address of the input that the kernel then reads."""
    where = address(made, step.sources[0])
    if step.padded is None:
        return "", where
    source, padded = made.tensors[step.op.inputs[0]], address(made, step.padded)
    if not step.pads:
        note = "the kernel reads up to 3 bytes behind its input"
        return f"    (void)memcpy({padded}, {where}, {math.prod(source.shape[1:])}); /* {note} */\n", padded
    (_, height, width, depth), (top, bottom, left, right) = source.shape, step.pad
    row = (left + width + right) * depth
    inside = address(made, step.padded, top * row + left * depth)
    zero, size = source.zero_point[0] + OFFSET, (top + height + bottom) * row
    fill = f"    (void)memset({padded}, {zero}, {size}); /* padding */\n"
    return f"{fill}    edge_copy_rows({where}, {inside}, {height}, {width * depth}, {row});\n", padded
