"""Constants of TFLite's int8 ops without weights: means, sums and products of tensors, LEAKY_RELU and LOGISTIC.

The sources are LiteRT 2.3's reference kernels: ``reduce.h``, ``mul.cc``, ``sub.cc``, ``activations.cc``, ``common.h``.
Some of their multipliers are computed from float32 scales in float32, others in float64; these functions do the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.formats import OpInfo, TensorInfo
from mnist_edge.int8.fixed_point import Integers, multiplier

ADD_SHIFT = 20  # bits by which the operands of ADD and SUB are shifted left before they are scaled


def mean_axes(axes: NDArray[Any], rank: int) -> list[int]:
    """Dimensions over which MEAN goes, ascending, each once, counted from the first."""
    return sorted({int(axis) % rank for axis in axes.ravel()})


def mean_multiplier(source: TensorInfo, out: TensorInfo, count: int) -> tuple[int, int]:
    """Multiplier that rescales a sum of ``count`` values to the scale of their mean, as (m, shift).

    The reference kernels of LiteRT 2.3 and tflite-runtime 2.14 divide the 31-bit multiplier by the count, truncating,
    and multiply the sum once. Others differ by one at times: LiteRT's default kernels (XNNPACK), and versions that use
    ``integer_ops/mean.h``, which scales the sum first and then divides it, rounding both times.
    """
    m, shift = multiplier(source.scale[0] / out.scale[0])
    power = min(count.bit_length() - 1, 32, 31 + shift)
    return (m << power) // count, shift - power


def product_multiplier(a: TensorInfo, b: TensorInfo, out: TensorInfo) -> tuple[int, int]:
    """Multiplier that rescales a product to the output's scale, as (m, shift)."""
    return multiplier(float(np.float32(a.scale[0]) * np.float32(b.scale[0]) / np.float32(out.scale[0])))


def leaky_relu_multipliers(op: OpInfo, source: TensorInfo, out: TensorInfo) -> tuple[tuple[int, int], tuple[int, int]]:
    """Multipliers that rescale negative and non-negative values to the output's scale, as (m, shift) each."""
    slope = np.float32(source.scale[0]) * np.float32(op.numbers["alpha"]) / np.float32(out.scale[0])
    return multiplier(float(slope)), multiplier(float(np.float32(source.scale[0]) / np.float32(out.scale[0])))


def logistic_table(source: TensorInfo, out: TensorInfo) -> Integers | None:
    """Look-up table of LOGISTIC for the inputs -128 to 127; None if it depends on a C library's float32 ``exp``.

    LiteRT computes this table with the C library of the machine. That of glibc errs by less than 0.502 units in the
    last place; here the table must be the same for every error below 0.6.
    """
    values = np.arange(-128, 128) - source.zero_point[0]
    real = np.float32(source.scale[0]) * values.astype(np.float32)
    with np.errstate(over="ignore"):
        power = np.exp(-real.astype(np.float64))
        tenth = 0.1 * np.spacing(np.minimum(power, np.finfo(np.float32).max).astype(np.float32))
        candidates = [(power + error).astype(np.float32) for error in (0, -tenth, tenth)]
    tables = []
    for found in candidates:
        share = np.float32(1) / (np.float32(1) + found) * (np.float32(1) / np.float32(out.scale[0]))
        rounded = np.floor(share.astype(np.float64) + 0.5).astype(np.int64)
        tables.append(np.clip(rounded + out.zero_point[0], -128, 127))
    return tables[0] if all((table == tables[0]).all() for table in tables) else None


def repeated_size(operand: TensorInfo, out: TensorInfo) -> int | None:
    """Number of elements of an operand of ADD, SUB or MUL, which repeats along the first dimensions of the output.

    None if it repeats in another way.
    """
    sizes = operand.shape[1:]
    if operand.constant:
        if len(operand.shape) > len(out.shape) or (len(operand.shape) == len(out.shape) and operand.shape[0] != 1):
            return None
        sizes = operand.shape[1:] if len(operand.shape) == len(out.shape) else operand.shape
    elif len(operand.shape) != len(out.shape):
        return None
    while sizes and sizes[0] == 1:
        sizes = sizes[1:]
    whole = out.shape[1:]
    return int(np.prod(sizes, dtype=np.int64)) if sizes == whole[len(whole) - len(sizes) :] else None
