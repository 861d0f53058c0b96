"""One file on one engine against the float model's answers, image by image."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge.formats.reference import Reference
from mnist_edge.parity import statistics
from mnist_edge.parity.answers import answers
from mnist_edge.parity.changes import changes
from mnist_edge.parity.gate import NO_NOISE, ClassCounts, Decision, Gate, allowed_changes, decide
from mnist_edge.parity.label_noise import LabelNoise, label_noise
from mnist_edge.parity.probabilities import ProbabilityChange, probability_change
from mnist_edge.results import Flips, ParityReport, TwinReport
from mnist_edge.runtime import Session


def compare(
    reference: Reference,
    session: Session,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    gate: Gate | None = None,
) -> ParityReport:
    """The paired verdict.

    Args:
        reference: float probabilities (n, classes) on these very images.
        session: the file to judge.
        images: uint8 (n, h, w, 1).
        labels: int64 (n,).
        gate: margins; the defaults without one.

    Raises:
        ValueError: the reference has another number of images, or probabilities that are not finite.
    """
    if not np.isfinite(reference.probabilities).all():
        raise ValueError("the reference holds probabilities that are not finite")
    if len(reference.probabilities) != len(labels):
        raise ValueError(f"{len(reference.probabilities)} reference rows for {len(labels)} images")
    return report(reference.probabilities, session.predict(images), session, labels, gate or Gate())


def report(
    before: NDArray[np.float32], after: NDArray[np.float32], session: Session, labels: NDArray[np.int64], gate: Gate
) -> ParityReport:
    """The verdict on the probabilities of the float model and of a file: float32 (n, classes) before and after."""
    names = session.contract.class_names
    comparable = before.shape == after.shape and bool(np.isfinite(after).all())
    change = probability_change(before, after, labels) if comparable else None
    noise = label_noise(before, after, labels) if comparable else NO_NOISE
    decision = decision_on(before, after, names, labels, gate, change, noise)
    made = _report(before, after, labels, names, decision, change, session.path, session.engine, session.verified)
    if not comparable:
        return made
    allowed = max(allowed_changes(gate, len(labels), noise.expected), 0)
    return replace(made, allowed_changes=allowed, tied_changes=noise.tied)


def refused(
    before: NDArray[np.float32], path: Path, engine: str, labels: NDArray[np.int64], cause: str
) -> ParityReport:
    """The report of an engine that does not take the file: every answer is missing."""
    after = np.full_like(before, np.nan)
    decision = Decision("refused", f"Failed (refused): {cause}")
    return _report(before, after, labels, (), decision, None, path, engine, verified=False)


def decision_on(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    class_names: tuple[str, ...],
    labels: NDArray[np.int64],
    gate: Gate,
    change: ProbabilityChange | None,
    noise: LabelNoise,
) -> Decision:
    """The gate's decision on the probabilities of the float model and of a file, float32 (n, classes)."""
    n = len(labels)
    if before.shape != after.shape:
        return Decision("shape", f"Failed (shape): its answers are {after.shape}, the reference's {before.shape}.")
    rows = int((~np.isfinite(after).all(axis=1)).sum())
    if rows:
        return Decision("nan", f"Failed (nan): {rows:,} of {n:,} answers are NaN or infinite.")
    old, new = answers(before), answers(after)
    broken, fixed = (old == labels) & (new != labels), (old != labels) & (new == labels)
    expected = noise.expected_broken or (0.0,) * len(class_names)
    groups = [labels == label for label in range(len(class_names))]
    classes = [
        ClassCounts(name, int(of.sum()), int(broken[of].sum()), int(fixed[of].sum()), expected[label])
        for label, (name, of) in enumerate(zip(class_names, groups, strict=True))
    ]
    return decide(gate, n, int(broken.sum()), int(fixed.sum()), int((old == new).sum()), classes, change, noise)


def _report(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    labels: NDArray[np.int64],
    class_names: tuple[str, ...],
    decision: Decision,
    change: ProbabilityChange | None,
    path: Path,
    engine: str,
    verified: bool,
) -> ParityReport:
    n, old, new = len(labels), answers(before), answers(after)
    flips = flips_between(old, new, labels)
    low, high = statistics.paired_difference(flips.broken, flips.fixed, n)
    return ParityReport(
        path=str(path),
        engine=engine,
        passed=decision.rule == "non-inferior",
        rule=decision.rule,
        verdict=decision.verdict,
        n=n,
        accuracy=float((new == labels).mean()),
        reference_accuracy=float((old == labels).mean()),
        drop_pp=100 * (flips.broken - flips.fixed) / n,
        drop_ci95_pp=(100 * low, 100 * high),
        drop_upper95_pp=100 * statistics.upper_bound(flips.broken, flips.fixed, n),
        mcnemar_p=statistics.mcnemar_exact(flips.broken, flips.fixed),
        agreement=float((old == new).mean()),
        flips=flips,
        detectable_drop_pp=100 * statistics.detectable_drop(n, flips.fixed),
        verified_hash=verified,
        changes=changes(before, after, labels, class_names) if change is not None else None,
        brier=change.brier if change else None,
        reference_brier=change.reference_brier if change else None,
        brier_increase=change.increase if change else None,
        brier_increase_upper95=_finite(change.increase_ci90[1]) if change else None,
        probability_distance=change.distance if change else None,
        probability_distance_upper95=_finite(change.distance_ci90[1]) if change else None,
        images_needed=None if decision.images_needed == statistics.MANY_IMAGES else decision.images_needed,
    )


def _finite(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None


def flips_between(old: NDArray[np.int64], new: NDArray[np.int64], labels: NDArray[np.int64]) -> Flips:
    """How many answers broke and how many were fixed."""
    return Flips(
        fixed=int(((old != labels) & (new == labels)).sum()), broken=int(((old == labels) & (new != labels)).sum())
    )


def float_export_report(
    path: str, before: NDArray[np.float32], after: NDArray[np.float32], labels: NDArray[np.int64]
) -> TwinReport:
    """What changed between the answers of the float export at a path and those of the quantized file."""
    old, new = answers(before), answers(after)
    flips = flips_between(old, new, labels)
    drop_pp = 100 * (flips.broken - flips.fixed) / len(labels)
    return TwinReport(path=path, drop_pp=drop_pp, agreement=float((old == new).mean()), flips=flips)
