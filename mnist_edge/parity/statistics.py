"""The statistics of the verdict, in plain Python. Proportions are fractions; confidence is two-sided unless said."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval for a proportion.

    Source: E. B. Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 22 (1927).
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p = successes / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if successes == 0 else (centre - half) / scale
    high = 1.0 if successes == n else (centre + half) / scale
    return low, high


def paired_difference(broken: int, fixed: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval for the difference of two paired proportions, (broken - fixed) / n.

    Each end of it is a one-sided bound at ``(1 + confidence) / 2``.

    Source: T. Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design, Statistics in Medicine 17 (1998): the roots of the score statistic with the nuisance parameter at its
    restricted maximum likelihood estimate.

    Args:
        broken: pairs right before and wrong after. fixed: the other way round. n: all pairs.
        confidence: of the interval.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    observed = (broken - fixed) / n
    # The statistic falls as the hypothetical difference grows; it is 0 at the observed one.
    low = -1.0 if observed == -1 else _root(lambda delta: _tango(broken, fixed, n, delta) - z, -1.0, observed)
    high = 1.0 if observed == 1 else _root(lambda delta: _tango(broken, fixed, n, delta) + z, observed, 1.0)
    return low, high


def upper_bound(broken: int, fixed: int, n: int, confidence: float = 0.95) -> float:
    """One-sided upper bound of the paired difference, by the same statistic."""
    return paired_difference(broken, fixed, n, 2 * confidence - 1)[1]


def lower_bound(broken: int, fixed: int, n: int, confidence: float = 0.95) -> float:
    """One-sided lower bound of the paired difference, by the same statistic."""
    return paired_difference(broken, fixed, n, 2 * confidence - 1)[0]


def mcnemar_exact(broken: int, fixed: int) -> float:
    """Two-sided p-value of the hypothesis that as many answers break as are fixed.

    Source: Q. McNemar, Psychometrika 12 (1947), with the exact binomial distribution of the smaller count.
    """
    n, k = broken + fixed, min(broken, fixed)
    term, total = 1, 0
    for i in range(k + 1):
        total += term
        term = term * (n - i) // (i + 1)
    return min(1.0, 2 * total / (1 << n))


def images_needed(margin: float, confidence: float = 0.95) -> int:
    """How many images a flawless model needs until `upper_bound` falls below ``margin``.

    With no flips the score bound is z² / (n + z²), which is solved for n.
    """
    z = NormalDist().inv_cdf(confidence)
    return math.floor(z * z * (1 - margin) / margin) + 1


def detectable_drop(n: int, flip_rate: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """The smallest true drop that a two-sided McNemar test at ``alpha`` finds with this power.

    Source: R. J. Connor, Sample size for testing differences in proportions for the paired-sample design, Biometrics 43
    (1987): n d² = (z_a sqrt(f) + z_b sqrt(f - d²))², with f the share of flipped answers. A drop cannot exceed f.
    """
    z_alpha, z_power = NormalDist().inv_cdf(1 - alpha / 2), NormalDist().inv_cdf(power)

    def excess(drop: float) -> float:
        spread = z_alpha * math.sqrt(flip_rate) + z_power * math.sqrt(max(flip_rate - drop * drop, 0.0))
        return spread - drop * math.sqrt(n)

    return flip_rate if excess(flip_rate) > 0 else _root(excess, 0.0, flip_rate)


def _tango(broken: int, fixed: int, n: int, delta: float) -> float:
    """The score statistic of the hypothesis that the difference is ``delta``."""
    distance = broken - fixed - n * delta
    if distance == 0:
        return 0.0
    a = 2 * n
    b = -broken - fixed + (2 * n - broken + fixed) * delta
    c = -fixed * delta * (1 - delta)
    q = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = n * (2 * q + delta * (1 - delta))
    return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses zero, by bisection to the last bit."""
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return middle
        if function(middle) > 0:
            low = middle
        else:
            high = middle
