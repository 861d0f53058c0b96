"""One file on one engine against the float model's answers, image by image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mnist_edge.formats.reference import Reference
from mnist_edge.parity import statistics
from mnist_edge.parity.gate import ClassCounts, Gate, decide
from mnist_edge.results import Flips, ParityReport, TwinReport
from mnist_edge.runtime import Session

NO_ANSWER = -1


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
        ValueError: the reference has another number of images.
    """
    return report(reference.probabilities, session.predict(images), session, labels, gate or Gate())


def report(
    before: NDArray[np.float32], after: NDArray[np.float32], session: Session, labels: NDArray[np.int64], gate: Gate
) -> ParityReport:
    """The verdict on answers that are there already: float32 (n, classes) before and after."""
    n = len(labels)
    if len(before) != n:
        raise ValueError(f"{len(before)} reference rows for {n} images")
    old, new = answers(before), answers(after)
    broken, fixed = (old == labels) & (new != labels), (old != labels) & (new == labels)
    agreeing = int((old == new).sum())
    flips = Flips(fixed=int(fixed.sum()), broken=int(broken.sum()))
    finite = bool(np.isfinite(after).all())
    if before.shape != after.shape:
        rule, verdict = "shape", f"Failed: it answers {after.shape[1]} classes, the reference {before.shape[1]}."
    elif not finite:
        rows = int((~np.isfinite(after).all(axis=1)).sum())
        rule, verdict = "nan", f"Failed: {rows:,} of {n:,} answers are NaN or infinite."
    else:
        names = session.contract.class_names
        classes = [
            ClassCounts(
                names[label], int((labels == label).sum()),
                int(broken[labels == label].sum()), int(fixed[labels == label].sum()),
            )
            for label in range(len(names))
        ]  # fmt: skip
        rule, verdict = decide(gate, n, flips.broken, flips.fixed, agreeing, classes)
    low, high = statistics.paired_difference(flips.broken, flips.fixed, n)
    comparable = finite and before.shape == after.shape
    return ParityReport(
        path=str(session.path),
        engine=session.engine,
        passed=rule == "non-inferior",
        rule=rule,
        verdict=verdict,
        n=n,
        accuracy=float((new == labels).mean()),
        reference_accuracy=float((old == labels).mean()),
        drop_pp=100 * (flips.broken - flips.fixed) / n,
        drop_ci95_pp=(100 * low, 100 * high),
        drop_upper95_pp=100 * statistics.upper_bound(flips.broken, flips.fixed, n),
        mcnemar_p=statistics.mcnemar_exact(flips.broken, flips.fixed),
        agreement=agreeing / n,
        flips=flips,
        max_abs_difference=float(np.abs(after - before).max()) if comparable else None,
        verified_hash=session.verified,
    )


def twin_report(path: str, twin: NDArray[np.float32], after: NDArray[np.float32], labels: NDArray[np.int64]) -> TwinReport:
    """What changed between a float twin's answers and the quantized file's."""
    old, new = answers(twin), answers(after)
    flips = Flips(
        fixed=int(((old != labels) & (new == labels)).sum()), broken=int(((old == labels) & (new != labels)).sum())
    )
    drop_pp = 100 * (flips.broken - flips.fixed) / len(labels)
    return TwinReport(path=path, drop_pp=drop_pp, agreement=float((old == new).mean()), flips=flips)


def answers(probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
    """The class of the largest probability, int64 (n,); -1, which no label is, where the row is not finite."""
    finite = np.isfinite(probabilities).all(axis=1)
    return np.where(finite, np.nan_to_num(probabilities).argmax(axis=1), NO_ANSWER)
