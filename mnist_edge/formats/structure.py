"""What a file must be before native code is given it: a graph that can be run in order, of known ops and sane sizes.

The engines check some of this, none of them all, and what they do not check they read or write out of bounds. What a
file computes with (scales, weights) is no matter of structure: that is for the gate.
"""

from __future__ import annotations

import math
from typing import NoReturn

from mnist_edge.errors import ContentError
from mnist_edge.formats.model_file import ModelFile, OpInfo, TensorInfo

# A file of ours has half a megabyte; the largest classifier for a small board some ten.
MAX_FILE_BYTES = 1 << 26
MAX_ELEMENTS = 1 << 26
MAX_RANK = 8
# Strides, dilations, windows and padding of any picture that a small board looks at.
MAX_EXTENT = 1 << 12
_ITEM_BYTES = {
    "float16": 2, "float32": 4, "float64": 8, "bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2,
    "int32": 4, "uint32": 4, "int64": 8, "uint64": 8,
}  # fmt: skip
_LEAST = {"strides": 1, "dilations": 1, "kernel": 1, "depth_multiplier": 1, "pads": 0}

_TWO_INPUTS = frozenset(
    {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "MUL", "SUB", "MEAN", "Conv", "MatMul", "Gemm", "Add"}
)


def check(file: ModelFile, allowed: frozenset[str]) -> None:
    """Check a file that a reader has found whole.

    Args:
        file: what it declares. allowed: the ops that its engine may be given.

    Raises:
        ContentError: the first thing that is wrong with it.
    """
    if len(file.inputs) != 1 or len(file.outputs) != 1:
        raise ContentError(
            f"The file has {len(file.inputs)} inputs and {len(file.outputs)} outputs.", "One of each is supported."
        )
    for tensor in file.tensors:
        _check_tensor(tensor)
    for end, ranks in ((file.inputs[0], (3, 4)), (file.outputs[0], (2,))):
        if len(end.shape) not in ranks or -1 in end.shape[1:] or end.dtype not in _ITEM_BYTES:
            _refuse(f"{end.name} is {end.dtype} {end.shape}", "It must be a classifier of grey images.")
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


def _check_order(file: ModelFile, allowed: frozenset[str]) -> None:
    known = {tensor.name for tensor in (*file.inputs, *(item for item in file.tensors if item.constant))}
    for op in file.ops:
        if op.kind not in allowed:
            _refuse(f"it uses the op {op.kind}", "Only the ops of image classifiers are supported.")
        required = 2 if op.kind in _TWO_INPUTS else int(op.kind != "Constant")
        if len(op.inputs) < required or "" in op.inputs[:required]:
            _refuse(f"its op {op.kind} has not the inputs that it needs")
        for name in op.inputs:
            if name and name not in known:
                _refuse(f"its op {op.kind} reads {name}, which nothing before it computes")
        for name in op.outputs:
            if name in known:
                _refuse(f"{name} is computed twice")
            known.add(name)
        _check_attributes(op)
    if file.outputs[0].name not in known:
        _refuse("nothing computes its output")


def _check_attributes(op: OpInfo) -> None:
    for name, values in op.attributes.items():
        if name in _LEAST and not all(_LEAST[name] <= value <= MAX_EXTENT for value in values):
            _refuse(f"its op {op.kind} has the {name} {values}")


def _refuse(why: str, remedy: str = "Copy or export it again.") -> NoReturn:
    raise ContentError(f"The file cannot be used: {why}.", remedy)
