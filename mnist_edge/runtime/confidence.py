"""A confidence that means something: of answers given with 90 %, nine of ten should be right.

Temperature scaling (Guo et al., 2017): softmax(logits / T), which for probabilities is p ** (1 / T), made to sum to 1.
The best answer stays the best. T is fitted where the network has not trained, and travels in the manifest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# A label that is given 0 (an 8-bit output's grid is 1/256) costs as much as one that is given this.
FLOOR = 1e-4
RANGE = (0.25, 4.0)
STEPS = 60


def apply_temperature(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Probabilities (n, classes) at another temperature, float32, rows that sum to 1."""
    powers = np.asarray(probabilities, np.float64) ** (1 / temperature)
    scaled: NDArray[np.float32] = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return scaled


def fit_temperature(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The temperature with the smallest mean negative log likelihood, by golden-section search over its logarithm.

    Args:
        probabilities: float32 (n, classes), of images that the network has not trained on.
        labels: int64 (n,).
    """
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        scaled = apply_temperature(probabilities, float(np.exp(log_temperature)))
        return -float(np.log(np.maximum(scaled[rows, labels], FLOOR)).mean())

    low, high = (float(np.log(value)) for value in RANGE)
    golden = (5**0.5 - 1) / 2
    for _ in range(STEPS):
        one, two = high - golden * (high - low), low + golden * (high - low)
        if loss(one) < loss(two):
            high = two
        else:
            low = one
    return float(np.exp((low + high) / 2))
