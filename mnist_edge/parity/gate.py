"""The verdict: which rule decides, and in a sentence why."""

from __future__ import annotations

from dataclasses import dataclass

from mnist_edge.parity import statistics


@dataclass(frozen=True)
class Gate:
    """Margins. ``max_drop_pp`` and ``max_class_drop_pp`` in percentage points, ``min_agreement`` a fraction."""

    max_drop_pp: float = 0.2
    min_agreement: float = 0.995
    max_class_drop_pp: float = 1.0


@dataclass(frozen=True)
class ClassCounts:
    """One class of the test set: its name, its images, and how many answers on them broke or were fixed."""

    name: str
    n: int
    broken: int
    fixed: int


def decide(gate: Gate, n: int, broken: int, fixed: int, agreeing: int, classes: list[ClassCounts]) -> tuple[str, str]:
    """The rule that decided, and the verdict. The rule ``non-inferior`` is the only pass.

    Non-inferiority: the drop's one-sided 95 % upper bound must lie under the margin.
    """
    drop, upper = 100 * (broken - fixed) / n, 100 * statistics.upper_bound(broken, fixed, n)
    if agreeing / n < gate.min_agreement:
        return "agreement", (
            f"Failed (agreement): the answers agree on {agreeing / n:.2%} of {n:,} images; "
            f"wanted is {gate.min_agreement:.2%}."
        )
    for counts in classes:
        fallen = _collapsed(gate, counts, len(classes))
        if fallen is not None:
            return "class-drop", fallen
    if drop > gate.max_drop_pp:
        return "drop", f"Failed (drop): it lost {drop:.2f} pp, more than the {gate.max_drop_pp:g} pp allowed."
    needed = statistics.images_needed(gate.max_drop_pp / 100)
    if n < needed:
        return "undecidable", (
            f"Undecidable: with {n:,} images no model can prove a drop under {gate.max_drop_pp:g} pp; "
            f"it needs at least {needed:,}."
        )
    if upper >= gate.max_drop_pp:
        return "drop-bound", (
            f"Failed (drop-bound): it lost {drop:.2f} pp, and with 95 % confidence the loss may be {upper:.2f} pp; "
            f"allowed are {gate.max_drop_pp:g} pp."
        )
    return "non-inferior", (
        f"Passed (non-inferior): with 95 % confidence it loses less than {max(upper, 0.0):.2f} pp on {n:,} images "
        f"({gate.max_drop_pp:g} pp allowed)."
    )


def _collapsed(gate: Gate, counts: ClassCounts, classes: int) -> str | None:
    """Why a class fails: a drop over the margin that chance, looked at once a class, does not explain."""
    if counts.n == 0:
        return None
    drop = 100 * (counts.broken - counts.fixed) / counts.n
    low = 100 * statistics.lower_bound(counts.broken, counts.fixed, counts.n, 1 - 0.05 / classes)
    if drop <= gate.max_class_drop_pp or low <= 0:
        return None
    return (
        f"Failed (class-drop): class {counts.name} lost {drop:.2f} pp (at least {low:.2f} pp, corrected for "
        f"{classes} classes); allowed are {gate.max_class_drop_pp:g} pp."
    )
