"""Confidence intervals of latency ratios: against SciPy's exact tests, and their coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import signal, stats

from mnist_edge.measure import latency_ratios

TRUE_RATIO = 1.07
SIMULATIONS = 300
SIMULATIONS_BY_CALLS = 60
CALLS = 200
# Differences of logarithms of distinct integers are rarely tied.
TIMES = st.integers(10_000, 40_000)
EDGE = 1e-9


def times(least: int) -> st.SearchStrategy[list[int]]:
    return st.lists(TIMES, min_size=least, max_size=9, unique=True)


@settings(deadline=None, max_examples=50)
@given(times(4), times(4))
def test_the_unpaired_interval_contains_the_ratios_that_the_exact_test_does_not_reject(
    before: list[int], after: list[int]
) -> None:
    estimate = latency_ratios.unpaired(before, after)
    assert estimate.ci95 is not None

    def p_value(ratio: float) -> float:
        shifted = np.log(after) - np.log(ratio)
        return float(stats.mannwhitneyu(shifted, np.log(before), method="exact").pvalue)

    low, high = estimate.ci95
    assert low <= estimate.ratio <= high
    assert p_value(low * (1 - EDGE)) <= 0.05
    assert p_value(high * (1 + EDGE)) <= 0.05
    if low < high:
        # Without ties, the test does not reject the next ratio inside of the interval.
        ratios = np.sort(np.divide.outer(after, before).ravel())
        if np.diff(np.log(ratios)).min() > 4 * EDGE:
            assert p_value(low * (1 + EDGE)) > 0.05
            assert p_value(high * (1 - EDGE)) > 0.05


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(TIMES, TIMES), min_size=6, max_size=12))
def test_the_paired_interval_contains_the_ratios_that_the_exact_test_does_not_reject(
    pairs: list[tuple[int, int]],
) -> None:
    before, after = (np.array(side, float) for side in zip(*pairs, strict=True))
    estimate = latency_ratios.paired(before, after)
    assert estimate.ci95 is not None
    differences = np.log(after / before)

    def p_value(ratio: float) -> float:
        return float(stats.wilcoxon(differences - np.log(ratio), method="exact").pvalue)

    low, high = estimate.ci95
    assert low <= estimate.ratio <= high
    walsh = np.sort((np.add.outer(differences, differences) / 2)[np.triu_indices(len(differences))])
    if np.diff(walsh).min() > 4 * EDGE:
        assert p_value(low * (1 - EDGE)) <= 0.05 < p_value(low * (1 + EDGE))
        assert p_value(high * (1 + EDGE)) <= 0.05 < p_value(high * (1 - EDGE))


@pytest.mark.parametrize(("before", "after", "found"), [(3, 4, False), (4, 4, True), (1, 20, False), (2, 8, True)])
def test_too_few_processes_give_no_unpaired_interval(before: int, after: int, found: bool) -> None:
    first, second = np.geomspace(9, 100 / 9, before + 2)[1:-1], np.geomspace(18, 200 / 9, after + 2)[1:-1]
    estimate = latency_ratios.unpaired(first.tolist(), second.tolist())
    assert estimate.ratio == pytest.approx(2)
    assert (estimate.ci95 is not None) is found


@pytest.mark.parametrize(("rounds", "found"), [(1, False), (5, False), (6, True)])
def test_too_few_rounds_give_no_paired_interval(rounds: int, found: bool) -> None:
    before = np.linspace(10, 11, rounds)
    estimate = latency_ratios.paired(before.tolist(), (2 * before).tolist())
    assert estimate.ratio == pytest.approx(2)
    assert (estimate.ci95 is not None) is found


def test_rounds_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="6 and 7 rounds"):
        latency_ratios.paired([1.0] * 6, [1.0] * 7)


def test_the_design_effect_is_the_f_of_the_analysis_of_variance() -> None:
    draw = np.random.default_rng(0)
    independent = [draw.lognormal(10, 0.05, size).astype(np.int64) for size in (300, 400, 500)]
    shifted = [calls * factor // 10 for calls, factor in zip(independent, (10, 11, 12), strict=True)]
    for processes in (independent, shifted):
        expected = stats.f_oneway(*map(np.log, processes)).statistic
        assert latency_ratios.design_effect(processes) == pytest.approx(expected)
    assert (latency_ratios.design_effect(shifted) or 0) > 100
    assert (latency_ratios.design_effect(independent) or 9) < 5
    assert latency_ratios.design_effect(independent[:1]) is None
    assert latency_ratios.design_effect([np.array([5, 5]), np.array([6, 6])]) is None


def simulated(draw: np.random.Generator, processes: int, drift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Simulated call times of processes (processes, CALLS) with bimodal, heavy-tailed effects and autocorrelation.

    A quarter of the processes is slower by 15 %, as was observed with LiteRT; Student's t with two degrees of freedom
    adds disturbed processes. Within a process the logarithms are autoregressive with a coefficient of 0.9.
    """
    effects = 0.01 * draw.standard_t(2, processes) + 0.15 * (draw.random(processes) < 0.25) + drift
    steps = 0.01 * draw.standard_normal((processes, CALLS))
    noise = signal.lfilter([1], [1, -0.9], steps)
    return 18 * np.exp(effects[:, np.newaxis] + noise)


def pooled_bootstrap(
    draw: np.random.Generator, before: NDArray[np.float64], after: NDArray[np.float64]
) -> tuple[float, float]:
    """Interval with the call as the sampling unit, for comparison: percentiles of ratios of resampled medians."""
    medians = [np.median(draw.choice(calls.ravel(), (100, calls.size)), axis=1) for calls in (before, after)]
    low, high = np.percentile(medians[1] / medians[0], [2.5, 97.5])
    return float(low), float(high)


@pytest.mark.parametrize("processes", [7, 20])
@pytest.mark.parametrize("pairwise", [False, True])
def test_intervals_cover_the_true_ratio_in_95_percent_of_runs_and_those_of_single_calls_do_not(
    processes: int, pairwise: bool
) -> None:
    draw = np.random.default_rng(processes)
    held = held_by_calls = 0
    for run in range(SIMULATIONS):
        # Within one run the machine's speed drifts; the two processes of a round have the same drift.
        drift = np.cumsum(0.03 * draw.standard_normal(processes)) if pairwise else np.zeros(processes)
        before = simulated(draw, processes, drift)
        after = TRUE_RATIO * simulated(draw, processes, drift)
        method = latency_ratios.paired if pairwise else latency_ratios.unpaired
        estimate = method(np.median(before, axis=1).tolist(), np.median(after, axis=1).tolist())
        assert estimate.ci95 is not None
        held += estimate.ci95[0] <= TRUE_RATIO <= estimate.ci95[1]
        if run < SIMULATIONS_BY_CALLS:
            low, high = pooled_bootstrap(draw, before, after)
            held_by_calls += low <= TRUE_RATIO <= high
    # 95 % less three standard deviations of 300 draws is 91.2 %.
    assert held >= 0.912 * SIMULATIONS
    assert held_by_calls < 0.7 * SIMULATIONS_BY_CALLS
