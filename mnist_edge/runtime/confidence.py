"""Confidence calibration: of the answers with a confidence of 90 %, nine of ten should be right.

Temperature scaling: softmax(logits / T), which for probabilities is p ** (1 / T), normalized to a sum of 1. It does not
change which class is the most probable. T is fitted for each file on images that the network was not trained on, and is
stored in the manifest: 1.0 if the file needs no scaling, no entry if the file was not calibrated.

Source: C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Smallest probability in a log loss: an 8-bit output is 0 for most classes, and the loss would be infinite.
FLOOR = 1e-4
# Range of temperatures, and the number of steps of the search.
RANGE = (0.25, 4.0)
STEPS = 30
# One-sided 95 % quantile of the normal distribution, and the smallest number of images for which it is used.
Z_95 = 1.6449
MIN_IMAGES = 100


def apply_temperature(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Probabilities float32 (n, classes) at a temperature: float32 (n, classes), with rows that sum to 1."""
    powers = np.asarray(probabilities, np.float64) ** (1 / temperature)
    scaled: NDArray[np.float32] = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return scaled


def log_losses(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Negative natural logarithm of the probability of each label, float64 (n,).

    Args:
        probabilities: float32 (n, classes). labels: int64 (n,).
    """
    likely = np.asarray(probabilities, np.float64)[np.arange(len(labels)), labels]
    losses: NDArray[np.float64] = -np.log(np.maximum(likely, FLOOR))
    return losses


def fit_temperature(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The temperature with the smallest mean log loss, by golden-section search over its logarithm.

    Args:
        probabilities: float32 (n, classes), of images that the network was not trained on.
        labels: int64 (n,).
    """

    def loss(log_temperature: float) -> float:
        return float(log_losses(apply_temperature(probabilities, float(np.exp(log_temperature))), labels).mean())

    low, high = (float(np.log(value)) for value in RANGE)
    golden = (5**0.5 - 1) / 2
    for _ in range(STEPS):
        one, two = high - golden * (high - low), low + golden * (high - low)
        if loss(one) < loss(two):
            high = two
        else:
            low = one
    return float(np.exp((low + high) / 2))


def choose_temperature(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float | None:
    """The fitted temperature if it lowers the log loss on images that it was not fitted on, else 1.0.

    The loss on each half of the images is computed with the temperature that was fitted on the other half. The
    temperature is kept only if the mean of the paired improvements is positive with one-sided 95 % confidence.

    Args:
        probabilities: float32 (n, classes), of images that the network was not trained on.
        labels: int64 (n,).

    Returns:
        The temperature; None with fewer than `MIN_IMAGES` images, which are too few to decide.
    """
    if len(labels) < MIN_IMAGES:
        return None
    gains = log_losses(probabilities, labels)
    halves = slice(0, None, 2), slice(1, None, 2)
    for fitted, judged in (halves, halves[::-1]):
        scaled = apply_temperature(probabilities[judged], fit_temperature(probabilities[fitted], labels[fitted]))
        gains[judged] -= log_losses(scaled, labels[judged])
    kept = gains.mean() > Z_95 * gains.std(ddof=1) / len(gains) ** 0.5
    return fit_temperature(probabilities, labels) if kept else 1.0
