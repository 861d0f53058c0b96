"""Execution plan of generated C: its steps and the layout of the scratch buffer."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.conversion.codegen.kernel_table import CONV_DENSE_KINDS, WITH_FOUR_BITS, kernels_for
from mnist_edge.conversion.codegen.order import GROUP, reorder
from mnist_edge.conversion.codegen.packing import (
    PackedDepthwise,
    PackedLayer,
    choose_four_bits,
    pack_depthwise,
    pack_layer,
)
from mnist_edge.conversion.codegen.step import Buffer, Step, layer_input, place, stored_offset
from mnist_edge.errors import StageError, UnsupportedOpError
from mnist_edge.formats import ModelStructure, OpInfo, TensorInfo, tflite
from mnist_edge.int8 import graph
from mnist_edge.int8.graph import padding
from mnist_edge.int8.program import bounds
from mnist_edge.int8.quantize import Port, pixel_lookup

_REMEDY = "Run it as TFLite or ONNX, or replace the op: docs/microcontrollers.md lists the ops that have kernels."
_MACROS = ("linux", "unix", "i386", "mips", "sparc", "sun")  # of compilers, in lower case
# Names of the input as it is stored, if that is not what the caller passes, and of the table from pixels to it.
STORED_INPUT, PIXELS_TABLE = "stored input", "pixels table"


@dataclass(frozen=True)
class Plan:
    """Execution plan: the steps in order, their constants, and their buffers in the scratch buffer.

    Attributes:
        tensors, constants: by name, with channels in the order in which the kernels read them.
        buffers: by the name of the tensor or of the padded input that they hold.
        scratch: size of the scratch buffer in bytes.
        answer: the buffer that holds the output, as unsigned activations.
        layers, depthwise: constants of layers by the target of their step.
        backend: a key of `kernel_table.CONV_DENSE`. kernels: files of the kernels that the steps need.
        takes_pixels: whether the code takes uint8 pixels, and not the values of the file's input.
    """

    file: ModelStructure
    tensors: dict[str, TensorInfo]
    constants: dict[str, NDArray[Any]]
    steps: list[Step]
    buffers: dict[str, Buffer]
    scratch: int
    answer: str
    layers: dict[str, PackedLayer]
    depthwise: dict[str, PackedDepthwise]
    backend: str
    kernels: list[str]
    takes_pixels: bool

    @property
    def has_backends(self) -> bool:
        """Whether there is a choice among kernels when the code runs."""
        return "dispatch.c" in self.kernels


def plan(content: bytes, inputs: NDArray[Any] | None, pixel_scale: float | None, backend: str) -> Plan:
    """The plan of an int8 TFLite file.

    Args:
        content: the file. inputs: typical inputs (n, ...), pixels or values of the file's input; None if there are
            none.
        pixel_scale: factor from pixels to its real input; None if the code takes the values of the file's input.
        backend: a key of `kernel_table.CONV_DENSE`.

    Raises:
        StageError: the file is not int8, or `int8.graph.problem` finds an op that no kernel computes exactly.
    """
    whole = tflite.read(content)
    file = graph.integer_part(whole)
    tensors = {tensor.name: tensor for tensor in file.tensors}
    dtypes = file.inputs[0].dtype, file.outputs[0].dtype
    if pixel_scale is not None and dtypes[0] != "uint8":
        raise StageError("C code takes pixels as uint8.", "Export the model with mnist-edge.")
    if not set(dtypes) <= {"int8", "uint8"}:
        raise StageError(f"The file's input is {dtypes[0]}, and its output {dtypes[1]}.", "Name an int8 TFLite file.")
    constants = tflite.constants(content)
    why = graph.problem(whole, constants)
    if why:
        raise UnsupportedOpError(f"C code cannot compute this model: {why}.", _REMEDY)
    _widen_groups(file, tensors, constants)
    first = file.inputs[0]
    lookup = None
    if pixel_scale is not None:
        port = Port(np.dtype(first.dtype), first.shape[1:], first.scale[0], first.zero_point[0])
        lookup = pixel_lookup(port, pixel_scale)
    if inputs is not None:
        reorder(file, tensors, constants, inputs if lookup is None else lookup[inputs].astype(np.uint8))
    if lookup is not None:
        constants[PIXELS_TABLE] = lookup
    if lookup is not None or first.dtype == "int8":
        tensors[STORED_INPUT] = dataclasses.replace(first, name=STORED_INPUT)
    steps, alias = _steps(file, tensors)
    answer = alias.get(file.outputs[0].name, file.outputs[0].name)
    buffers = _buffers(tensors, steps, answer)
    if answer not in buffers:
        raise UnsupportedOpError("C code cannot compute this model: its output is its input.", "Export another model.")
    scratch = place(list(buffers.values()))
    packed = [step for step in steps if step.kind in CONV_DENSE_KINDS]
    layers = {step.target: pack_layer(step, tensors, constants) for step in packed}
    if backend in WITH_FOUR_BITS:
        layers = choose_four_bits(layers)
    depthwise = {
        step.target: pack_depthwise(step, tensors, constants) for step in steps if step.kind == "DEPTHWISE_CONV_2D"
    }
    if not packed:
        backend = "c99"  # the other backends have nothing to compute
    has_four_bits = any(layer.has_four_bits for layer in layers.values())
    kernels = kernels_for([step.kind for step in steps], any(step.pads for step in steps), backend, has_four_bits)
    return Plan(
        file, tensors, constants, steps, buffers, scratch, answer, layers, depthwise, backend, kernels,
        takes_pixels=pixel_scale is not None,
    )  # fmt: skip


def _widen_groups(file: ModelStructure, tensors: dict[str, TensorInfo], constants: dict[str, NDArray[Any]]) -> None:
    """Make grouped convolutions ordinary ones: weights between channels of different groups are zero.

    This takes more memory and time than kernels for groups would, and no code.

    Args:
        file: int8. tensors, constants: of the file, by name; changed.
    """
    for op in file.ops:
        if op.kind != "CONV_2D":
            continue
        name, depth = op.inputs[1], tensors[op.inputs[0]].shape[3]
        weights = constants[name]
        groups = depth // weights.shape[3]
        if groups > 1:
            wide = np.zeros((*weights.shape[:3], depth), weights.dtype)
            for channels, part in zip(
                np.split(np.arange(len(weights)), groups), np.split(np.arange(depth), groups), strict=True
            ):
                wide[channels[:, None], :, :, part[None, :]] = weights[channels].transpose(0, 3, 1, 2)
            constants[name], tensors[name] = wide, dataclasses.replace(tensors[name], shape=wide.shape)


def _steps(file: ModelStructure, tensors: dict[str, TensorInfo]) -> tuple[list[Step], dict[str, str]]:
    """The steps, and aliases: for each tensor that shares the bytes of another, the name of the other."""
    alias: dict[str, str] = {}
    readers: dict[str, list[OpInfo]] = {}
    for op in file.ops:
        for name in op.inputs:
            readers.setdefault(name, []).append(op)
    steps: list[Step] = []
    if STORED_INPUT in tensors:
        name = file.inputs[0].name
        alias[name] = STORED_INPUT
        is_signed = tensors[name].dtype == "int8"
        kind, comment = ("SIGNED", "the input, as it is stored") if is_signed else (
            "PIXELS", "pixels in the scale of the input",
        )  # fmt: skip
        layer = "input" if is_signed else "pixels"
        steps.append(Step(kind, OpInfo(kind, (name,), (layer,)), comment, [name], STORED_INPUT))
    fused: set[str] = set()
    for op in file.ops:
        out = op.outputs[0]
        if out in fused:
            continue
        is_copy = op.kind == "QUANTIZE" and _same_bytes(tensors[op.inputs[0]], tensors[out])
        if is_copy or op.kind in ("RESHAPE", "SQUEEZE"):
            alias[out] = alias.get(op.inputs[0], op.inputs[0])
            continue
        sources = [alias.get(name, name) for name in op.inputs if name and not tensors[name].constant]
        step = Step(op.kind, op, _comment(op, tensors), sources, out)
        if op.kind == "CONV_2D":
            after = readers.get(out, [])
            if len(after) == 1 and out != file.outputs[0].name and _is_plain_pool(after[0], tensors[out]):
                # The largest sum has the largest output: if sums are pooled, only a quarter of them is requantized.
                step.pool, step.target = 2, after[0].outputs[0]
                step.comment += f", then {after[0].kind} 2 x 2"
                step.limits = _meet(bounds(op, tensors[out]), bounds(after[0], tensors[after[0].outputs[0]]))
                fused.add(after[0].outputs[0])
        if op.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            _pad(step, tensors)
        if sources == [file.inputs[0].name] and not step.padded and _reads_behind(step, tensors):
            step.padded = f"{step.target} image"
        steps.append(step)
    _leave_borders(steps, alias.get(file.outputs[0].name, file.outputs[0].name))
    _name(steps)
    return steps, alias


def _name(steps: list[Step]) -> None:
    """Give every step the beginning of its C identifiers: the name of its layer, made unique.

    Identifiers end in ``_`` and a word, so that none is a keyword.
    """
    taken: set[str] = set()
    for step in steps:
        layer = re.sub(r"\W", "_", _layer_name(step.op), flags=re.ASCII)
        # C reserves names that begin with _, the names of kernels begin with edge_, and some words are macros.
        is_macro = layer == layer.upper() or layer in _MACROS
        if not layer[:1].isalpha() or layer.lower().startswith("edge") or is_macro:
            layer = f"net_{layer}"
        candidates = itertools.chain([layer], (f"{layer}_{step.kind.lower()}{at}" for at in ("", *range(2, 10_000))))
        step.name = next(name for name in candidates if name not in taken)
        taken.add(step.name)


def _layer_name(op: OpInfo) -> str:
    """Name of the layer that an op belongs to: the first part of its output's name."""
    return op.outputs[0].split("/")[0]


def _leave_borders(steps: list[Step], answer: str) -> None:
    """Let a convolution write its output into the padded input of the only step that reads it; this saves a copy.

    So does the step that stores the net's int8 input.

    Args:
        steps: changed. answer: the tensor that is the net's output, which needs no border.
    """
    for step in steps:
        following = [other for other in steps if step.target in other.sources]
        # The border is laid out for the shape of this step's output: a reader behind a RESHAPE has another.
        name = step.op.inputs[0] if step.kind == "SIGNED" else step.target
        direct = len(following) == 1 and following[0].op.inputs[0] == name and step.target != answer
        if step.kind in ("CONV_2D", "SIGNED") and direct and following[0].padded:
            step.border, following[0].padded = following[0].pad, None


def _reads_behind(step: Step, tensors: dict[str, TensorInfo]) -> bool:
    """Whether the kernel, which reads groups of four bytes, would read behind the end of its input.

    A buffer in scratch has `GROUP` more bytes than its tensor for this. The caller's image does not.
    """
    if step.kind not in CONV_DENSE_KINDS:
        return False
    layout = layer_input(step, tensors)
    groups = -(-layout.width // GROUP)
    rows, columns = (size * step.pool - 1 for size in layout.pixels)
    end = rows * layout.step[0] + columns * layout.step[1] + layout.run_at[-1] + groups * GROUP
    return bool(end > np.prod(tensors[step.op.inputs[0]].shape[1:]))


def _meet(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    """Limits of a value that is within two pairs of limits."""
    return max(a[0], b[0]), min(a[1], b[1])


def _is_plain_pool(op: OpInfo, source: TensorInfo) -> bool:
    """Whether an op is the maximum of 2 x 2 pixels without overlap and padding, which a convolution can compute too."""
    return (
        op.kind == "MAX_POOL_2D" and op.attributes["kernel"] == op.attributes["strides"] == (2, 2)
        and (op.attributes["same_padding"] == (0,) or all(size % 2 == 0 for size in source.shape[1:3]))
    )  # fmt: skip


def _same_bytes(source: TensorInfo, out: TensorInfo) -> bool:
    """Whether two tensors store equal numbers as equal bytes (q + 128 for int8, q for uint8)."""
    zeros = [end.zero_point[0] + stored_offset(end) for end in (source, out)]
    return source.scale == out.scale and zeros[0] == zeros[1]


def _pad(step: Step, tensors: dict[str, TensorInfo]) -> None:
    """Set a convolution's padding; if there is any, let the step copy its input into a padded buffer."""
    source, weights = tensors[step.op.inputs[0]], tensors[step.op.inputs[1]]
    strides, dilations = step.op.attributes["strides"], step.op.attributes["dilations"]
    same = bool(step.op.attributes["same_padding"][0])
    sides = [
        padding(source.shape[1 + at], weights.shape[1 + at], strides[at], dilations[at], same)[1:] for at in (0, 1)
    ]
    step.pad = (*sides[0], *sides[1])
    if any(step.pad):
        step.padded = f"{step.target} padded"


def _buffers(tensors: dict[str, TensorInfo], steps: list[Step], answer: str) -> dict[str, Buffer]:
    """Buffers of all steps without their offsets, by the names of tensors and padded inputs."""
    buffers: dict[str, Buffer] = {}
    for at, step in enumerate(steps):
        for source in step.sources:
            if source in buffers:
                buffers[source].last = at
        if step.padded:
            height, width, channels = (1, 1, *tensors[step.op.inputs[0]].shape[1:])[-3:]
            size = (height + step.pad[0] + step.pad[1]) * (width + step.pad[2] + step.pad[3]) * channels
            size = max(size, math.prod(tensors[step.op.inputs[0]].shape[1:]))
            buffers[step.padded] = Buffer(f"{step.name}_padded", size + GROUP, at, at)
        # Kernels read their input in groups of four bytes, up to three bytes behind its end.
        top, bottom, left, right = step.border
        height, width, channels = (1, 1, 1, *tensors[step.target].shape[1:])[-3:]
        size = (height + top + bottom) * (width + left + right) * channels
        # A tensor of more than three dimensions has no border.
        size = max(size, math.prod(tensors[step.target].shape[1:]))
        buffers[step.target] = Buffer(f"{step.name}_output", size + GROUP, at, at)
    if answer in buffers:
        buffers[answer].last = len(steps)
    return buffers


def _comment(op: OpInfo, tensors: dict[str, TensorInfo]) -> str:
    shapes = [" x ".join(map(str, tensors[name].shape[1:])) for name in (op.inputs[0], op.outputs[0])]
    kernel = op.attributes.get("kernel", ())
    if op.kind.endswith("CONV_2D"):
        kernel = tensors[op.inputs[1]].shape[1:3]
    parts = [f"{_layer_name(op)}: {op.kind}", f"{shapes[0]} to {shapes[1]}"]
    parts += [" x ".join(map(str, kernel))]
    parts += [f"stride {strides}" for strides in [op.attributes.get("strides", (1, 1))] if strides != (1, 1)]
    parts += [("", "ReLU", "ReLU -1 to 1", "ReLU6")[op.attributes.get("activation", (0,))[0]]]
    return ", ".join(filter(None, parts))
