"""How many labels quantization is expected to change, from the float model's own margins."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

# Signal-to-quantization-noise ratio of the logits that a healthy int8 file has at least, in dB. One rounding to b bits
# has 6.02 b + 10.8 dB relative to the squared range; a tensor whose range is 8 times its RMS value has 18 dB less:
# 41 dB with 8 bits. A net rounds every activation and every weight tensor: ten such noises in a row cost 10 dB. The
# rest is for logits with a common offset and for labels that tie on the output grid of 1/256. The lowest ratio that
# explains the changed labels of a healthy file was 26.2 dB, on validation images: benchmarks/results/gate_zoo.md.
SQNR_DB = 25.0
LEAST_PROBABILITY = 1e-30


def expected_changes(probabilities: NDArray[np.float32], sqnr_db: float = SQNR_DB) -> float:
    """Expected number of changed labels if the logits carry noise at this signal-to-quantization-noise ratio.

    The logits are the logarithms of the probabilities, up to a constant for each image, which the variance removes:

        signal = mean over images of the variance of log(p) over the classes
        noise  = signal * 10 ** (-sqnr_db / 10), the variance of independent normal noise on every logit
        change = sum over images of Phi(-(log(p1) - log(p2)) / sqrt(2 * noise))

    p1 and p2 are the two largest probabilities of an image, and Phi is the normal distribution function: the noise of
    the difference of two logits has twice the variance. Other classes are left out, so this is a lower estimate.

    Source of the noise model: B. Widrow and I. Kollár, Quantization Noise, Cambridge 2008: the rounding errors of many
    values are independent of the signal, and their sum in a layer is approximately normal.

    Args:
        probabilities: float32 (n, classes), the float model's.
        sqnr_db: the ratio in dB.
    """
    logits = np.log(np.maximum(probabilities, np.float32(LEAST_PROBABILITY)))
    noise = float(logits.var(axis=1, dtype=np.float64).mean()) * 10 ** (-sqnr_db / 10)
    best = np.partition(logits, -2, axis=1)[:, -2:]
    margins = (best[:, 1] - best[:, 0]).astype(np.float64)
    if noise <= 0:
        return 0.0
    return math.fsum(math.erfc(margin / math.sqrt(4 * noise)) / 2 for margin in margins.tolist())
