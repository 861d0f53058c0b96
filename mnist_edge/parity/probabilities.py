"""Comparison of two sets of probabilities for the same images: the Brier score, and a normalized distance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

# Lower limit of the uncertainty that a distance is divided by. The answers of a float model may be so certain that the
# rounding of an int8 output alone would otherwise be a large distance.
LEAST_UNCERTAINTY = 1 / 256


@dataclass(frozen=True)
class ProbabilityChange:
    """Change of the probabilities from the float model to a file.

    Attributes:
        reference_brier: mean Brier score of the float model. brier: that of the file.
        increase: rise of the mean Brier score; negative if the probabilities became better.
        increase_ci90: one-sided lower and upper 95 % bounds of the increase.
        distance: mean squared distance between the rows, divided by the mean uncertainty 1 - sum(p^2) of the float
            model. If the labels are drawn from the float model's probabilities, its expected Brier score is that
            uncertainty, and ``distance`` is the relative increase of the expected score.
        distance_ci90: one-sided lower and upper 95 % bounds of the distance.
    """

    reference_brier: float
    brier: float
    increase: float
    increase_ci90: tuple[float, float]
    distance: float
    distance_ci90: tuple[float, float]


def brier_scores(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Brier score of each image: squared distance of its probabilities from 1 for the label and 0 for other classes.

    0 is certain and right, 2 is certain and wrong.

    Source: G. W. Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78 (1950).

    Args:
        probabilities: float64 (n, classes). labels: int64 (n,).

    Returns:
        float64 (n,).
    """
    right = probabilities[np.arange(len(labels)), labels]
    return np.asarray(np.einsum("ij,ij->i", probabilities, probabilities) - 2 * right + 1, np.float64)


def probability_change(
    before: NDArray[np.float32], after: NDArray[np.float32], labels: NDArray[np.int64]
) -> ProbabilityChange:
    """Compare the probabilities of the float model and of a file.

    Args:
        before: the float model's, float32 (n, classes). after: the file's, float32 (n, classes), finite.
        labels: int64 (n,).
    """
    p, q = before.astype(np.float64), after.astype(np.float64)
    old, new = brier_scores(p, labels), brier_scores(q, labels)
    moved = np.einsum("ij,ij->i", q - p, q - p)
    uncertainty = 1 - np.einsum("ij,ij->i", p, p)
    is_limited = uncertainty.mean() < LEAST_UNCERTAINTY
    scale = LEAST_UNCERTAINTY if is_limited else float(uncertainty.mean())
    distance = float(moved.mean()) / scale
    # The delta method: the error of a ratio of two means is that of the mean of these values.
    low, high = mean_bounds((moved - (0.0 if is_limited else distance * uncertainty)) / scale)
    offset = 0.0 if is_limited else distance
    return ProbabilityChange(
        reference_brier=float(old.mean()),
        brier=float(new.mean()),
        increase=float((new - old).mean()),
        increase_ci90=mean_bounds(new - old),
        distance=distance,
        distance_ci90=(low + offset, high + offset),
    )


def mean_bounds(values: NDArray[np.float64], confidence: float = 0.95) -> tuple[float, float]:
    """One-sided lower and upper bounds of a population's mean, each at this confidence, from a sample.

    Student's t with a correction for skewness, which is large here: most images hardly change, and a few change much.

    Source: N. J. Johnson, Modified t tests and confidence intervals for asymmetrical populations, JASA 73 (1978).

    Args:
        values: the sample, float64 (n,). confidence: of each bound.

    Returns:
        The bounds; infinite with fewer than two values.
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
