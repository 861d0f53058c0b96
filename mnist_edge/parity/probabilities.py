"""Comparison of two sets of probabilities for the same images: a proper score, and a distance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

# Smallest uncertainty of a float model that a distance is divided by. The float model's answers may be so certain that
# the output grid of an int8 file alone would count as a large distance.
LEAST_UNCERTAINTY = 1 / 256


@dataclass(frozen=True)
class ProbabilityChange:
    """What changed in the probabilities. ``_ci90``: both one-sided 95 % bounds.

    ``increase`` is the rise of the mean Brier score against the labels: negative if the probabilities became better.

    ``distance`` is the mean squared distance between the rows, divided by the mean uncertainty 1 - sum(p^2) of the
    float model. If the float model's probabilities are the truth, its expected Brier score is that uncertainty, and
    ``distance`` is the share by which the other file's expected score is higher.
    """

    reference_brier: float
    brier: float
    increase: float
    increase_ci90: tuple[float, float]
    distance: float
    distance_ci90: tuple[float, float]


def brier_scores(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Squared distance of each row from the certain answer for its label: 0 is perfect, 2 certain and wrong.

    Source: G. W. Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78 (1950).
    """
    right = probabilities[np.arange(len(labels)), labels]
    return np.asarray(np.einsum("ij,ij->i", probabilities, probabilities) - 2 * right + 1, np.float64)


def probability_change(
    before: NDArray[np.float32], after: NDArray[np.float32], labels: NDArray[np.int64]
) -> ProbabilityChange:
    """Compare probabilities, finite float32 (n, classes), of the same images before and after."""
    p, q = before.astype(np.float64), after.astype(np.float64)
    old, new = brier_scores(p, labels), brier_scores(q, labels)
    moved = np.einsum("ij,ij->i", q - p, q - p)
    uncertainty = 1 - np.einsum("ij,ij->i", p, p)
    least = uncertainty.mean() < LEAST_UNCERTAINTY
    scale = LEAST_UNCERTAINTY if least else float(uncertainty.mean())
    distance = float(moved.mean()) / scale
    # A ratio of two means: its error is that of the mean of these values (the delta method).
    low, high = mean_bounds((moved - (0.0 if least else distance * uncertainty)) / scale)
    offset = 0.0 if least else distance
    return ProbabilityChange(
        reference_brier=float(old.mean()),
        brier=float(new.mean()),
        increase=float((new - old).mean()),
        increase_ci90=mean_bounds(new - old),
        distance=distance,
        distance_ci90=(low + offset, high + offset),
    )


def mean_bounds(values: NDArray[np.float64], confidence: float = 0.95) -> tuple[float, float]:
    """One-sided lower and upper bound of the mean of what ``values`` were drawn from, each at this confidence.

    Student's t with a correction for skewness: most images hardly change, and a few change much.

    Source: N. J. Johnson, Modified t tests and confidence intervals for asymmetrical populations, JASA 73 (1978).
    """
    n, mean = len(values), float(values.mean())
    if n < 2:
        return -math.inf, math.inf
    centred = values - mean
    variance = float(centred @ centred) / (n - 1)
    if variance == 0:
        return mean, mean
    z = NormalDist().inv_cdf(confidence)
    t = z + (z**3 + z) / (4 * (n - 1))  # the first term of Student's quantile around the normal one
    third = float((centred * centred) @ centred) / n
    shift = third / (6 * variance * n) * (1 + 2 * t * t)
    half = t * math.sqrt(variance / n)
    return min(mean + shift - half, mean), max(mean + shift + half, mean)
