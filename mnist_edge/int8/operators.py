"""Constants of TFLite's int8 ops without weights: means, sums and products of tensors, and functions of one number.

The sources are LiteRT 2.3's reference kernels: ``reduce.h``, ``mul.cc``, ``sub.cc``, ``activations.cc``,
``hard_swish.h``, ``common.h``.
Some of their multipliers are computed from float32 scales in float32, others in float64; these functions do the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.formats import OpInfo, TensorInfo
from mnist_edge.int8.fixed_point import Integers, divide_by_power, multiplier

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


def relu_multiplier(source: TensorInfo, out: TensorInfo) -> tuple[int, int]:
    """Multiplier that rescales a number to the output's scale, as (m, shift)."""
    return multiplier(float(np.float32(source.scale[0]) / np.float32(out.scale[0])))


def leaky_relu_multipliers(op: OpInfo, source: TensorInfo, out: TensorInfo) -> tuple[tuple[int, int], tuple[int, int]]:
    """Multipliers that rescale negative and non-negative values to the output's scale, as (m, shift) each."""
    slope = np.float32(source.scale[0]) * np.float32(op.numbers["alpha"]) / np.float32(out.scale[0])
    return multiplier(float(slope)), relu_multiplier(source, out)


def logistic_table(source: TensorInfo, out: TensorInfo) -> Integers | None:
    """Look-up table of LOGISTIC for the inputs -128 to 127; None if it depends on a C library's float32 ``exp``.

    LiteRT computes this table with the C library of the machine. That of glibc errs by less than 0.502 units in the
    last place; here the table must be the same for every error below 0.6.
    """
    real = _real_inputs(source)
    with np.errstate(over="ignore"):
        power = np.exp(-real.astype(np.float64))
    one = np.float32(1)
    return _agreed_table([one / (one + found) for found in _with_errors(power, 0.1)], out)


def tanh_table(source: TensorInfo, out: TensorInfo) -> Integers | None:
    """Look-up table of TANH, as `logistic_table`; glibc's ``tanhf`` errs by at most 2 units, here 2.5 are allowed."""
    return _agreed_table(_with_errors(np.tanh(_real_inputs(source).astype(np.float64)), 2.5), out)


def _real_inputs(source: TensorInfo) -> NDArray[np.float32]:
    values = np.arange(-128, 128) - source.zero_point[0]
    return np.float32(source.scale[0]) * values.astype(np.float32)


def _with_errors(exact: NDArray[np.float64], units: float) -> list[NDArray[np.float32]]:
    """Float32 numbers that are exact, too small and too large by a number of units in the last place."""
    with np.errstate(over="ignore"):
        error = units * np.spacing(np.minimum(np.abs(exact), np.finfo(np.float32).max).astype(np.float32))
        return [(exact + step).astype(np.float32) for step in (0, -error, error)]


def _agreed_table(candidates: list[NDArray[np.float32]], out: TensorInfo) -> Integers | None:
    """Real outputs on the grid of the output; None if the candidates differ there."""
    tables = []
    for share in candidates:
        steps = (share * (np.float32(1) / np.float32(out.scale[0]))).astype(np.float64)
        rounded = (np.sign(steps) * np.floor(np.abs(steps) + 0.5)).astype(np.int64)
        tables.append(np.clip(rounded + out.zero_point[0], -128, 127))
    return tables[0] if all((table == tables[0]).all() for table in tables) else None


def hard_swish_table(source: TensorInfo, out: TensorInfo) -> Integers | None:
    """Look-up table of HARD_SWISH for the inputs -128 to 127; None if the output's scale is too small.

    The computation has 16 bits (``hard_swish.h``): inputs are on a grid that is 128 times finer.
    """
    fine = np.float32(1 / 128) * np.float32(source.scale[0])
    m, shift = multiplier(float(fine / np.float32(out.scale[0])))
    slope, slope_shift = multiplier(float(fine / np.float32(3 / 32768)))
    if shift > 0:
        return None
    value = (np.arange(-128, 128) - source.zero_point[0]) << 7
    share = value
    if slope_shift > 0:
        share = _int16(share << (slope_shift - 1))
    share = _high16(share, _upper_half(slope))
    if slope_shift > 0:
        share = _int16(share << 1)
    share = divide_by_power(share, max(-slope_shift, 0))
    share = (share + (1 << 15)) >> 1
    product = share * _high16(value, _upper_half(m))
    truncated = np.sign(product) * (np.abs(product) >> 15)
    return np.clip(divide_by_power(truncated, -shift) + out.zero_point[0], -128, 127)


def _int16(x: Integers) -> Integers:
    return np.clip(x, -(1 << 15), (1 << 15) - 1)


def _upper_half(m: int) -> int:
    """A multiplier of 31 bits as one of 15 bits, rounded."""
    return min((m + (1 << 15)) >> 16, (1 << 15) - 1)


def _high16(a: Integers, b: int) -> Integers:
    """A * b / 2**15, rounded to nearest, ties upwards."""
    nudged = a * b + np.where(a * b >= 0, 1 << 14, 1 - (1 << 14))
    found: Integers = np.sign(nudged) * (np.abs(nudged) >> 15)
    return found


def same_grid(source: TensorInfo, out: TensorInfo) -> str | None:
    """Cause if two tensors have different dtypes, scales or zero points."""
    same = (source.dtype, source.scale, source.zero_point) == (out.dtype, out.scale, out.zero_point)
    return None if same else "its input and its output have different scales or zero points"


def repeated_size(operand: TensorInfo, out: TensorInfo) -> int | None:
    """Number of elements of an operand of ADD, SUB or MUL, which repeats along the first dimensions of the output.

    None if it repeats in another way. The first dimension of an activation of fewer dimensions is the batch, too.
    """
    sizes = operand.shape[1:]
    if operand.constant:
        if len(operand.shape) > len(out.shape) or (len(operand.shape) == len(out.shape) and operand.shape[0] != 1):
            return None
        sizes = operand.shape[1:] if len(operand.shape) == len(out.shape) else operand.shape
    elif len(operand.shape) > len(out.shape):
        return None
    while sizes and sizes[0] == 1:
        sizes = sizes[1:]
    whole = out.shape[1:]
    return int(np.prod(sizes, dtype=np.int64)) if sizes == whole[len(whole) - len(sizes) :] else None
