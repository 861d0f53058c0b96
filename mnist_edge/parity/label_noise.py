"""How many labels quantization is expected to change, from the float model's own margins."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_edge.parity.answers import answers

# Signal-to-quantization-noise ratio of the logits that a healthy int8 file has at least, in dB. Rounding to b bits has
# a ratio of 6.02 b + 10.8 dB to the squared range; a tensor whose range is 8 times its RMS value has 18 dB less: 41 dB
# with 8 bits. Some eight roundings in a row (weights and results of four layers) cost another 9 dB, and 2 dB are left
# for sums of many terms. Checked on validation images: the changed labels of 96 files are explained by 30.2 dB or more
# (benchmarks/results/gate_zoo.md).
SQNR_DB = 30.0
# A class counts in an image if its probability is at least this share of the largest one, and at all if it has at least
# SEEN_PROBABILITY of it in one of the images: see `change_probabilities`.
LEAST_PROBABILITY = 1e-6
SEEN_PROBABILITY = 1 / 256
# Smallest number that a logarithm is taken of.
LEAST_NUMBER = 1e-30
# Largest difference of two float probabilities that rounding makes equal: two steps of an int8 output (`label_noise`).
TIED_DIFFERENCE = 2 / 256


@dataclass(frozen=True)
class LabelNoise:
    """What the float model's margins and the file's grid explain.

    ``expected``: number of labels that noise is expected to change; ``expected_broken``: of those that are right, by
    class. ``tied``: labels that changed without being corrected, for which the file gives the float model's label the
    same probability as its own, and the float model nearly so.
    """

    expected: float = 0.0
    tied: int = 0
    expected_broken: tuple[float, ...] = ()


def label_noise(before: NDArray[np.float32], after: NDArray[np.float32], labels: NDArray[np.int64]) -> LabelNoise:
    """What explains changed labels: the float model's margins, and ties on the file's grid.

    A rounding is monotonic: it makes two probabilities equal but does not exchange them. The label of a tie is the
    lower class by convention. So a tie does not say that another class is more probable, and does not count.

    But rounding moves each probability by half a step at most, so it makes two equal only if they differ by at most one
    step, 1/256 in an int8 output. As much again is left for the noise of the logits before it. A tie of two classes
    whose float probabilities differ by more than these two steps is a loss, for example by a range that is too small,
    and counts.

    Args:
        before: float32 (n, classes), the float model's probabilities. after: the file's, finite. labels: int64 (n,).
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
    """Probability for each image that its label changes if the logits carry noise at this ratio of signal to noise.

    The logits are the logarithms of the probabilities, up to a constant for each image, which the variance removes:

        signal  = mean over images of the variance of log(p) over the classes that count
        noise   = signal * 10 ** (-sqnr_db / 10): the variance of independent normal noise on every logit
        change  = Phi(-(log(p1) - log(p2)) / sqrt(2 * noise))

    p1 and p2 are the image's two largest probabilities, and Phi is the normal distribution function: the noise of
    the difference of two logits has twice the variance. The other classes are left out, so this is a lower estimate.

    A class counts in an image if its probability is at least a millionth of the largest one, and in any image only if
    somewhere it is at least 1/256 of it. Below that, a logarithm is not limited: the logit of a class that never occurs
    may be -12 or -70, which says nothing of how well the logits that decide labels are kept, and would raise the signal
    until every change is explained.

    Source of the noise model: B. Widrow and I. Kollár, Quantization Noise, Cambridge University Press 2008: rounding
    errors are nearly independent of the signal and of each other, and their sum in a layer is nearly normal.

    Args:
        probabilities: float32 (n, classes), the float model's. sqnr_db: the ratio in dB.
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
