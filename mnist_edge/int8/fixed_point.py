"""TensorFlow Lite's integer arithmetic on int64 arrays: multipliers, both roundings, and the softmax of int8 logits.

Sources: TensorFlow Lite's quantization specification, and the public headers of gemmlowp (``fixedpoint``) and of
TensorFlow Lite's kernels (``common``, ``softmax``). The results are bit for bit the same.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
# Rounding of a product with a multiplier: once at the end, or to 32 bits and again after the shift.
ONCE, TWICE = "once", "twice"
_INT32 = (-(1 << 31), (1 << 31) - 1)
# exp(-2**k) for k = -2 .. 4, as 32-bit fractions.
_EXP_OF_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
_EXP_OF_MINUS_EIGHTH, _THIRD = 1895147668, 715827883
_48_OVER_17, _MINUS_32_OVER_17 = 1515870810, -1010580540
DIFFERENCE_BITS, SUM_BITS = 5, 12  # integer bits of a logit's distance from the largest, and of the sum of exponentials


def multiplier(real: float) -> tuple[int, int]:
    """A positive number as (m, shift), which stands for m * 2**(shift - 31); m has 31 bits. (0, 0) if it is tiny."""
    if real == 0:
        return 0, 0
    fraction, shift = math.frexp(real)
    value = math.floor(fraction * (1 << 31) + 0.5)
    if value == 1 << 31:
        value, shift = value // 2, shift + 1
    return (0, 0) if shift < -31 else (value, shift)


def multiply(x: Integers, m: Any, shift: Any, rounding: str) -> Integers:
    """X * m * 2**(shift - 31), rounded.

    Args:
        x: integers that fit 32 bits. m, shift: see `multiplier`; arrays are broadcast. rounding: `ONCE` or `TWICE`.
    """
    m, shift = np.asarray(m, np.int64), np.asarray(shift, np.int64)
    if rounding == ONCE:
        total = 31 - shift
        once: Integers = (x * m + (np.int64(1) << (total - 1))) >> total
        return once
    return divide_by_power(high_product(x << np.maximum(shift, 0), m), np.maximum(-shift, 0))


def high_product(a: Integers, b: Any) -> Integers:
    """A * b / 2**31, rounded to nearest, ties upwards."""
    product = a * np.asarray(b, np.int64)
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    # Division by 2**31 that truncates towards zero, as in C.
    return np.where(nudged >= 0, nudged >> 31, -(-nudged >> 31))


def divide_by_power(x: Integers, exponent: Any) -> Integers:
    """X / 2**exponent, rounded to nearest, ties away from zero."""
    exponent = np.asarray(exponent, np.int64)
    mask = (np.int64(1) << exponent) - 1
    threshold = (mask >> 1) + (x < 0)
    rounded: Integers = (x >> exponent) + ((x & mask) > threshold)
    return rounded


def softmax_table(scale: float) -> tuple[Integers, int]:
    """Exp of a logit's distance from the largest one, for the distances 0, 1, .. 255 steps.

    Args:
        scale: of the logits, beta 1.

    Returns:
        int64 (256,), fractions of 31 bits; and the number of distances that count: at larger ones the result is 0.
    """
    real = min(scale * (1 << (31 - DIFFERENCE_BITS)), (1 << 31) - 1.0)
    m, shift = multiplier(real)
    radius = math.floor(((1 << DIFFERENCE_BITS) - 1) * 2.0 ** (31 - DIFFERENCE_BITS) / 2.0**shift)
    distances = -np.arange(256, dtype=np.int64)
    counted = min(radius, 255) + 1
    scaled = np.zeros(256, np.int64)
    scaled[:counted] = high_product(distances[:counted] << shift, m)
    return np.where(np.arange(256) < counted, _exp(scaled), 0), counted


def softmax(logits: Integers, scale: float) -> Integers:
    """int8 probabilities of int8 logits, on the grid 1/256 with zero point -128.

    Args:
        logits: int64 (n, classes), from -128 to 127. scale: of the logits.

    Returns:
        int64 (n, classes), from -128 to 127.
    """
    table, counted = softmax_table(scale)
    distance = logits.max(axis=1, keepdims=True) - logits
    exponentials = table[distance]
    total = divide_by_power(exponentials, SUM_BITS).sum(axis=1, keepdims=True)
    headroom = 31 - np.floor(np.log2(total.astype(np.float64))).astype(np.int64)
    reciprocal = _one_over_one_plus((total << headroom) - (1 << 31))
    product = high_product(reciprocal * np.ones_like(exponentials), exponentials)
    value = divide_by_power(product, SUM_BITS - headroom + 31 - 8) - 128
    return np.where(distance < counted, np.clip(value, -128, 127), -128)


def _exp(x: Integers) -> Integers:
    """Exp of fixed-point numbers not above 0, with `DIFFERENCE_BITS` integer bits; a fraction of 31 bits."""
    fraction_bits = 31 - DIFFERENCE_BITS
    quarter = np.int64(1) << (fraction_bits - 2)
    rest = (x & (quarter - 1)) - quarter
    result = _exp_of_last_quarter(rest << DIFFERENCE_BITS)
    remainder = rest - x
    for at, factor in enumerate(_EXP_OF_POWERS):
        result = np.where(remainder & (np.int64(1) << (fraction_bits - 2 + at)), high_product(result, factor), result)
    return np.where(x == 0, _INT32[1], result)


def _exp_of_last_quarter(a: Integers) -> Integers:
    """Exp on [-1/4, 0), by its Taylor polynomial of degree 4 around -1/8."""
    x = a + (1 << 28)
    x2 = high_product(x, x)
    x3, x4 = high_product(x2, x), high_product(x2, x2)
    tail = divide_by_power(high_product(divide_by_power(x4, 2) + x3, _THIRD) + x2, 1)
    return _EXP_OF_MINUS_EIGHTH + high_product(x + tail, np.int64(_EXP_OF_MINUS_EIGHTH))


def _one_over_one_plus(a: Integers) -> Integers:
    """1 / (1 + a) for fractions of 31 bits in [0, 1), by three Newton-Raphson steps."""
    total = a + _INT32[1]
    half = (total + np.where(total >= 0, 1, -1)) // 2
    x = _48_OVER_17 + high_product(half, np.int64(_MINUS_32_OVER_17))
    for _ in range(3):
        error = (1 << 29) - high_product(half, x)
        x = x + _saturate(high_product(x, error) << 2)
    return _saturate(x << 1)


def _saturate(x: Integers) -> Integers:
    return np.clip(x, *_INT32)
