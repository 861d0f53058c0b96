"""Changed labels that quantization noise explains.

The estimate uses the margins of the float model's answers: the best class's probability against that of the second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_edge.parity.answers import answers

# Smallest signal-to-quantization-noise ratio (SQNR) of the logits of a healthy int8 file, in dB. Rounding to b bits has
# a ratio of 6.02 b + 10.8 dB to the squared range; a tensor whose range is 8 times its RMS value has 18 dB less: 41 dB
# with 8 bits. Some eight roundings in a row (weights and results of four layers) cost another 9 dB, and 2 dB are left
# for sums of many terms. Checked on validation images: the changed labels of 96 files are explained by 30.2 dB or more
# (benchmarks/results/gate_zoo.md).
SQNR_DB = 30.0
# A class is counted in an image if its probability is at least LEAST_PROBABILITY times the largest one of the image. It
# is counted in no image unless it has at least SEEN_PROBABILITY times the largest one in some image: see
# `change_probabilities`.
LEAST_PROBABILITY = 1e-6
SEEN_PROBABILITY = 1 / 256
# Probabilities are raised to this number before their logarithm is taken.
LEAST_NUMBER = 1e-30
# Largest difference of two float probabilities that rounding may make equal: two steps of an int8 output, see
# `label_noise`.
TIED_DIFFERENCE = 2 / 256


@dataclass(frozen=True)
class LabelNoise:
    """Changed labels that the float model's uncertainty and the file's output grid explain.

    Attributes:
        expected: number of labels that noise is expected to change.
        tied: number of labels that changed without being corrected only because rounding made two probabilities equal:
            the file gives the float model's label the same probability as its own, and the float model nearly so.
        expected_broken: by class, number of right answers that noise is expected to change.
    """

    expected: float = 0.0
    tied: int = 0
    expected_broken: tuple[float, ...] = ()


def label_noise(before: NDArray[np.float32], after: NDArray[np.float32], labels: NDArray[np.int64]) -> LabelNoise:
    """Estimate the label changes that noise explains, and count the ties on the file's output grid.

    Rounding is monotonic: it can make two probabilities equal, but cannot reverse their order. The label of a tie is
    the lower class by convention. So a tie does not show that another class is more probable, and does not count.

    Rounding moves each probability by at most half a step, so it makes two of them equal only if they differ by at most
    one step, which is 1/256 in an int8 output. One more step is allowed for the noise of the logits. A tie of two
    classes whose float probabilities differ by more than these two steps is a fault, for example a range that is too
    small, and counts as a changed label.

    Args:
        before: the float model's probabilities, float32 (n, classes).
        after: the file's probabilities, float32 (n, classes), finite.
        labels: int64 (n,).
    """
    old, new = answers(before), answers(after)
    rows = np.arange(len(old))
    ties = (after[rows, old] == after.max(axis=1)) & (before[rows, old] - before[rows, new] <= TIED_DIFFERENCE)
    odds, right = change_probabilities(before), old == labels
    broken = np.bincount(labels[right], odds[right], before.shape[1])
    return LabelNoise(
        expected=math.fsum(odds.tolist()),
        tied=int((ties & (old != new) & (new != labels)).sum()),
        expected_broken=tuple(broken.tolist()),
    )


def change_probabilities(probabilities: NDArray[np.float32], sqnr_db: float = SQNR_DB) -> NDArray[np.float64]:
    """Probability for each image that its label changes if its logits have noise at this signal-to-noise ratio.

    The logits are the logarithms of the probabilities, up to a constant for each image, which the variance removes:

        signal  = mean over images of the variance of log(p) over the counted classes
        noise   = signal * 10 ** (-sqnr_db / 10): the variance of independent normal noise on every logit
        change  = Phi(-(log(p1) - log(p2)) / sqrt(2 * noise))

    p1 and p2 are the image's two largest probabilities, and Phi is the normal distribution function: the noise of
    the difference of two logits has twice the variance. The other classes are left out, so this is a lower estimate.

    A class is counted in an image if its probability is at least a millionth of the largest one, and is counted at all
    only if its probability is at least 1/256 of the largest one in some image. Logarithms of smaller probabilities have
    no lower limit: the logit of a class that never occurs may be -12 or -70. It does not affect any label, but would
    raise the signal, and with it the estimated noise, until every change is explained.

    Source of the noise model: B. Widrow and I. Kollár, Quantization Noise, Cambridge University Press 2008: rounding
    errors are nearly independent of the signal and of each other, and their sum in a layer is nearly normal.

    Args:
        probabilities: the float model's, float32 (n, classes). sqnr_db: the signal-to-noise ratio of the logits in dB.

    Returns:
        float64 (n,).
    """
    logits = np.log(np.maximum(probabilities, np.float32(LEAST_NUMBER)))
    below = logits - logits.max(axis=1, keepdims=True)
    seen = below.max(axis=0) >= math.log(SEEN_PROBABILITY)
    counted = np.where(seen & (below >= math.log(LEAST_PROBABILITY)), logits, np.float32(np.nan))
    noise = float(np.nanvar(counted, axis=1, dtype=np.float64).mean()) * 10 ** (-sqnr_db / 10)
    best = np.partition(logits, -2, axis=1)[:, -2:].astype(np.float64)
    if noise <= 0:
        return np.zeros(len(probabilities))
    return np.array([math.erfc(margin / math.sqrt(4 * noise)) / 2 for margin in (best[:, 1] - best[:, 0]).tolist()])
