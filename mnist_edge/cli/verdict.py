"""How a verdict looks, for ``export`` and ``verify`` alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_edge.cli.output import table
from mnist_edge.errors import GateError
from mnist_edge.results import ParityReport


def verdict_table(reports: Sequence[ParityReport]) -> Any:
    """A row a file and engine; ``+/-`` counts the answers that were fixed and broken. Fits 80 columns.

    ``acc`` and ``float`` are per cent, ``drop`` and its interval percentage points.
    """
    made = table("", "file", "engine", ">acc %", ">float", ">drop", ">95 % CI", ">+/-", "verdict")
    for item in reports:
        low, high = item.drop_ci95_pp
        made.add_row(
            Path(item.path).name,
            item.engine,
            f"{100 * item.accuracy:.2f}",
            f"{100 * item.reference_accuracy:.2f}",
            f"{item.drop_pp:+.2f}",
            f"{low:+.2f} {high:+.2f}",
            f"{item.flips.fixed}/{item.flips.broken}",
            "passed" if item.passed else f"FAILED {item.rule}",
        )
    return made


def verdict_lines(reports: Sequence[ParityReport]) -> list[str]:
    """A sentence a verdict that is no, or one for all of them."""
    failed = [f"{Path(item.path).name} on {item.engine}: {item.verdict}" for item in reports if not item.passed]
    if failed or not reports:
        return failed
    worst = max(reports, key=lambda item: item.drop_upper95_pp)
    return [f"{Path(worst.path).name} on {worst.engine} is the worst of {len(reports)}: {worst.verdict}"]


def gate_error(reports: Sequence[ParityReport]) -> GateError | None:
    """The error of a gate that did not pass; None where all did."""
    failed = [item for item in reports if not item.passed]
    if not failed:
        return None
    first = failed[0]
    return GateError(
        f"{len(failed)} of {len(reports)} checks did not pass; the first is {Path(first.path).name} on {first.engine}, "
        f"by the rule {first.rule}.",
        "Do not ship these files: look at their calibration and training, and see mnist-edge verify --json.",
    )
