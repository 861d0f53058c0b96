"""Reorder channels so that those active together are adjacent, which lets kernels skip groups of zeros."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.formats import ModelStructure, OpInfo, TensorInfo
from mnist_edge.int8.program import ROUNDING, IntegerProgram

GROUP = 4  # neighbouring inputs that a kernel multiplies together, or skips if all are zero
_IMAGES = 64
# Most values of tensors that are kept, as int64: 128 MiB. A net with more of them for one image keeps its order.
_MOST_VALUES = 2**24
_BY_CHANNEL = ("MAX_POOL_2D", "AVERAGE_POOL_2D", "RESHAPE")


def reorder(
    file: ModelStructure, tensors: dict[str, TensorInfo], constants: dict[str, NDArray[Any]], images: NDArray[np.uint8]
) -> None:
    """Change the order of the channels between a convolution and the layer that reads it, in the weights of both.

    The outputs of the net stay the same, since sums of integers do not depend on their order.

    Args:
        file: int8. tensors, constants: of the file, by name; changed.
        images: decide which channels are non-zero together, uint8 (n, h, w, 1); the first 64 are used, or as many as
            `_MOST_VALUES` allows.
    """
    count = _images_for(tensors.values())
    if count == 0:
        return
    values = IntegerProgram(file, constants, ROUNDING).values(images[:count])
    for op in file.ops:
        reader = _only_reader(file, op, constants) if op.kind == "CONV_2D" else None
        if reader is None or _is_shared(file, op) or _is_shared(file, reader):
            continue
        out = values[op.outputs[0]]
        order = _groups((out > out.min()).reshape(-1, out.shape[-1]))
        for name in filter(None, op.inputs[1:3]):
            constants[name] = constants[name][order]
            info = tensors[name]
            if len(info.scale) > 1:
                scale, zeros = (tuple(np.asarray(item)[order].tolist()) for item in (info.scale, info.zero_point))
                tensors[name] = dataclasses.replace(info, scale=scale, zero_point=zeros)
        weights = constants[reader.inputs[1]]
        constants[reader.inputs[1]] = weights.reshape(-1, len(order))[:, order].reshape(weights.shape)


def _images_for(tensors: Iterable[TensorInfo]) -> int:
    """Number of images of which `IntegerProgram.values` is computed; 0 if it would keep too much for a single one."""
    of_one = sum(math.prod(tensor.shape[1:]) for tensor in tensors if not tensor.constant)
    return min(_IMAGES, _MOST_VALUES // of_one)


def _groups(active: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Order of the channels: the most often non-zero first, each followed by those non-zero most often with its group.

    Args:
        active: whether an output is non-zero, (n, channels).
    """
    together = active.T.astype(np.float32)
    left = list(np.argsort(-active.sum(axis=0), kind="stable"))
    order: list[int] = []
    while left:
        first = left.pop(0)
        group, any_active = [first], together[first]
        while left and len(group) < GROUP:
            following = max(left, key=lambda channel: float(together[channel] @ any_active))
            left.remove(following)
            group.append(following)
            any_active = np.maximum(any_active, together[following])
        order += group
    return np.array(order)


def _only_reader(file: ModelStructure, op: OpInfo, constants: dict[str, NDArray[Any]]) -> OpInfo | None:
    """The layer that alone reads the channels of a convolution, possibly pooled or flattened; None if there is none.

    After a RESHAPE the last dimension need not be the channels: only a dense layer whose rows hold whole pixels can
    follow.
    """
    channels, flat = len(constants[op.inputs[1]]), False
    while True:
        readers = [item for item in file.ops if op.outputs[0] in item.inputs]
        if len(readers) != 1 or op.outputs[0] == file.outputs[0].name:
            return None
        op = readers[0]
        if op.kind == "FULLY_CONNECTED":
            return op if constants[op.inputs[1]].shape[1] % channels == 0 else None
        if op.kind == "CONV_2D" and not flat:
            return op
        if op.kind not in _BY_CHANNEL or (flat and op.kind != "RESHAPE"):
            return None
        flat = flat or op.kind == "RESHAPE"


def _is_shared(file: ModelStructure, op: OpInfo) -> bool:
    """Whether another op has the same weights."""
    return any(other is not op and set(filter(None, op.inputs[1:])) & set(other.inputs) for other in file.ops)
