#!/usr/bin/env python3
"""Power and false alarms of the gate. Writes benchmarks/results/gate.md.

    python benchmarks/gate_power.py

Powers and false passes are exact, false alarms are simulated: the tables do not depend on the machine.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import stats

from mnist_edge.parity import statistics
from mnist_edge.parity.counts import AnswerCounts, ClassCounts
from mnist_edge.parity.gate import CLASS_ALPHA, Gate, class_failure, decide

RESULT = Path(__file__).resolve().parent / "results" / "gate.md"
CLASSES = (2, 10, 100, 1000)
IMAGES = (20, 100, 1000)
# Probability with which an answer breaks by chance alone, and with which one is fixed, in each class.
RATES = (0.0, 0.001, 0.005)
POWER = 0.8
SIZES = (100, 1000, 1351, 1497, 1500, 2500, 10_000)
FIXED_RATES = (0.0, 0.0001, 0.001, 0.0023, 0.005, 0.01, 0.0143)
TAIL = 1e-9
TRIALS = 2000


def class_power(classes: int, images: int, loss: float, rate: float) -> float:
    """Probability that the class rule detects a class that loses the share ``loss`` of its answers.

    In addition, each answer of any class breaks with probability ``rate``, and is fixed with the same probability.
    Exact up to tails of 1e-9.
    """
    n, broken_rate, gate = classes * images, loss + rate, Gate()
    low, high = (int(stats.binom.ppf(p, images, broken_rate)) for p in (TAIL, 1 - TAIL))
    most = int(stats.binom.ppf(1 - TAIL, n - images, rate))
    others = stats.binom.cdf(np.arange(most + 1), n - images, rate)
    share = min(rate / (1 - broken_rate), 1.0) if broken_rate < 1 else 0.0
    total = 0.0
    for broken in range(max(low, 0), high + 1):
        chances = stats.binom.pmf(np.arange(images - broken + 1), images - broken, share)
        chances *= stats.binom.pmf(broken, images, broken_rate)
        # The more answers break in other classes, the less significant are those that break in this one.
        few = _most_others(broken, images, n, most, CLASS_ALPHA / (2 * classes))
        for fixed in np.flatnonzero(chances > TAIL * 1e-3).tolist():
            counts = ClassCounts("", images, broken, fixed)
            if class_failure(gate, counts, classes, n, broken + most):
                total += chances[fixed]
            elif few >= 0 and class_failure(gate, counts, classes, n, broken + few):
                total += chances[fixed] * others[few]
    return float(total)


def _most_others(broken: int, images: int, n: int, most: int, p: float) -> int:
    """Largest number of broken answers in other classes with which the concentration is significant; -1 if none."""
    first, last = -1, most
    while first < last:
        middle = (first + last + 1) // 2
        if statistics.concentration_p(broken, images, broken + middle, n) <= p:
            first = middle
        else:
            last = middle - 1
    return first


def smallest_loss(classes: int, images: int, rate: float) -> float | None:
    """Smallest loss of one class, a multiple of 1 / images, that is detected with probability `POWER`; None if none."""
    low, high = 0, 1
    while class_power(classes, images, high / images, rate) < POWER:
        if 2 * high > images:
            return None
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if class_power(classes, images, middle / images, rate) < POWER:
            low = middle
        else:
            high = middle
    return high / images


def false_alarms(classes: int, images: int, rate: float, trials: int, seed: int = 0) -> float:
    """Share of simulated test sets on which the class rule fails a model whose changes are spread evenly."""
    generator = np.random.default_rng(seed)
    alarms = 0
    for _ in range(trials):
        broken = generator.binomial(images, rate, classes)
        fixed = generator.binomial(images - broken, rate / (1 - rate))
        suspects = np.flatnonzero(100 * (broken - fixed) > Gate().max_class_drop_pp * images)
        alarms += any(
            class_failure(
                Gate(), ClassCounts("", images, int(broken[i]), int(fixed[i])), classes, classes * images,
                int(broken.sum()),
            )
            for i in suspects
        )  # fmt: skip
    return alarms / trials


def false_pass_rate(n: int, fixed_rate: float) -> float:
    """Probability that a model whose true drop equals the margin passes; exact, summed over all pairs of counts.

    The rules of agreement, classes and probabilities are left out; they can only lower it.
    """
    gate = Gate(min_agreement=0)
    broken_rate = fixed_rate + gate.max_drop_pp / 100

    def passes(broken: int, fixed: int) -> bool:
        return decide(gate, AnswerCounts(n, broken, fixed, n - broken - fixed)).rule == "non-inferior"

    passed, limit = 0.0, 0  # `limit`: the smallest number of broken answers that does not pass
    first, last = (int(end) for end in stats.binom.ppf([1e-12, 1 - 1e-12], n, fixed_rate))
    for fixed in range(max(first, 0), last + 1):
        while limit + fixed <= n and passes(limit, fixed):
            limit += 1
        while limit and not passes(limit - 1, fixed):
            limit -= 1
        below = stats.binom.cdf(limit - 1, n - fixed, broken_rate / (1 - fixed_rate))
        passed += stats.binom.pmf(fixed, n, fixed_rate) * below
    return float(passed)


def false_pass_table() -> list[str]:
    """Table of the rates of false passes."""
    lines = [
        "## A model at the margin",
        "",
        "Share of test sets on which a model that loses exactly 0.2 pp passes (exact), by number of images and by the",
        "share of answers that are fixed. 5 % are allowed.",
        "",
        "| images | " + " | ".join(f"fixed {rate:.2%}" for rate in FIXED_RATES) + " |",
        "|" + "---|" * (1 + len(FIXED_RATES)),
    ]
    for n in SIZES:
        row = " | ".join(f"{false_pass_rate(n, rate):.2%}" for rate in FIXED_RATES)
        lines.append(f"| {n:,} | {row} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    lines = [
        "# Power of the gate",
        "",
        "`python benchmarks/gate_power.py` writes this page. Powers and false passes are exact; false alarms are "
        "simulated.",
        "",
        "## A loss in one class",
        "",
        "An answer is broken if the float model is right and the file is wrong, and fixed if it is the other way",
        "round. The table has the smallest loss of recall in one class that the rule `class-drop` finds with a",
        "probability of 80 % (exact), if by chance the given share of the answers in every class is broken and the",
        f"same share is fixed. The last column: how often the rule fails by chance alone ({TRIALS:,} simulated test",
        "sets; 5 % are allowed for all classes together).",
        "",
        "| classes | images a class | broken and fixed by chance, each | loss found with 80 % | false alarms |",
        "|---|---|---|---|---|",
    ]
    for classes in CLASSES:
        for images in IMAGES:
            for rate in RATES:
                loss = smallest_loss(classes, images, rate)
                found = "none" if loss is None else f"{100 * loss:.1f} pp"
                alarms = false_alarms(classes, images, rate, TRIALS) if rate else 0.0
                lines.append(f"| {classes:,} | {images:,} | {rate:.1%} | {found} | {alarms:.2%} |")
                print(lines[-1], flush=True)
    lines += [
        "",
        "## A loss in accuracy",
        "",
        "`detectable_drop_pp`: smallest true drop that the exact two-sided McNemar test at 0.05 finds with a",
        "probability of 80 %, by number of images and of answers that were fixed.",
        "",
        "| images | fixed 0 | 1 | 3 | 10 | 30 |",
        "|---|---|---|---|---|---|",
    ]
    for n in (100, 1000, 1500, 10_000):
        row = (f"{100 * statistics.detectable_drop(n, fixed):.2f}" for fixed in (0, 1, 3, 10, 30))
        lines.append(f"| {n:,} | " + " | ".join(row) + " |")
    lines += ["", *false_pass_table()]
    RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
