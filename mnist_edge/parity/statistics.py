"""The statistics of the verdict, in plain Python.

Proportions, rates and margins are fractions, not percent. "Broken" answers were right before quantization and are wrong
after it; "fixed" answers were wrong and are right.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

# Upper limit of all recommended numbers of images; it means that no number of images would decide.
MANY_IMAGES = 1_000_000_000


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a proportion, at a two-sided confidence.

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
    """Tango's score interval for the difference of two paired proportions, (broken - fixed) / n.

    Each end of the interval is a one-sided bound at the confidence ``(1 + confidence) / 2``.

    Source: T. Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design, Statistics in Medicine 17 (1998): the roots of the score statistic with the nuisance parameter at its
    restricted maximum likelihood estimate.

    Args:
        broken: images that are right before and wrong after. fixed: the reverse. n: all images.
        confidence: of the interval, two-sided.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    observed = (broken - fixed) / n
    # The statistic decreases with the hypothetical difference, and is 0 at the observed one.
    low = -1.0 if observed == -1 else _root(lambda delta: _tango(broken, fixed, n, delta) - z, -1.0, observed)
    high = 1.0 if observed == 1 else _root(lambda delta: _tango(broken, fixed, n, delta) + z, observed, 1.0)
    return low, high


def upper_bound(broken: int, fixed: int, n: int, confidence: float = 0.95) -> float:
    """One-sided upper bound of the paired difference, see `paired_difference`."""
    return paired_difference(broken, fixed, n, 2 * confidence - 1)[1]


def lower_bound(broken: int, fixed: int, n: int, confidence: float = 0.95) -> float:
    """One-sided lower bound of the paired difference, see `paired_difference`."""
    return paired_difference(broken, fixed, n, 2 * confidence - 1)[0]


def mcnemar_exact(broken: int, fixed: int) -> float:
    """Two-sided p-value of McNemar's exact test of the hypothesis that answers break and are fixed equally often.

    Source: Q. McNemar, Note on the sampling error of the difference between correlated proportions or percentages,
    Psychometrika 12 (1947), with the exact binomial distribution of the smaller count.
    """
    n, k = broken + fixed, min(broken, fixed)
    term, total = 1, 0
    for i in range(k + 1):
        total += term
        term = term * (n - i) // (i + 1)
    return min(1.0, 2 * total / (1 << n))


def images_needed(margin: float, confidence: float = 0.95) -> int:
    """Smallest number of images that can show a loss below ``margin``: enough if no answer changes.

    A model that loses exactly the margin changes no answer on n images with probability (1 - margin)^n at most. This
    must not exceed 1 - ``confidence``.
    """
    if margin <= 0:
        return MANY_IMAGES
    return 1 if margin >= confidence else math.ceil(math.log(1 - confidence) / math.log1p(-margin))


def images_for_mean(n: int, mean: float, low: float, high: float, margin: float) -> int:
    """Approximate number of images that decide, with 80 % probability, whether a mean is above or below a margin.

    The normal approximation: the bounds approach the mean with the square root of the number of images.

    Args:
        n: number of images that gave the mean. mean: the estimate. low, high: its one-sided 95 % bounds.
        margin: in the unit of the mean.
    """
    distance = abs(margin - mean)
    if not math.isfinite(high - low) or distance < 1e-9:
        return MANY_IMAGES
    growth = (1 + NormalDist().inv_cdf(0.8) / NormalDist().inv_cdf(0.95)) * (high - low) / 2 / distance
    return min(MANY_IMAGES, max(n + 1, math.ceil(n * growth * growth)))


def images_to_decide(broken_rate: float, fixed_rate: float, margin: float) -> int:
    """Approximate number of images that decide, with 80 % probability, whether a drop is above or below ``margin``.

    The normal approximation: the distance of the drop from the margin must be at least 1.645 + 0.842 standard errors
    (the 95 % and 80 % quantiles). If the drop is below the margin, the distance that `images_needed` requires without a
    changed answer is added.

    Args:
        broken_rate, fixed_rate: shares of images whose answers break and are fixed. margin: as a fraction.
    """
    distance, needed = abs(margin - (broken_rate - fixed_rate)), images_needed(margin)
    if needed == MANY_IMAGES or distance < 1e-6:
        return MANY_IMAGES
    spread = (NormalDist().inv_cdf(0.95) + NormalDist().inv_cdf(0.8)) * math.sqrt(broken_rate + fixed_rate)
    # distance * n = floor + spread * sqrt(n), solved for sqrt(n).
    floor = needed * margin if broken_rate - fixed_rate < margin else 0.0
    root = (spread + math.sqrt(spread * spread + 4 * distance * floor)) / (2 * distance)
    return min(max(needed, math.ceil(root * root - 1e-6)), MANY_IMAGES)


def binomial_upper_tail(k: int, n: int, p: float) -> float:
    """Probability of at least k successes in n independent trials with probability p."""
    if k <= n * p:
        return max(0.0, 1.0 - math.fsum(_binomial(i, n, p) for i in range(k)))
    total = term = _binomial(k, n, p)
    while k < n and term > 1e-17 * total:
        term *= (n - k) / (k + 1) * p / (1 - p)
        k += 1
        total += term
    return min(1.0, total)


def concentration_p(inside: int, size: int, total: int, n: int) -> float:
    """Probability that at least ``inside`` of ``total`` marked images are in a group by chance.

    The group has ``size`` of ``n`` images, and every set of ``total`` images is equally likely to be the marked one:
    the upper tail of the hypergeometric distribution (R. A. Fisher's exact test, one-sided).
    """

    def log_choose(items: int, chosen: int) -> float:
        return math.lgamma(items + 1) - math.lgamma(chosen + 1) - math.lgamma(items - chosen + 1)

    first, last = max(inside, total - (n - size), 0), min(size, total)
    log_all = log_choose(n, total)
    terms = (math.exp(log_choose(size, k) + log_choose(n - size, total - k) - log_all) for k in range(first, last + 1))
    return min(1.0, math.fsum(terms))


def mcnemar_power(n: int, broken_rate: float, fixed_rate: float, alpha: float = 0.05) -> float:
    """Power of McNemar's exact two-sided test: the probability that it finds a loss on n independent images.

    Every answer breaks with probability ``broken_rate`` and is fixed with probability ``fixed_rate``. The number of
    flips T (changed answers of either kind) is then binomial (n, broken_rate + fixed_rate), and given T the number of
    fixed answers is binomial (T, fixed_rate / (broken_rate + fixed_rate)). A loss is found if the number of fixed
    answers is at most the test's critical value at the significance level ``alpha``. The sum over T is exact up to
    tails of 1e-12.
    """
    rate = min(broken_rate + fixed_rate, 1.0)
    if rate <= 0:
        return 0.0
    share, spread = fixed_rate / rate, 7 * math.sqrt(n * rate) + 16
    first, last = max(0, math.floor(n * rate - spread)), min(n, math.ceil(n * rate + spread))
    critical = _critical_counts(1 << last.bit_length(), alpha)
    total = below = point = 0.0  # `below`: P(fixed <= limit) given the flips; `point`: P(fixed = limit)
    limit, weight = -1, _binomial(first, n, rate)  # `weight`: P(flips)
    for flips in range(last + 1):
        if limit >= 0:  # update `below` and `point` from flips - 1 to flips, with the same limit
            below -= share * point
            point *= (1 - share) * flips / (flips - limit)
        while limit < critical[flips]:
            limit += 1
            ratio = share / (1 - share) * (flips - limit + 1) / limit if limit else 0.0
            point = point * ratio if limit else (1 - share) ** flips
            below += point
        if flips >= first:
            total += weight * below
            weight = weight * (n - flips) / (flips + 1) * rate / (1 - rate) if rate < 1 else float(flips + 1 == n)
    return min(total, 1.0)


def detectable_drop(n: int, fixed: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """Smallest true drop, a fraction, that McNemar's exact test at ``alpha`` finds with this power on n images.

    The share of fixed answers is taken as observed, ``fixed / n``; the share of broken answers is increased until
    `mcnemar_power` reaches ``power``. The result is the difference of the two shares, to four digits; 1.0 if the test
    cannot find any drop, for example with fewer than six images.
    """
    fixed_rate = fixed / n
    highest = 1 - fixed_rate
    if mcnemar_power(n, highest, fixed_rate, alpha) < power:
        return 1.0
    low, step = fixed_rate, (3 * math.sqrt(2 * fixed) + 10) / n
    high = min(highest, low + step)
    while mcnemar_power(n, high, fixed_rate, alpha) < power:
        low, high = high, min(highest, high + step)
    while high - low > 1e-4 * (high - fixed_rate):
        middle = (low + high) / 2
        if mcnemar_power(n, middle, fixed_rate, alpha) < power:
            low = middle
        else:
            high = middle
    return high - fixed_rate


@lru_cache(maxsize=8)
def _critical_counts(flips: int, alpha: float) -> tuple[int, ...]:
    """Critical values of McNemar's exact test for 0 to ``flips`` flips.

    A value is the largest number of answers of the rarer kind with which the test rejects; -1 if there is none.
    """
    limit, below, point = -1, 0.0, 0.0
    found = []
    for total in range(flips + 1):
        if limit >= 0:
            below -= point / 2
            point *= total / (2 * (total - limit))
        following = point * (total - limit) / (limit + 1) if limit >= 0 else 0.5**total
        while 2 * (below + following) <= alpha:
            limit, below, point = limit + 1, below + following, following
            following = point * (total - limit) / (limit + 1)
        found.append(limit)
    return tuple(found)


def _binomial(k: int, n: int, p: float) -> float:
    """Probability of exactly k successes in n independent trials with probability p."""
    if p <= 0 or p >= 1:
        return float(k == (0 if p <= 0 else n))
    log_choose = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(log_choose + k * math.log(p) + (n - k) * math.log1p(-p))


def _tango(broken: int, fixed: int, n: int, delta: float) -> float:
    """Tango's score statistic of the hypothesis that the paired difference is ``delta``, see `paired_difference`."""
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
    """Root of a decreasing function between two bounds, by bisection to the last bit."""
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return middle
        if function(middle) > 0:
            low = middle
        else:
            high = middle
