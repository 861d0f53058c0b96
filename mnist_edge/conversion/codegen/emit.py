"""The text of the generated C: constants, and one function in which every layer of the net is a few lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.conversion.codegen import backends, misra, pointwise
from mnist_edge.conversion.codegen.expressions import address, array, structure
from mnist_edge.conversion.codegen.header import facts_line, header, prefix
from mnist_edge.conversion.codegen.order import GROUP
from mnist_edge.conversion.codegen.packing import Requantization
from mnist_edge.conversion.codegen.plan import Plan, plan
from mnist_edge.conversion.codegen.step import OFFSET, Step, layer_input
from mnist_edge.formats import Contract
from mnist_edge.int8.fixed_point import softmax_table
from mnist_edge.int8.graph import padding
from mnist_edge.int8.program import bounds
from mnist_edge.store.manifest import sha256_of

_LAYERS = ("CONV_2D", "FULLY_CONNECTED")  # what the backends compute; the rest is plain C everywhere
_WEIGHTED = (*_LAYERS, "DEPTHWISE_CONV_2D")  # ops with weights and biases
_WEIGHTS = "EDGE_ALIGNED EDGE_WEIGHTS_SECTION "  # attributes of arrays of weights


def source(content: bytes, contract: Contract, images: NDArray[np.uint8], backend: str = "all") -> str:
    """The ``.c`` of an int8 TFLite file; it needs no other file.

    Args:
        content: the file's bytes. contract: to go with it.
        images: of its kind, uint8 (n, h, w, 1), which decide what is fast, and nothing else.
        backend: a key of `backends.PARTS`.

    Raises:
        StageError: an op has no kernel.
    """
    made, name = plan(content, images, contract.pixel_scale), prefix(contract)
    if not any(step.kind in _LAYERS for step in made.steps):
        backend = "c99"  # the other backends have nothing to compute
    made.parts = backends.PARTS[backend]
    arrays: list[str] = []
    calls: list[str] = []
    for at, step in enumerate(made.steps):
        array, call = _EMITTERS[step.kind](made, step, f"{name}_{at}")
        arrays.append(f"/* {step.comment} */\n{array}" if array else "")
        calls.append(f"    /* {step.comment} */\n{call}")
    body = ("    const int backend = edge_backend();\n" if made.parts else "") + "\n".join(calls)
    kernels = backends.text(backend, _longest(made), body)
    if not made.parts:
        kernels = f"{misra.comment()}\n{kernels}"
    value = f"answer[i] = (int8_t)((int32_t)({address(made, made.answer)})[i] - 128);"
    body += f"\n    for (int32_t i = 0; i < {made.outputs}; i++) {{\n        {value}\n    }}\n"
    upper, facts = name.upper(), _facts(made, contract, sha256_of(content), backend)
    chosen = "edge_names[edge_backend()]" if made.parts else '"C99"'
    return f"""#include <string.h>

{header(facts)}
#ifdef EDGE_SHARED /* a shared object tells what it is */
{facts_line(facts)}
#endif

{kernels}
{"".join(array for array in arrays if array)}
void {name}_run(const uint8_t *image, int8_t *answer, void *scratch) {{
    uint8_t *const at = (uint8_t *)scratch;
{body}}}

void {name}_run_many(const uint8_t *images, int8_t *answers, size_t count, void *scratch) {{
    for (size_t i = 0; i < count; i++) {{
        {name}_run(&images[i * (size_t){upper}_INPUT_BYTES], &answers[i * (size_t){upper}_OUTPUT_BYTES], scratch);
    }}
}}

#ifdef EDGE_SHARED
/* What answers stand for, as numbers. */
void {name}_run_values(const uint8_t *images, float *values, size_t count, void *scratch) {{
    for (size_t i = 0; i < count; i++) {{
        int8_t answer[{upper}_OUTPUT_BYTES];
        {name}_run(images + i * {upper}_INPUT_BYTES, answer, scratch);
        for (int32_t c = 0; c < {upper}_OUTPUT_BYTES; c++) {{
            *values++ = (float)(answer[c] - {upper}_OUTPUT_ZERO) * {upper}_OUTPUT_SCALE;
        }}
    }}
}}

/* Of one image; the scratch buffer lies behind the values, a whole number of 64 bytes from their first. */
void {name}_run_value(const uint8_t *image, float *values) {{
    {name}_run_values(image, values, 1, (uint8_t *)values + (4 * {upper}_OUTPUT_BYTES + 63) / 64 * 64);
}}
#endif

const char *{name}_backend(void) {{
    return {chosen};
}}
"""


def _longest(made: Plan) -> int:
    """Largest number of 4-byte input groups in any layer."""
    return max((layer.runs * layer.groups for layer in made.layers.values()), default=0)


def constant_bytes(made: Plan) -> int:
    """Size of all constants in bytes."""
    layers = sum(layer.constant_bytes for layer in made.layers.values())
    depthwise = sum(layer.constant_bytes for layer in made.depthwise.values())
    tables = sum(4 * 256 if step.kind == "SOFTMAX" else pointwise.constant_bytes(made, step) for step in made.steps)
    return layers + depthwise + tables


def _facts(made: Plan, contract: Contract, sha256: str, backend: str) -> dict[str, Any]:
    """What the code's users need to know of it, the engine among them: see `mnist_edge.formats.c`."""
    image, answer = made.file.inputs[0], made.file.outputs[0]
    ends = {
        # The code takes pixels, whatever grid the file's input has.
        "input": {"dtype": "uint8", "shape": image.shape[1:], "scale": contract.pixel_scale, "zero_point": 0},
        "output": {
            "dtype": "int8", "shape": answer.shape[1:], "scale": answer.scale[0], "zero_point": answer.zero_point[0],
        },
    }  # fmt: skip
    used = {key for step in made.steps if step.kind in _WEIGHTED for key in step.op.inputs[1:]}
    return {
        "accuracy": None, "prefix": prefix(contract), "contract": contract.to_text(), "source_sha256": sha256,
        "backend": backend, "scratch": max(made.scratch, 1), "constant_bytes": constant_bytes(made),
        "parameters": sum(item.size for key, item in made.constants.items() if key in used), **ends,
    }  # fmt: skip


def _layer(made: Plan, step: Step, name: str) -> tuple[str, str]:
    layer = made.layers[step.target]
    output = layer.requantization
    text = array("int8_t", f"{name}_weights", layer.weights.ravel(), _WEIGHTS)
    bias = array("int32_t", f"{name}_bias", output.bias)
    if "arm" in made.parts:
        signed = array("int32_t", f"{name}_bias", layer.signed_bias)
        bias = f"#if EDGE_SIGNED\n{signed}#else\n{bias}#endif\n"
    text += bias
    text += array("int32_t", f"{name}_multiplier", output.multiplier)
    text += array("int8_t", f"{name}_shift", output.shift)
    text += array("int32_t", f"{name}_run_at", layer.run_at)
    layout = layer_input(step, made.tensors)
    (height, width), (step_y, step_x) = layout.pixels, layout.step
    dispatched = f"EDGE_LAYER({name})\n" if made.parts else ""
    row_out = (width + step.border[2] + step.border[3]) * layer.channels
    fields = {
        "height": height, "width": width, "out_row": row_out, "step_y": step_y, "step_x": step_x, "pool": step.pool,
        "runs": layer.runs, "groups": layer.groups, "run_at": f"{name}_run_at", "channels": layer.channels,
        "blocks": layer.blocks, "weights": f"{name}_weights", **_requantization(output, name),
    }  # fmt: skip
    text += f"{structure('edge_layer', name, fields)}{dispatched}\n"
    pad, where = _padding(made, step)
    to = address(made, step.target)
    if any(step.border):
        size, at = made.buffers[step.target].size, step.border[0] * row_out + step.border[2] * layer.channels
        pad += f"    (void)memset({to}, {output.zero}, {size - GROUP}); /* the next layer's padding */\n"
        to = address(made, step.target, at)
    compute = f"{name}_compute(backend, " if made.parts else f"edge_layer_plain(&{name}, "
    return text, f"{pad}    {compute}{where}, {to});\n"


def _requantization(output: Requantization, name: str) -> dict[str, object]:
    """The fields of a layer's structure that say how its sums become outputs."""
    arrays = {key: f"{name}_{key}" for key in ("bias", "multiplier", "shift")}
    return {**arrays, "rounds": output.rounds, "zero": output.zero, "low": output.low, "high": output.high}


def _padding(made: Plan, step: Step) -> tuple[str, str]:
    """The call that copies a step's input with its padding, and the C expression of where the kernel then reads it."""
    where = address(made, step.sources[0])
    if step.padded is None:
        return "", where
    source, padded = made.tensors[step.op.inputs[0]], address(made, step.padded)
    if not any(step.pad):
        note = "kernels read up to 3 bytes behind their input"
        return f"    (void)memcpy({padded}, {where}, {int(np.prod(source.shape[1:]))}); /* {note} */\n", padded
    _, height, width, channels = source.shape
    numbers = ", ".join(map(str, (height, width, channels, *step.pad, source.zero_point[0] + OFFSET)))
    return f"    edge_pad({where}, {padded}, {numbers});\n", padded


def _depthwise(made: Plan, step: Step, name: str) -> tuple[str, str]:
    source, out = made.tensors[step.op.inputs[0]], made.tensors[step.target]
    layer = made.depthwise[step.target]
    output = layer.requantization
    channels = layer.weights.shape[-1]
    text = array("int8_t", f"{name}_weights", layer.weights.ravel(), _WEIGHTS)
    text += array("int32_t", f"{name}_bias", output.bias)
    text += array("int32_t", f"{name}_multiplier", output.multiplier)
    text += array("int8_t", f"{name}_shift", output.shift)
    fields = {"pool": 1, "channels": channels, "weights": f"{name}_weights", **_requantization(output, name)}
    text += f"{structure('edge_layer', name, fields)}\n"
    pad, where = _padding(made, step)
    row = (source.shape[2] + step.pad[2] + step.pad[3]) * source.shape[-1]
    numbers = (
        *out.shape[1:3], row, source.shape[-1], *step.op.attributes["strides"], *step.op.attributes["dilations"],
        *layer.weights.shape[:2], source.zero_point[0] + OFFSET,
    )  # fmt: skip
    return (
        text,
        f"{pad}    edge_depthwise(&{name}, {where}, {address(made, step.target)}, {', '.join(map(str, numbers))});\n",
    )


def _pool(made: Plan, step: Step, _: str) -> tuple[str, str]:
    source, out = made.tensors[step.op.inputs[0]], made.tensors[step.target]
    kernel, strides = step.op.attributes["kernel"], step.op.attributes["strides"]
    same = bool(step.op.attributes["same_padding"][0])
    before = [padding(source.shape[1 + at], kernel[at], strides[at], 1, same)[1] for at in (0, 1)]
    low, high = bounds(step.op, out)
    numbers = (*source.shape[1:], *out.shape[1:3], *kernel, *strides, *before, low + OFFSET, high + OFFSET)
    average = int(step.kind == "AVERAGE_POOL_2D")
    ends = f"{address(made, step.sources[0])}, {address(made, step.target)}"
    return "", f"    edge_pool({average}, {ends}, {', '.join(map(str, numbers))});\n"


def _softmax(made: Plan, step: Step, name: str) -> tuple[str, str]:
    source = made.tensors[step.op.inputs[0]]
    table, counted = softmax_table(source.scale[0])
    *others, classes = source.shape[1:]
    ends = f"{address(made, step.sources[0])}, {address(made, step.target)}"
    call = f"    edge_softmax({ends}, {int(np.prod(others))}, {classes}, {name}_exp, {counted});\n"
    return array("int32_t", f"{name}_exp", table) + "\n", call


_EMITTERS: dict[str, Callable[[Plan, Step, str], tuple[str, str]]] = {
    "ADD": pointwise.add, "AVERAGE_POOL_2D": _pool, "CONCATENATION": pointwise.concatenate, "CONV_2D": _layer,
    "DEPTHWISE_CONV_2D": _depthwise, "FULLY_CONNECTED": _layer, "LEAKY_RELU": pointwise.look_up,
    "LOGISTIC": pointwise.look_up, "MAX_POOL_2D": _pool, "MEAN": pointwise.mean, "MUL": pointwise.multiply,
    "PIXELS": pointwise.look_up, "QUANTIZE": pointwise.look_up, "SOFTMAX": _softmax, "SUB": pointwise.add,
}  # fmt: skip
