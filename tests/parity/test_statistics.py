"""Comparison of the formulas with SciPy, statsmodels, their definitions and published examples."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, spatial, special
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from mnist_edge.parity import changes, statistics

SIZES = [1, 2, 7, 100, 500, 2_000, 10_000]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilsons_interval_equals_that_of_statsmodels(n: int, confidence: float) -> None:
    for k in sorted({0, 1, n // 3, n // 2, n - 1, n}):
        theirs = proportion_confint(k, n, alpha=1 - confidence, method="wilson")
        assert statistics.wilson(k, n, confidence) == pytest.approx(theirs, abs=1e-9)


def test_mcnemars_p_value_equals_that_of_statsmodels_and_scipy() -> None:
    for broken in (0, 1, 2, 5, 30, 400):
        for fixed in (0, 1, 3, 30, 399):
            ours = statistics.mcnemar_exact(broken, fixed)
            table = [[50, broken], [fixed, 50]]
            assert ours == pytest.approx(mcnemar(table, exact=True).pvalue, abs=1e-9)
            if broken + fixed:
                assert ours == pytest.approx(scipy_stats.binomtest(broken, broken + fixed).pvalue, abs=1e-9)
    assert statistics.mcnemar_exact(0, 0) == 1.0
    assert statistics.mcnemar_exact(10_000, 0) == 0.0


def score(broken: int, fixed: int, n: int, delta: float) -> float:
    """Tango's statistic from its definition: the nuisance parameter maximizes the restricted likelihood numerically."""

    def negative(p21: float) -> float:
        p12 = p21 + delta
        same = 1 - p12 - p21
        return -float(special.xlogy(broken, p12) + special.xlogy(fixed, p21) + special.xlogy(n - broken - fixed, same))

    low, high = max(0.0, -delta), (1 - delta) / 2
    best = optimize.minimize_scalar(negative, bounds=(low, high), method="bounded", options={"xatol": 1e-14}).x
    variance = (2 * best + delta - delta * delta) * n
    return (broken - fixed - n * delta) / math.sqrt(variance)


@pytest.mark.parametrize(
    ("broken", "fixed", "n"), [(7, 1, 21), (3, 5, 50), (12, 4, 500), (25, 18, 10_000), (40, 2, 2_000)]
)
def test_the_ends_of_the_paired_interval_solve_the_equation_that_defines_them(broken: int, fixed: int, n: int) -> None:
    z = NormalDist().inv_cdf(0.975)
    low, high = statistics.paired_difference(broken, fixed, n)
    assert score(broken, fixed, n, low) == pytest.approx(z, rel=1e-4)
    assert score(broken, fixed, n, high) == pytest.approx(-z, rel=1e-4)


def test_the_paired_interval_of_a_published_example() -> None:
    # Airway hyper-responsiveness before and after transplantation (1, 1, 7, 12), n = 21; Fagerland, Lydersen and Laake,
    # Statistics in Medicine 33 (2014): Tango's interval for the difference is -0.517 to -0.026.
    low, high = statistics.paired_difference(1, 7, 21)
    assert (round(low, 3), round(high, 3)) == (-0.517, -0.026)


counts = st.integers(1, 10_000).flatmap(
    lambda n: st.integers(0, n).flatmap(lambda b: st.integers(0, n - b).map(lambda c: (b, c, n)))
)


@given(counts)
def test_the_paired_interval_contains_estimate_and_bounds_and_is_mirrored_by_exchanging_the_counts(
    case: tuple[int, int, int],
) -> None:
    broken, fixed, n = case
    low, high = statistics.paired_difference(broken, fixed, n)
    assert -1 <= low <= (broken - fixed) / n <= high <= 1
    mirrored = statistics.paired_difference(fixed, broken, n)
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)
    assert statistics.upper_bound(broken, fixed, n) <= high + 1e-12
    assert statistics.lower_bound(broken, fixed, n) >= low - 1e-12


@pytest.mark.parametrize("n", SIZES)
def test_the_paired_interval_without_flips_and_with_all_answers_broken(n: int) -> None:
    z2 = NormalDist().inv_cdf(0.975) ** 2
    assert statistics.paired_difference(0, 0, n) == pytest.approx((-z2 / (n + z2), z2 / (n + z2)), abs=1e-9)
    low, high = statistics.paired_difference(n, 0, n)
    assert high == 1
    assert low < 1


def test_500_images_without_a_flip_do_not_exclude_a_loss_of_half_a_percentage_point() -> None:
    assert 100 * statistics.upper_bound(0, 0, 500) == pytest.approx(0.54, abs=0.005)


@pytest.mark.parametrize("margin", [0.0005, 0.002, 0.01, 0.3])
def test_the_images_needed_are_the_fewest_on_which_no_flip_shows_a_loss_below_the_margin(margin: float) -> None:
    needed = statistics.images_needed(margin)
    assert (1 - margin) ** needed <= 0.05 < (1 - margin) ** (needed - 1)
    assert statistics.upper_bound(0, 0, needed) < margin


def test_the_images_needed_for_the_default_margin_and_at_the_ends() -> None:
    assert statistics.images_needed(0.002) == 1497
    assert statistics.images_needed(1.0) == 1
    assert statistics.images_needed(0.0) == statistics.MANY_IMAGES


def enumerated_power(n: int, broken_rate: float, fixed_rate: float) -> float:
    """McNemar's power from its definition: every pair of counts, with scipy's test and scipy's distributions."""
    power = 0.0
    for fixed in range(int(scipy_stats.binom.ppf(1 - 1e-13, n, fixed_rate)) + 1):
        broken = np.arange(n - fixed + 1)
        chance = scipy_stats.binom.pmf(broken, n - fixed, broken_rate / (1 - fixed_rate))
        p = 2 * scipy_stats.binom.cdf(fixed, broken + fixed, 0.5)
        power += scipy_stats.binom.pmf(fixed, n, fixed_rate) * chance[(broken > fixed) & (p <= 0.05)].sum()
    return float(power)


@pytest.mark.parametrize(
    ("n", "broken_rate", "fixed_rate"),
    [(6, 0.9, 0.0), (40, 0.2, 0.1), (1000, 0.012, 0.004), (10_000, 0.0008, 0.0), (10_000, 3e-4, 1e-4), (30, 1.0, 0.0)],
)  # fmt: skip
def test_the_power_of_mcnemars_test_equals_its_enumeration(n: int, broken_rate: float, fixed_rate: float) -> None:
    power = statistics.mcnemar_power(n, broken_rate, fixed_rate)
    assert power == pytest.approx(enumerated_power(n, broken_rate, fixed_rate), abs=1e-9)


def test_the_power_of_mcnemars_test_with_many_flips_is_near_the_normal_approximation() -> None:
    """R. J. Connor, Biometrics 43 (1987): z = (d sqrt(n) - 1.96 sqrt(f)) / sqrt(f - d^2), with f the share of flips."""
    n, broken, fixed = 100_000, 0.0225, 0.0205
    rate, drop = broken + fixed, broken - fixed
    z = (drop * math.sqrt(n) - NormalDist().inv_cdf(0.975) * math.sqrt(rate)) / math.sqrt(rate - drop * drop)
    assert statistics.mcnemar_power(n, broken, fixed) == pytest.approx(NormalDist().cdf(z), abs=0.01)


@pytest.mark.parametrize(("n", "fixed"), [(10_000, 0), (10_000, 3), (10_000, 40), (500, 1), (50, 2), (8, 0)])
def test_the_detectable_drop_has_the_requested_power_and_a_smaller_one_has_not(n: int, fixed: int) -> None:
    drop = statistics.detectable_drop(n, fixed)
    rate = fixed / n
    assert statistics.mcnemar_power(n, rate + drop, rate) >= 0.8
    assert statistics.mcnemar_power(n, rate + 0.999 * drop, rate) < 0.8


def test_the_detectable_drop_is_eight_images_without_fixed_answers_and_grows_with_them() -> None:
    assert 100 * statistics.detectable_drop(10_000, 0) == pytest.approx(0.079, abs=0.001)
    drops = [statistics.detectable_drop(10_000, fixed) for fixed in range(12)]
    assert drops == sorted(drops)
    assert statistics.detectable_drop(5, 0) == 1.0  # five of five are not significant
    assert statistics.detectable_drop(6, 0) < 1.0


@given(st.integers(1, 3000), st.integers(1, 3000), st.floats(0, 1))
def test_the_binomial_upper_tail_equals_that_of_scipy(k: int, n: int, p: float) -> None:
    k = min(k, n)
    theirs = scipy_stats.binom.sf(k - 1, n, p)
    assert statistics.binomial_upper_tail(k, n, p) == pytest.approx(theirs, rel=1e-6, abs=1e-12)


@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 400), st.integers(0, 400))
def test_the_concentration_equals_the_hypergeometric_tail_of_scipy(
    size: int, others: int, total: int, inside: int
) -> None:
    n = size + others
    total, inside = min(total, n), min(inside, size, total)
    theirs = scipy_stats.hypergeom.sf(inside - 1, n, size, total)
    assert statistics.concentration_p(inside, size, total, n) == pytest.approx(theirs, rel=1e-6, abs=1e-12)


def exact_errors(n: int, drop: float, fixed_rate: float) -> tuple[float, float]:
    """Exact probabilities that the one-sided bound is below the true drop, and that the two-sided interval contains it.

    For each number of fixed answers, both bounds grow with the number of broken ones.
    """
    missed = inside = 0.0
    least, most = (int(end) for end in scipy_stats.binom.ppf([1e-13, 1 - 1e-13], n, fixed_rate))
    for fixed in range(max(least, 0), most + 1):
        row = scipy_stats.binom(n - fixed, (fixed_rate + drop) / (1 - fixed_rate))
        weight = scipy_stats.binom.pmf(fixed, n, fixed_rate)
        last = int(row.ppf(1 - 1e-13)) + 1

        def first(enough: Callable[[int], bool], last: int = last) -> int:
            return bisect.bisect_left(range(last + 1), True, key=enough)

        over = first(lambda b: statistics.upper_bound(b, fixed, n) >= drop)  # noqa: B023
        low = first(lambda b: statistics.paired_difference(b, fixed, n)[1] >= drop)  # noqa: B023
        high = first(lambda b: statistics.paired_difference(b, fixed, n)[0] > drop)  # noqa: B023
        missed += weight * row.cdf(over - 1)
        inside += weight * (row.cdf(high - 1) - row.cdf(low - 1))
    return missed, inside


@pytest.mark.parametrize("n", [2_000, 10_000])
@pytest.mark.parametrize("fixed_rate", [0.0, 0.0005, 0.002, 0.01])
def test_the_error_rates_of_the_bounds_by_enumeration(n: int, fixed_rate: float) -> None:
    """A score interval is an approximation; `gate.PASS_CONFIDENCE` corrects the decision for the errors found here."""
    for drop in (0.0005, 0.002, 0.005):
        missed, inside = exact_errors(n, drop, fixed_rate)
        assert missed <= 0.053, drop
        assert inside >= 0.93, drop


def test_the_divergence_equals_that_of_scipy_and_the_calibration_error_its_definition() -> None:
    generator = np.random.default_rng(3)
    p, q = (generator.dirichlet(np.ones(10) / 3, 200).astype(np.float32) for _ in range(2))
    q[0] = p[0]
    theirs = spatial.distance.jensenshannon(p.astype(float), q.astype(float), axis=1, base=2) ** 2
    assert changes.js_divergence(p, q) == pytest.approx(np.nan_to_num(theirs), abs=1e-9)
    sure = np.eye(10, dtype=np.float32)[np.arange(100) % 10]
    assert changes.calibration_error(sure, np.arange(100) % 10) == 0
    assert changes.calibration_error(sure, (np.arange(100) + 1) % 10) == 1
    half = np.where(np.arange(100) % 2, np.arange(100) % 10, (np.arange(100) + 1) % 10)
    assert changes.calibration_error(sure, half) == pytest.approx(0.5)
