"""The formulas against scipy and statsmodels, against their definition, and against published examples."""

from __future__ import annotations

import math
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
from mnist_edge.parity.gate import ClassCounts, Gate, decide

SIZES = [1, 2, 7, 100, 500, 2_000, 10_000]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_is_that_of_statsmodels(n: int, confidence: float) -> None:
    for k in sorted({0, 1, n // 3, n // 2, n - 1, n}):
        theirs = proportion_confint(k, n, alpha=1 - confidence, method="wilson")
        assert statistics.wilson(k, n, confidence) == pytest.approx(theirs, abs=1e-9)


def test_mcnemar_is_that_of_statsmodels_and_scipy() -> None:
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
def test_the_interval_solves_the_definition(broken: int, fixed: int, n: int) -> None:
    z = NormalDist().inv_cdf(0.975)
    low, high = statistics.paired_difference(broken, fixed, n)
    assert score(broken, fixed, n, low) == pytest.approx(z, rel=1e-4)
    assert score(broken, fixed, n, high) == pytest.approx(-z, rel=1e-4)


def test_the_interval_of_a_published_example() -> None:
    # Airway hyper-responsiveness before and after transplantation (1, 1, 7, 12), n = 21; Fagerland, Lydersen and Laake,
    # Statistics in Medicine 33 (2014): Tango's interval for the difference is -0.517 to -0.026.
    low, high = statistics.paired_difference(1, 7, 21)
    assert (round(low, 3), round(high, 3)) == (-0.517, -0.026)


counts = st.integers(1, 10_000).flatmap(
    lambda n: st.integers(0, n).flatmap(lambda b: st.integers(0, n - b).map(lambda c: (b, c, n)))
)


@given(counts)
def test_the_interval_holds_the_estimate_mirrors_and_narrows(case: tuple[int, int, int]) -> None:
    broken, fixed, n = case
    low, high = statistics.paired_difference(broken, fixed, n)
    assert -1 <= low <= (broken - fixed) / n <= high <= 1
    mirrored = statistics.paired_difference(fixed, broken, n)
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)
    assert statistics.upper_bound(broken, fixed, n) <= high + 1e-12
    assert statistics.lower_bound(broken, fixed, n) >= low - 1e-12


@pytest.mark.parametrize("n", SIZES)
def test_the_corners(n: int) -> None:
    z2 = NormalDist().inv_cdf(0.975) ** 2
    assert statistics.paired_difference(0, 0, n) == pytest.approx((-z2 / (n + z2), z2 / (n + z2)), abs=1e-9)
    low, high = statistics.paired_difference(n, 0, n)
    assert high == 1
    assert low < 1


def test_zero_flips_among_500_still_leave_half_a_point() -> None:
    assert 100 * statistics.upper_bound(0, 0, 500) == pytest.approx(0.54, abs=0.005)
    assert statistics.images_needed(0.002) == 1351
    for margin in (0.0005, 0.002, 0.01, 0.3):
        needed = statistics.images_needed(margin)
        assert statistics.upper_bound(0, 0, needed) < margin <= statistics.upper_bound(0, 0, needed - 1)


def test_the_detectable_drop_has_its_power() -> None:
    n, rate = 10_000, 0.01
    drop = statistics.detectable_drop(n, rate)
    generator = np.random.default_rng(0)
    draws = generator.multinomial(n, [(rate + drop) / 2, (rate - drop) / 2, 1 - rate], size=4000)
    difference, flips = draws[:, 0] - draws[:, 1], draws[:, 0] + draws[:, 1]
    power = (difference / np.sqrt(flips) > NormalDist().inv_cdf(0.975)).mean()
    assert power == pytest.approx(0.8, abs=0.03)
    assert statistics.detectable_drop(10, 0.1) == 0.1


@pytest.mark.parametrize("n", [2_000, 10_000])
@pytest.mark.parametrize("flip_rate", [0.001, 0.003, 0.01, 0.02])
def test_coverage_by_simulation(n: int, flip_rate: float) -> None:
    """The gate's bound misses the true drop in at most 5 % of the trials; the two-sided interval is no gate."""
    generator = np.random.default_rng(1)
    trials = 3000
    for drop in (0.0, 0.0005, 0.002, 0.005):
        if drop > flip_rate:
            continue
        cells = [(flip_rate + drop) / 2, (flip_rate - drop) / 2, 1 - flip_rate]
        draws = generator.multinomial(n, cells, size=trials)
        seen, times = np.unique(draws[:, :2], axis=0, return_counts=True)
        missed = inside = 0
        for (broken, fixed), often in zip(seen.tolist(), times.tolist(), strict=True):
            low, high = statistics.paired_difference(broken, fixed, n)
            missed += often * (statistics.upper_bound(broken, fixed, n) < drop)
            inside += often * (low <= drop <= high)
        # 5 % and four standard errors of 3,000 trials.
        assert missed / trials <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / trials), (drop, missed / trials)
        # With five flips expected, a score interval covers a little less than its name says.
        assert inside / trials >= 0.92, (drop, inside / trials)


def test_the_gate_passes_a_model_at_the_margin_in_at_most_5_per_cent() -> None:
    generator = np.random.default_rng(2)
    trials, n, margin = 4000, 10_000, 0.002
    for flip_rate in (0.0025, 0.005, 0.01, 0.02):
        cells = [(flip_rate + margin) / 2, (flip_rate - margin) / 2, 1 - flip_rate]
        draws = generator.multinomial(n, cells, size=trials)
        gate = Gate(min_agreement=0.9)
        passed = sum(
            decide(gate, n, broken, fixed, n - broken - fixed, [])[0] == "non-inferior"
            for broken, fixed, _ in draws.tolist()
        )
        assert passed / trials <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / trials), flip_rate


def decided(gate: Gate = Gate(), n: int = 10_000, broken: int = 0, fixed: int = 0, agreeing: int | None = None,  # noqa: B008
            classes: list[ClassCounts] | None = None) -> str:  # fmt: skip
    return decide(gate, n, broken, fixed, n - broken - fixed if agreeing is None else agreeing, classes or [])[0]


def test_every_rule_decides_once() -> None:
    assert decided() == "non-inferior"
    assert decided(broken=3, fixed=2) == "non-inferior"
    assert decided(broken=30, fixed=1) == "drop"
    assert decided(broken=20, fixed=5) == "drop-bound"
    assert decided(agreeing=9_900) == "agreement"
    assert decided(n=500) == "undecidable"
    assert decided(n=500, broken=20) == "agreement"
    assert decided(broken=15, fixed=15, classes=[ClassCounts("7", 1000, 15, 0)]) == "class-drop"
    # One in 40 is over the margin, but no more than chance.
    assert decided(broken=1, classes=[ClassCounts("7", 40, 1, 0)]) == "non-inferior"


def test_a_collapsed_class_cannot_hide_in_a_thousand_images_of_others() -> None:
    gate = Gate(max_drop_pp=5, min_agreement=0.9)
    assert decided(gate, broken=100, classes=[ClassCounts("rare", 100, 100, 0)]) == "class-drop"


def test_divergence_is_that_of_scipy_and_calibration_error_that_of_its_definition() -> None:
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
