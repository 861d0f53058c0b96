"""PAD, TRANSPOSE and RESIZE_NEAREST_NEIGHBOR: ops whose outputs are copies of inputs, at places that are constant.

The source is LiteRT 2.3's reference kernels: ``pad.h``, ``transpose.h``, ``resize_nearest_neighbor.h``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.formats import OpInfo, TensorInfo
from mnist_edge.int8.fixed_point import Integers
from mnist_edge.int8.operators import same_grid

# Largest number of dimensions, with the batch.
MAX_RANK = 5
FILL = -1  # in `places`: the output is the zero point

Tensors = dict[str, TensorInfo]
Constants = dict[str, NDArray[Any]]


def problem(op: OpInfo, tensors: Tensors, constants: Constants) -> str | None:
    """Cause if an op's second input is not constant, or does not fit its input and output; None if it does."""
    source, out, given = tensors[op.inputs[0]], tensors[op.outputs[0]], constants.get(op.inputs[1])
    rank = len(source.shape)
    if source.constant or not 2 <= rank <= MAX_RANK or given is None or given.dtype.kind != "i":
        return f"its input has the shape {source.shape}, or its second input is no constant"
    wanted = {"PAD": (rank, 2), "TRANSPOSE": (rank,), "RESIZE_NEAREST_NEIGHBOR": (2,)}[op.kind]
    if given.shape != wanted:
        return f"its second input has the shape {given.shape}, not {wanted}"
    sizes = _SIZES[op.kind](source, given)
    if sizes is None:
        return f"it rearranges {source.shape} by {given.tolist()}: images cannot be mixed or added"
    return same_grid(source, out) if sizes == out.shape[1:] else f"it gives {sizes}, and the file says {out.shape[1:]}"


def _padded(source: TensorInfo, given: NDArray[Any]) -> tuple[int, ...] | None:
    if given[0].any() or (given < 0).any() or (given > 1 << 16).any():
        return None
    return tuple(size + int(pad.sum()) for size, pad in zip(source.shape[1:], given[1:], strict=True))


def _transposed(source: TensorInfo, given: NDArray[Any]) -> tuple[int, ...] | None:
    if given[0] != 0 or sorted(given.tolist()) != list(range(len(source.shape))):
        return None
    return tuple(source.shape[axis] for axis in given[1:])


def _resized(source: TensorInfo, given: NDArray[Any]) -> tuple[int, ...] | None:
    if len(source.shape) != 4 or (given < 1).any():
        return None
    return (int(given[0]), int(given[1]), source.shape[3])


_SIZES = {"PAD": _padded, "TRANSPOSE": _transposed, "RESIZE_NEAREST_NEIGHBOR": _resized}


def places(op: OpInfo, source: TensorInfo, out: TensorInfo, given: NDArray[Any]) -> Integers:
    """For each element of the output (without the batch), its place in the flat input, or `FILL`.

    Args:
        op, source, out: for which `problem` is None. given: the op's second input.
    """
    numbers = np.arange(math.prod(source.shape[1:])).reshape(source.shape[1:])
    if op.kind == "PAD":
        return np.pad(numbers, given[1:], constant_values=FILL)
    if op.kind == "TRANSPOSE":
        return numbers.transpose(given[1:] - 1)
    rows, columns = (nearest(op, source.shape[at], out.shape[at]) for at in (1, 2))
    found: Integers = numbers[rows][:, columns]
    return found


def nearest(op: OpInfo, size: int, resized: int) -> Integers:
    """The row or column of the input for each of the ``resized`` ones of the output."""
    corners, centres = (bool(op.attributes.get(key, (0,))[0]) for key in ("align_corners", "half_pixel_centers"))
    ends = (size - 1, resized - 1) if corners and resized > 1 else (size, resized)
    scale = np.float32(ends[0]) / np.float32(ends[1])
    at = (np.arange(resized, dtype=np.float32) + np.float32(0.5 if centres else 0)) * scale
    # Ties away from zero, as C rounds.
    found = np.floor(at.astype(np.float64) + 0.5) if corners else np.floor(at)
    clipped: Integers = np.clip(found.astype(np.int64), 0, size - 1)
    return clipped
