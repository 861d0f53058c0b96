"""The gate: its rules, its margins, and the sentence that explains each verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

from mnist_edge.errors import UsageError
from mnist_edge.parity import statistics
from mnist_edge.parity.counts import AnswerCounts, ClassCounts
from mnist_edge.parity.label_noise import LabelNoise
from mnist_edge.parity.probabilities import ProbabilityChange

# Confidence of the bound by which a file passes. The score bound is an approximation: by enumeration, a bound at 95 %
# passes a model at the margin in up to 5.2 % of all test sets, this one in at most 5 % (tests/parity/test_gate.py).
PASS_CONFIDENCE = 0.955
# Family-wise error of the class rule, divided between its two tests and by the number of classes.
CLASS_ALPHA = 0.05
# Uncorrected significance level of the loss of a class, without which the first test of `class_failure` is not done.
CLASS_LOSS_P = 0.05
# Smallest share of unchanged answers, if --min-agreement names none and noise does not explain more changes.
MIN_AGREEMENT = 0.995
# Largest share of changed labels that noise explains. A file that changes more than a tenth of all labels is not the
# same classifier, however uncertain the float model is. Healthy files change up to 6 %, not counting ties
# (benchmarks/results/gate_zoo.md).
MOST_NOISE = 0.1
# Largest probability that a file with the noise that `label_noise` assumes changes more labels than are allowed.
CHANGES_ALPHA = 0.05
NO_NOISE = LabelNoise()


@dataclass(frozen=True)
class Gate:
    """Margins: how much worse than the float model a file may be.

    Attributes:
        max_drop_pp: largest loss of accuracy, in percentage points.
        min_agreement: smallest share of unchanged answers, 0 to 1, as a hard bound. None means 0.995, or less if the
            float model is so uncertain that noise explains more changed labels: see `allowed_changes`.
        max_class_drop_pp: largest loss of accuracy on the images of one class, in percentage points.
        max_brier_increase: largest rise of the mean Brier score.
        max_probability_distance: largest distance of the probabilities, see `ProbabilityChange`. This default and that
            of the Brier score were chosen on training-side images: benchmarks/results/probability_margin.md.

    Raises:
        UsageError: a margin is not finite, or ``min_agreement`` is not between 0 and 1.
    """

    max_drop_pp: float = 0.2
    min_agreement: float | None = None
    max_class_drop_pp: float = 1.0
    max_brier_increase: float = 0.002
    max_probability_distance: float = 0.0125

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not math.isfinite(value):
                raise UsageError(f"--{name.replace('_', '-')} is {value}.", "Name a finite number.")
        if self.min_agreement is not None and not 0 <= self.min_agreement <= 1:
            raise UsageError(f"--min-agreement is {self.min_agreement:g}.", "Name a share from 0 to 1, such as 0.995.")


class Decision(NamedTuple):
    """Decision of the gate.

    Attributes:
        rule: the name of the rule that decided. verdict: the decision and its reason, as a sentence.
        images_needed: approximate number of test images that would decide; given only if the rule is ``undecidable``
            or ``drop-bound``.
    """

    rule: str
    verdict: str
    images_needed: int | None = None


@dataclass(frozen=True)
class _Drop:
    """The paired change in accuracy and the gate that judges it. Rates are fractions, not percentage points."""

    gate: Gate
    n: int
    broken: int
    fixed: int

    @property
    def margin(self) -> float:
        return self.gate.max_drop_pp / 100

    @property
    def estimate(self) -> float:
        return (self.broken - self.fixed) / self.n

    @property
    def change(self) -> str:
        """The change in words, with its sign as a loss or a gain."""
        if self.estimate == 0:
            return "lost nothing"
        return f"{'lost' if self.estimate > 0 else 'gained'} {100 * abs(self.estimate):.2f} pp"

    def lower(self) -> float:
        return statistics.lower_bound(self.broken, self.fixed, self.n)

    def upper(self, confidence: float = 0.95) -> float:
        return statistics.upper_bound(self.broken, self.fixed, self.n, confidence)


def decide(
    gate: Gate, counts: AnswerCounts, probabilities: ProbabilityChange | None = None, noise: LabelNoise = NO_NOISE
) -> Decision:
    """Judge a file. It passes by the rule ``non-inferior`` only.

    First, evidence of a fault fails the file. Without such evidence, the upper bounds of the drop and of the changes in
    the probabilities must be below their margins; if one is not, the verdict is ``undecidable``. Only a drop fails by
    its bound alone, and only on a test set that would pass a model that changes as many answers and loses none.

    An improvement does not fail: answers that were fixed never count against a file, and the probabilities of a file
    whose accuracy and Brier score are both shown to be better may differ from the float model's.

    Args:
        gate: the margins. counts: the changed answers. probabilities: their change; None if they are not judged.
        noise: changed answers that the float model's uncertainty and the file's output grid explain.
    """
    n, drop = counts.n, _Drop(gate, counts.n, counts.broken, counts.fixed)
    gained = drop.upper() < 0
    disagreement = _disagreement(drop, n - counts.agreeing - counts.fixed, noise)
    if disagreement is not None and disagreement.rule == "agreement":
        return disagreement
    for of_class in counts.classes:
        failure = class_failure(gate, of_class, len(counts.classes), n, counts.broken)
        if failure is not None:
            return Decision("class-drop", failure)
    if drop.lower() > drop.margin:
        return _lost(drop)
    open_questions = [disagreement] if disagreement is not None else []
    if probabilities is not None:
        better = gained and probabilities.increase_ci90[1] < 0
        for found in (_brier(gate, n, probabilities), None if better else _distance(gate, n, probabilities)):
            if found is not None and found.rule != "undecidable":
                return found
            if found is not None:
                open_questions.append(found)
    decision = _non_inferior(drop, gained)
    if decision.rule == "undecidable":
        open_questions.insert(0, decision)
    if decision.rule not in ("non-inferior", "undecidable") or not open_questions:
        return decision
    needed = max(question.images_needed or 0 for question in open_questions)
    return open_questions[0]._replace(images_needed=needed)


def _non_inferior(drop: _Drop, gained: bool) -> Decision:
    """Decide whether the drop is shown to be below the margin, and if not, whether this test set could show it."""
    n, margin, allowed = drop.n, drop.margin, f"{drop.gate.max_drop_pp:g} pp"
    least = statistics.images_needed(margin)
    upper = drop.upper(PASS_CONFIDENCE)
    bound = f"with {100 * PASS_CONFIDENCE:g} % confidence the loss may be {100 * upper:.3f} pp"
    if upper < margin and (gained or n >= least):
        return Decision("non-inferior", _passed(drop, gained))
    rate = (drop.broken + drop.fixed) / (2 * n)
    if n >= max(least, statistics.images_to_decide(rate, rate, margin)):
        if drop.estimate > margin:
            return _lost(drop)
        return Decision(
            "drop-bound",
            f"Failed (drop-bound): it {drop.change}, and {bound}; allowed are {allowed}.",
            statistics.images_for_mean(n, drop.estimate, 2 * drop.estimate - upper, upper, margin),
        )
    wanted = statistics.images_to_decide(drop.broken / n, drop.fixed / n, margin)
    if n < least:
        cause = f"even a model without a changed answer needs {least:,} images to be shown to lose less than {allowed}"
    else:
        cause = f"{bound}, allowed are {allowed}"
    return Decision("undecidable", f"Undecidable: it {drop.change} on {n:,} images; {cause}.", max(wanted, least))


def _passed(drop: _Drop, gained: bool) -> str:
    upper, allowed = drop.upper(), f"{drop.gate.max_drop_pp:g} pp allowed"
    if gained:
        return (
            f"Passed (non-inferior): it {drop.change} on {drop.n:,} images, with 95 % confidence at least "
            f"{-100 * upper:.2f} pp."
        )
    seen = f"it {drop.change}; " if drop.estimate < 0 else ""
    return (
        f"Passed (non-inferior): {seen}with 95 % confidence it loses less than {100 * upper:.2f} pp on {drop.n:,} "
        f"images ({allowed})."
    )


def _lost(drop: _Drop) -> Decision:
    return Decision("drop", f"Failed (drop): it {drop.change}, more than the {drop.gate.max_drop_pp:g} pp allowed.")


def allowed_changes(gate: Gate, n: int, expected: float) -> int:
    """Largest number of n answers that may change without being corrected (wrong before, right now).

    If the gate names a share of unchanged answers, all others may change. Otherwise 0.5 % of the images, or more if
    noise explains more: the largest count that the exact binomial test with a mean of ``expected``, at most 10 % of the
    images, does not reject at `CHANGES_ALPHA`. The images have different probabilities of a change; for counts of at
    least the mean plus one, the upper tail of their sum is at most that of the binomial distribution with this mean.

    Source: W. Hoeffding, On the distribution of the number of successes in independent trials, Annals of Mathematical
    Statistics 27 (1956), theorem 5.

    Args:
        gate: the margins. n: number of images.
        expected: number of labels that noise is expected to change: `mnist_edge.parity.label_noise`.
    """
    if gate.min_agreement is not None:
        return math.floor(n * (1 - gate.min_agreement) + 1e-9)
    low, high = math.floor(n * (1 - MIN_AGREEMENT) + 1e-9), n
    share = min(MOST_NOISE, expected / n)
    while low < high:
        middle = (low + high + 1) // 2
        if middle < share * n + 1 or statistics.binomial_upper_tail(middle, n, share) > CHANGES_ALPHA:
            low = middle
        else:
            high = middle - 1
    return low


def _disagreement(drop: _Drop, changed: int, noise: LabelNoise) -> Decision | None:
    """The decision if too many answers changed without being corrected; None if they did not.

    A fixed answer does not count; a tie counts only if the gate names a share. The rule fails if there are more changes
    than `allowed_changes` and their share is above the allowed one with 95 % confidence (exact binomial test). If there
    are more changes and the test does not show it, the rule is undecidable.
    """
    n, named = drop.n, drop.gate.min_agreement
    most, ties = allowed_changes(drop.gate, n, noise.expected), ""
    if named is None and noise.tied:
        changed, ties = changed - noise.tied, " or tied"
    if changed <= most:
        return None
    share = changed / n
    allowed = 1 - named if named is not None else max(1 - MIN_AGREEMENT, min(MOST_NOISE, noise.expected / n))
    found = (
        f"it {drop.change}, and {changed:,} of {n:,} answers changed without being corrected{ties}; allowed are "
        f"{max(most, 0):,}"
    )
    if statistics.binomial_upper_tail(changed, n, allowed) <= CHANGES_ALPHA:
        return Decision("agreement", f"Failed (agreement): {found}.")
    z = NormalDist().inv_cdf(0.95) + NormalDist().inv_cdf(0.8)
    wanted = min(statistics.MANY_IMAGES, math.ceil(z * z * share * (1 - share) / (share - allowed) ** 2))
    verdict = f"Undecidable: {found}; on {n:,} images this may be chance."
    return Decision("undecidable", verdict, max(wanted, n + 1, statistics.images_needed(drop.margin)))


def _brier(gate: Gate, n: int, change: ProbabilityChange) -> Decision | None:
    """The paired non-inferiority test on the Brier score; None if it is passed."""
    (low, high), allowed = change.increase_ci90, gate.max_brier_increase
    if high < allowed:
        return None
    if low > allowed:
        return Decision(
            "brier",
            f"Failed (brier): the Brier score of its probabilities rose from {change.reference_brier:.4f} to "
            f"{change.brier:.4f}, with 95 % confidence by at least {low:.4f}; allowed are {allowed:g}.",
        )
    return Decision(
        "undecidable",
        f"Undecidable: on {n:,} images the Brier score of its probabilities changed by {change.increase:+.4f}, and "
        f"with 95 % confidence the rise may be {high:.4f}; allowed are {allowed:g}.",
        statistics.images_for_mean(n, change.increase, low, high, allowed),
    )


def _distance(gate: Gate, n: int, change: ProbabilityChange) -> Decision | None:
    """The decision if the probabilities are not shown to be close to the float model's; None if they are."""
    (low, high), allowed = change.distance_ci90, gate.max_probability_distance
    if high < allowed:
        return None
    found = f"its probabilities differ from the float model's by {change.distance:.2%} of its uncertainty"
    if low > allowed:
        return Decision(
            "probabilities",
            f"Failed (probabilities): {found}, with 95 % confidence by at least {low:.2%}; allowed are {allowed:.2%}.",
        )
    return Decision(
        "undecidable",
        f"Undecidable: {found} on {n:,} images, and with 95 % confidence it may be {high:.2%}; allowed are "
        f"{allowed:.2%}.",
        statistics.images_for_mean(n, change.distance, low, high, allowed),
    )


def class_failure(gate: Gate, counts: ClassCounts, classes: int, n: int, broken: int) -> str | None:
    """The verdict on a class that fails, None for one that does not.

    A class fails if its loss is above the margin and chance does not explain it, corrected for the number of classes.
    Two tests share the family-wise error. The first tests whether so many of the broken answers fall into this class by
    chance; its power hardly depends on the number of classes. It counts only if the class, without correction, breaks
    significantly more answers than it fixes: a difficult class may have more changes of both kinds than others. The
    second tests whether the class breaks more answers than it fixes; it finds losses that the first cannot find if
    most images are of this class. A loss that noise explains does not fail (see `allowed_changes`).

    Args:
        gate: the margins. counts: of the class. classes: how many there are. n, broken: images and broken answers of
            all classes.
    """
    loss = counts.broken - counts.fixed
    if counts.n == 0 or 100 * loss <= gate.max_class_drop_pp * counts.n:
        return None
    alone = statistics.mcnemar_exact(counts.broken, counts.fixed) / 2
    concentrated = 1.0
    if alone <= CLASS_LOSS_P:
        concentrated = statistics.concentration_p(counts.broken, counts.n, broken, n)
    if min(alone, concentrated) > CLASS_ALPHA / (2 * classes):
        return None
    by_noise = statistics.binomial_upper_tail(counts.broken, counts.n, counts.expected_broken / counts.n)
    if by_noise > CLASS_ALPHA / classes:
        return None
    return (
        f"Failed (class-drop): class {counts.name} lost {100 * loss / counts.n:.2f} pp ({counts.broken:,} broken, "
        f"{counts.fixed:,} fixed of {counts.n:,}), more than chance explains in any of {classes} classes; allowed are "
        f"{gate.max_class_drop_pp:g} pp."
    )
