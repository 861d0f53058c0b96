"""Check of a file before an engine loads it: ops are known and in order, and tensors and windows have sensible sizes.

Each engine checks only a part of this, and reads or writes out of bounds if an unchecked part is wrong. Values (scales,
weights) are not checked here: wrong ones give wrong answers, which `verify` finds.
"""

from __future__ import annotations

import math
from typing import NoReturn

from mnist_edge.errors import ContentError
from mnist_edge.formats.model_structure import ModelStructure, OpInfo, TensorInfo

# The built-in models have half a megabyte, the largest classifiers for small boards some ten.
MAX_FILE_BYTES = 1 << 26
MAX_ELEMENTS = 1 << 26
MAX_RANK = 8
# Largest stride, dilation, window or padding, in pixels.
MAX_EXTENT = 1 << 12
_ITEM_BYTES = {
    "float16": 2, "float32": 4, "float64": 8, "bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2,
    "int32": 4, "uint32": 4, "int64": 8, "uint64": 8,
}  # fmt: skip
# Smallest allowed value of an attribute.
_LEAST = {"strides": 1, "dilations": 1, "kernel": 1, "depth_multiplier": 1, "pads": 0}

# Ops that need at least two inputs; other ops need one.
_TWO_INPUTS = frozenset(
    {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "MUL", "SUB", "MEAN", "Conv", "MatMul", "Gemm", "Add"}
)


def check(file: ModelStructure, allowed: frozenset[str]) -> None:
    """Check the structure of a file.

    Args:
        file: as its parser returned it.
        allowed: the ops that the engine may run.

    Raises:
        ContentError: the structure is not acceptable; the message names the first fault.
    """
    if len(file.inputs) != 1 or len(file.outputs) != 1:
        raise ContentError(
            f"The file has {len(file.inputs)} inputs and {len(file.outputs)} outputs.", "One of each is supported."
        )
    for tensor in file.tensors:
        _check_tensor(tensor)
    for tensor, ranks in ((file.inputs[0], (2, 3, 4)), (file.outputs[0], (2,))):
        if len(tensor.shape) not in ranks or -1 in tensor.shape[1:] or tensor.dtype not in _ITEM_BYTES:
            _refuse(
                f"{tensor.name} is {tensor.dtype} {tensor.shape}",
                "It must take one array and return one row of values.",
            )
    _check_order(file, allowed)


def _check_tensor(tensor: TensorInfo) -> None:
    shape = tensor.shape
    if len(shape) > MAX_RANK or any(size < 1 and size != -1 for size in shape):
        _refuse(f"{tensor.name} has the shape {shape}")
    elements = math.prod(abs(size) for size in shape)
    if elements > MAX_ELEMENTS:
        _refuse(f"{tensor.name} has {elements:,} elements")
    if tensor.constant:
        if tensor.dtype not in _ITEM_BYTES or -1 in shape:
            _refuse(f"the constant {tensor.name} is {tensor.dtype} {shape}")
        if tensor.size_bytes is not None and tensor.size_bytes != elements * _ITEM_BYTES[tensor.dtype]:
            _refuse(f"{tensor.name} has {tensor.size_bytes} bytes for {tensor.dtype} {shape}")
    channels = len(tensor.scale)
    axis = tensor.axis
    if channels > 1 and (axis is None or not -len(shape) <= axis < len(shape) or shape[axis] != channels):
        _refuse(f"{tensor.name} has {channels} scales for the shape {shape}")
    if len(tensor.zero_point) not in (0, 1, channels):
        _refuse(f"{tensor.name} has {len(tensor.zero_point)} zero points and {channels} scales")


def _check_order(file: ModelStructure, allowed: frozenset[str]) -> None:
    computed = {tensor.name for tensor in (*file.inputs, *(item for item in file.tensors if item.constant))}
    for op in file.ops:
        if op.kind not in allowed:
            _refuse(f"it uses the op {op.kind}", "Only the ops of image classifiers are supported.")
        required = 2 if op.kind in _TWO_INPUTS else int(op.kind != "Constant")
        if len(op.inputs) < required or "" in op.inputs[:required]:
            _refuse(f"its op {op.kind} lacks an input that it needs")
        for name in op.inputs:
            if name and name not in computed:
                _refuse(f"its op {op.kind} reads {name}, which no op before it computes")
        for name in op.outputs:
            if name in computed:
                _refuse(f"{name} is computed twice")
            computed.add(name)
        _check_attributes(op)
    if file.outputs[0].name not in computed:
        _refuse("no op computes its output")


def _check_attributes(op: OpInfo) -> None:
    for name, values in op.attributes.items():
        if name in _LEAST and not all(_LEAST[name] <= value <= MAX_EXTENT for value in values):
            _refuse(f"its op {op.kind} has the {name} {values}")


def _refuse(why: str, remedy: str = "Copy or export it again.") -> NoReturn:
    raise ContentError(f"The file cannot be used: {why}.", remedy)
