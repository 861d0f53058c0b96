"""C code that answers several images at once: a weight of a dense layer that is loaded serves four of them.

Only shared objects have it, since it takes stack memory for the activations of all images. A dense layer of many images
is the convolution of a row with as many pixels, so that it needs no kernel of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mnist_edge.conversion.codegen import layers
from mnist_edge.conversion.codegen.expressions import address
from mnist_edge.conversion.codegen.header import parameters
from mnist_edge.conversion.codegen.order import GROUP
from mnist_edge.conversion.codegen.plan import Plan
from mnist_edge.conversion.codegen.step import Step, layer_input

IMAGES = 16  # that are answered at once
_STACK = 1 << 16  # bytes that the activations of these images may take


def dense_steps(made: Plan) -> range:
    """Positions of the net's last dense layers that follow each other directly.

    Empty if there are none, if the activations of `IMAGES` images are too large for the stack, or if a later step reads
    more than their output: what other steps have computed of an image is overwritten by that of the next one.
    """
    steps = made.steps
    stop = next((at + 1 for at in reversed(range(len(steps))) if _takes_one_row(made, steps[at])), 0)
    start = stop
    while start and _takes_one_row(made, steps[start - 1]) and (start == stop or _follows(steps, start)):
        start -= 1
    known = {step.target for step in steps[max(stop - 1, 0) :]}
    reads_more = any(name not in known for step in steps[stop:] for name in step.sources)
    size = sum(_width(made, step) + made.layers[step.target].channels for step in steps[start:stop])
    return range(start, stop) if IMAGES * size <= _STACK and not reads_more else range(0)


def text(made: Plan, calls: Sequence[str], facts: dict[str, Any], answer: str) -> str:
    """The function ``NAME_run_tile`` and its layers; empty if `dense_steps` is.

    Args:
        made: the plan. calls: the C code of each of its steps. facts: see `mnist_edge.formats.c`.
        answer: the C code that writes the answer of an image.
    """
    dense = dense_steps(made)
    if not dense:
        return ""
    name, upper, ends = facts["prefix"], facts["prefix"].upper(), parameters(facts)
    steps = [made.steps[at] for at in dense]
    head, end = "".join(calls[: dense.start]), "".join(calls[dense.stop :])
    first, last = steps[0], steps[-1]
    rows = [f"{ends.input}s" if not head and first.padded is None else "rows_0"]
    rows += [f"rows_{at}" for at in range(1, len(steps) + 1)]
    widths = [_width(made, first), *(made.layers[step.target].channels for step in steps)]
    arrays = "".join(
        f"    uint8_t {row}[{IMAGES * width + GROUP}];\n"
        for row, width in zip(rows, widths, strict=True) if row.startswith("rows")
    )  # fmt: skip
    definitions, products = "", ""
    for step, source, target in zip(steps, rows[:-1], rows[1:], strict=True):
        definition, product = layers.dense_tile(made, step, IMAGES, source, target)
        definitions, products = definitions + definition, products + product
    image = f"        const {ends.input_type} *const {ends.input} = &{ends.input}s[i * {upper}_INPUT_BYTES];\n"
    gathered = ""
    if rows[0] == "rows_0":
        copy = f"        memcpy(&rows_0[i * {widths[0]}], {address(made, first.sources[0])}, {widths[0]});\n"
        gathered = _loop(f"{image}{_indented(head)}{copy}")
    given = f"        {ends.output_type} *const answer = &answers[i * {upper}_OUTPUT_BYTES];\n"
    result = f"        memcpy({address(made, last.target)}, &{rows[-1]}[i * {widths[-1]}], {widths[-1]});\n"
    body = f"{gathered}{products}{_loop(f'{given}{result}{_indented(end + answer)}')}"
    choice = "    const int backend = edge_backend();\n" if made.has_backends else ""
    return f"""{definitions}
/* As {name}_run for {IMAGES} {ends.input}s. Dense layers take them together, as the pixels of one row: a weight that is
 * loaded serves four of them. */
static void {name}_run_tile(const {ends.input_type} *{ends.input}s, {ends.output_type} *answers, void *scratch) {{
{choice}    uint8_t *const memory = (uint8_t *)scratch;
{_pointers(made, body)}{arrays}{body}}}

"""


def _takes_one_row(made: Plan, step: Step) -> bool:
    """Whether a step is a dense layer of one row, whose output the next step takes as it is."""
    is_dense = step.kind == "FULLY_CONNECTED" and layer_input(step, made.tensors).pixels == (1, 1)
    return is_dense and not any(step.border) and not any(step.pad)


def _follows(steps: Sequence[Step], at: int) -> bool:
    """Whether a step reads nothing but the output of the one before it."""
    return steps[at].sources == [steps[at - 1].target] and steps[at].padded is None


def _width(made: Plan, step: Step) -> int:
    """Number of inputs of a dense layer."""
    return layer_input(step, made.tensors).width


def _pointers(made: Plan, code: str) -> str:
    """Definitions of the buffers that C code names."""
    named = set(re.findall(r"\w+", code))
    return "".join(
        f"    uint8_t *const {item.pointer} = &memory[{item.at}];\n"
        for item in made.buffers.values() if item.pointer in named
    )  # fmt: skip


def _loop(body: str) -> str:
    return f"    for (size_t i = 0; i < {IMAGES}; i++) {{\n{body}    }}\n"


def _indented(code: str) -> str:
    return "".join(f"    {line}" if line.strip() else line for line in code.splitlines(keepends=True))
