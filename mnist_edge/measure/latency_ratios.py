"""Ratio of two latencies, with a 95 % confidence interval whose sampling unit is the process, not the call.

Calls within one process depend on each other: they share its memory placement, its core and the state of the machine.
An interval from single calls is therefore too narrow by the square root of the design effect (Kish, "Survey Sampling",
1965), often by a factor of 10 and more. Here one process gives one number, the median of its calls. Logarithms of these
medians are compared by the Hodges-Lehmann estimate and the interval of the matching exact rank test (Hodges and
Lehmann, 1963; Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, 3rd edition, sections 3.3 and 4.3). The
coverage of such an interval is at least 95 % for any continuous distribution of the process effects, a heavy-tailed or
bimodal one included. The paired interval needs differences that are symmetric about their centre.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge.results import Latency, Ratio

ALPHA = 0.05
# The smallest numbers of processes for which an exact rank interval of 95 % exists: 2 / 2**6 and 2 / C(8, 4) are below
# 5 %, 2 / 2**5 and 2 / C(6, 3) are not.
MINIMUM_PAIRS = 6
MINIMUM_UNPAIRED = 4


@dataclass(frozen=True)
class RatioEstimate:
    """Time after divided by time before; ``ci95`` is None if too few processes were measured."""

    ratio: float
    ci95: tuple[float, float] | None


def unpaired(before_us: Sequence[float], after_us: Sequence[float]) -> RatioEstimate:
    """Compare the processes of two runs: median of all pairwise ratios, interval of the Wilcoxon-Mann-Whitney test.

    Args:
        before_us: median call time of each process of the first run.
        after_us: the same of the second run.
    """
    before, after = np.log(before_us), np.log(after_us)
    return _estimate(np.subtract.outer(after, before).ravel(), _mann_whitney(len(before), len(after)))


def paired(before_us: Sequence[float], after_us: Sequence[float]) -> RatioEstimate:
    """Compare two files round by round: median of the Walsh averages, interval of the Wilcoxon signed-rank test.

    A slow change of the machine during the run cancels, because it affects both processes of a round.

    Args:
        before_us: median call time of the first file's process in each round.
        after_us: the same of the second file, in the same order.

    Raises:
        ValueError: the numbers of rounds differ.
    """
    if len(before_us) != len(after_us):
        raise ValueError(f"{len(before_us)} and {len(after_us)} rounds cannot be paired")
    differences = np.log(after_us) - np.log(before_us)
    first, second = np.triu_indices(len(differences))
    return _estimate((differences[first] + differences[second]) / 2, _signed_rank(len(differences)))


def design_effect(processes: Sequence[NDArray[np.int64]]) -> float | None:
    """Variance between processes divided by what it would be if all calls were independent.

    It is the F of a one-way analysis of variance of the logarithms of call times: 1 for independent calls. None if
    there are fewer than two processes, or if calls do not vary within them.

    Args:
        processes: call times of each process, in any one unit.
    """
    logs = [np.log(np.maximum(calls, 1)) for calls in processes]
    total = sum(map(len, logs))
    if len(logs) < 2 or total == len(logs):
        return None
    within = sum(float(((log - log.mean()) ** 2).sum()) for log in logs) / (total - len(logs))
    grand = float(np.concatenate(logs).mean())
    between = sum(len(log) * (float(log.mean()) - grand) ** 2 for log in logs) / (len(logs) - 1)
    return between / within if within > 0 else None


def _estimate(differences: NDArray[np.float64], left_out: int | None) -> RatioEstimate:
    """Ratio from the median of differences of logarithms, and its interval.

    ``left_out`` is the number of differences beyond either end of the interval; None if there is no interval.
    """
    ordered = np.sort(differences)
    ratio = float(np.exp(np.median(ordered)))
    if left_out is None:
        return RatioEstimate(ratio, None)
    return RatioEstimate(ratio, (float(np.exp(ordered[left_out])), float(np.exp(ordered[-1 - left_out]))))


@cache
def _signed_rank(n: int) -> int | None:
    """Largest w with P(W <= w) <= ALPHA / 2 for the signed-rank statistic of n pairs; None if there is none."""
    probability = np.zeros(n * (n + 1) // 2 + 1)
    probability[0] = 1
    for rank in range(1, n + 1):  # each rank is in the sum with probability 1 / 2
        shifted = np.zeros_like(probability)
        shifted[rank:] = probability[:-rank]
        probability = (probability + shifted) / 2
    return _largest(probability)


@cache
def _mann_whitney(m: int, n: int) -> int | None:
    """Largest u with P(U <= u) <= ALPHA / 2 for the Mann-Whitney statistic of m and n values; None if none."""
    # ways[k, u]: number of orders of the first ranks that hold k of the m values, with statistic u.
    ways = np.zeros((m + 1, m * n + 1))
    ways[0, 0] = 1
    for rank in range(m + n):
        for placed in range(min(rank, m - 1), -1, -1):
            lower = rank - placed  # how many of the n values have a lower rank
            if lower <= n:
                ways[placed + 1, lower:] += ways[placed, : m * n + 1 - lower]
    return _largest(ways[m] / ways[m].sum())


def _largest(probability: NDArray[np.float64]) -> int | None:
    """Largest value whose cumulative probability is at most ALPHA / 2; None if there is none."""
    allowed = int(np.searchsorted(np.cumsum(probability), ALPHA / 2, side="right"))
    return allowed - 1 if allowed else None


def compare(before: Sequence[Latency], after: Sequence[Latency]) -> list[Ratio]:
    """Compare two stored runs, with the process as the sampling unit.

    A change of the machine's state between the two runs is a part of the ratio. Configurations are matched by file
    name, engine, threads and batch. If the runs have none in common but equally many files, the first file is compared
    with the first one, the second with the second one, and so on.
    """
    by_key = {_key(item): item for item in before}
    pairs = [(by_key[_key(item)], item) for item in after if _key(item) in by_key]
    files_before, files_after = (list(dict.fromkeys(item.path for item in run)) for run in (before, after))
    if not pairs and len(files_before) == len(files_after):
        for first, second in zip(files_before, files_after, strict=True):
            pairs += by_engine(
                [item for item in before if item.path == first], [item for item in after if item.path == second]
            )
    return [ratio(first, second, pairwise=False) for first, second in pairs]


def _key(item: Latency) -> tuple[str, str, int, int]:
    return Path(item.path).name, item.engine, item.threads, item.batch


def by_engine(before: Sequence[Latency], after: Sequence[Latency]) -> list[tuple[Latency, Latency]]:
    """Pairs of configurations of two files with equal threads and batch, and equal engine if both files share one."""
    shared = {item.engine for item in before} & {item.engine for item in after}
    return [
        (first, second)
        for second in after
        for first in before
        if (first.threads, first.batch) == (second.threads, second.batch)
        and (first.engine == second.engine or not shared)
    ]


def ratio(before: Latency, after: Latency, pairwise: bool) -> Ratio:
    """Ratio of two configurations with its interval; ``pairwise`` if their processes ran alternately, in rounds."""
    medians = before.process_p50_us or (before.p50_us,), after.process_p50_us or (after.p50_us,)
    found = (paired if pairwise else unpaired)(*medians)
    counts = len(medians[0]), len(medians[1])
    least = MINIMUM_PAIRS if pairwise else MINIMUM_UNPAIRED
    why = f"{counts[0]} and {counts[1]} processes; an interval needs at least {least} of each"
    return Ratio(
        *_key(after),
        before_us=float(np.median(medians[0])),
        after_us=float(np.median(medians[1])),
        ratio=found.ratio,
        ratio_ci95=found.ci95,
        before_name=Path(before.path).name,
        before_engine=before.engine,
        paired=pairwise,
        processes=counts,
        no_interval=why if found.ci95 is None else None,
    )
