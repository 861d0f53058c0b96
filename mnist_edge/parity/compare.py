"""The report on one file on one engine: its answers compared with the float answers, image by image."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge.formats.float_answers import FloatAnswers
from mnist_edge.parity import statistics
from mnist_edge.parity.answers import answers
from mnist_edge.parity.changes import changes
from mnist_edge.parity.counts import AnswerCounts, ClassCounts
from mnist_edge.parity.gate import NO_NOISE, Decision, Gate, allowed_changes, decide
from mnist_edge.parity.label_noise import LabelNoise, label_noise
from mnist_edge.parity.probabilities import ProbabilityChange, probability_change
from mnist_edge.results import Flips, ParityReport, TwinReport
from mnist_edge.runtime import Session


@dataclass(frozen=True)
class PairedAnswers:
    """The answers of the float model and of a file to the same n images.

    Attributes:
        before: the float model's probabilities, float32 (n, classes).
        after: the file's probabilities, float32 (n, classes); if another shape or NaN, the file fails.
        labels: int64 (n,).
        class_names: one for each class.
    """

    before: NDArray[np.float32]
    after: NDArray[np.float32]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]

    @property
    def is_comparable(self) -> bool:
        """Whether the file's probabilities have the right shape and are finite."""
        return self.before.shape == self.after.shape and bool(np.isfinite(self.after).all())


@dataclass(frozen=True)
class _Run:
    """A file on an engine, and whether a manifest names the file's hash."""

    path: Path
    engine: str
    verified: bool


def compare(
    float_answers: FloatAnswers,
    session: Session,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    gate: Gate | None = None,
) -> ParityReport:
    """Run a file on images and judge its answers.

    Args:
        float_answers: the float model's probabilities (n, classes) for these images.
        session: the file to judge.
        images: uint8 (n, h, w, c).
        labels: int64 (n,).
        gate: the margins; the default margins if None.

    Raises:
        ValueError: the number of float answers is not that of the images, or they are not finite.
    """
    if not np.isfinite(float_answers.probabilities).all():
        raise ValueError("the float answers are not finite")
    if len(float_answers.probabilities) != len(labels):
        raise ValueError(f"{len(float_answers.probabilities)} rows of float answers for {len(labels)} images")
    return report(float_answers.probabilities, session.predict(images), session, labels, gate or Gate())


def report(
    before: NDArray[np.float32], after: NDArray[np.float32], session: Session, labels: NDArray[np.int64], gate: Gate
) -> ParityReport:
    """Judge the answers of a file.

    Args:
        before: the float model's probabilities, float32 (n, classes).
        after: the file's probabilities, float32 (n, classes); a file with another shape or NaN fails.
        session: the file on an engine. labels: int64 (n,). gate: the margins.
    """
    pair = PairedAnswers(before, after, labels, session.contract.class_names)
    run = _Run(session.path, session.engine, session.verified)
    if not pair.is_comparable:
        return _report(pair, run, decision_on(pair, gate, None, NO_NOISE), None)
    change, noise = probability_change(before, after, labels), label_noise(before, after, labels)
    judged = _report(pair, run, decision_on(pair, gate, change, noise), change)
    allowed = max(allowed_changes(gate, len(labels), noise.expected), 0)
    return replace(judged, allowed_changes=allowed, tied_changes=noise.tied)


def refused(
    before: NDArray[np.float32], path: Path, engine: str, labels: NDArray[np.int64], cause: str
) -> ParityReport:
    """The report on a file that an engine refuses: every answer is NaN.

    Args:
        before: the float model's probabilities, float32 (n, classes). path: of the file. engine: its name.
        labels: int64 (n,). cause: the engine's message.
    """
    pair = PairedAnswers(before, np.full_like(before, np.nan), labels, ())
    return _report(pair, _Run(path, engine, False), Decision("refused", f"Failed (refused): {cause}"), None)


def decision_on(pair: PairedAnswers, gate: Gate, change: ProbabilityChange | None, noise: LabelNoise) -> Decision:
    """The gate's decision on the answers of a file.

    Args:
        pair: the answers of the float model and of the file. gate: the margins.
        change: of the probabilities; None if they are not judged. noise: the explained changes of labels.
    """
    before, after, labels, n = pair.before, pair.after, pair.labels, len(pair.labels)
    if before.shape != after.shape:
        return Decision("shape", f"Failed (shape): its answers are {after.shape}, the float model's {before.shape}.")
    rows = int((~np.isfinite(after).all(axis=1)).sum())
    if rows:
        return Decision("nan", f"Failed (nan): {rows:,} of {n:,} answers are NaN or infinite.")
    old, new = answers(before), answers(after)
    broken, fixed = (old == labels) & (new != labels), (old != labels) & (new == labels)
    expected = noise.expected_broken or (0.0,) * len(pair.class_names)
    groups = [labels == label for label in range(len(pair.class_names))]
    classes = tuple(
        ClassCounts(name, int(group.sum()), int(broken[group].sum()), int(fixed[group].sum()), expected[label])
        for label, (name, group) in enumerate(zip(pair.class_names, groups, strict=True))
    )
    counts = AnswerCounts(n, int(broken.sum()), int(fixed.sum()), int((old == new).sum()), classes)
    return decide(gate, counts, change, noise)


def _report(pair: PairedAnswers, run: _Run, decision: Decision, change: ProbabilityChange | None) -> ParityReport:
    """The report with all statistics; without ``change``, those of the probabilities are None."""
    labels, n = pair.labels, len(pair.labels)
    old, new = answers(pair.before), answers(pair.after)
    flips = flips_between(old, new, labels)
    low, high = statistics.paired_difference(flips.broken, flips.fixed, n)
    return ParityReport(
        path=str(run.path),
        engine=run.engine,
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
        verified_hash=run.verified,
        changes=changes(pair.before, pair.after, labels, pair.class_names) if change is not None else None,
        brier=change.brier if change else None,
        reference_brier=change.reference_brier if change else None,
        brier_increase=change.increase if change else None,
        brier_increase_upper95=_finite(change.increase_ci90[1]) if change else None,
        probability_distance=change.distance if change else None,
        probability_distance_upper95=_finite(change.distance_ci90[1]) if change else None,
        images_needed=None if decision.images_needed == statistics.MANY_IMAGES else decision.images_needed,
    )


def _finite(value: float) -> float | None:
    """The value, or None for infinity and NaN, which JSON does not have."""
    return value if math.isfinite(value) else None


def flips_between(old: NDArray[np.int64], new: NDArray[np.int64], labels: NDArray[np.int64]) -> Flips:
    """Count the broken and the fixed answers; all arguments are classes, int64 (n,), and -1 for no answer."""
    return Flips(
        fixed=int(((old != labels) & (new == labels)).sum()), broken=int(((old == labels) & (new != labels)).sum())
    )


def float_export_report(
    path: str, before: NDArray[np.float32], after: NDArray[np.float32], labels: NDArray[np.int64]
) -> TwinReport:
    """Compare the answers of the float export with those of the quantized file.

    Args:
        path: of the float export, for the report.
        before: its probabilities, float32 (n, classes). after: those of the quantized file. labels: int64 (n,).
    """
    old, new = answers(before), answers(after)
    flips = flips_between(old, new, labels)
    drop_pp = 100 * (flips.broken - flips.fixed) / len(labels)
    return TwinReport(path=path, drop_pp=drop_pp, agreement=float((old == new).mean()), flips=flips)
