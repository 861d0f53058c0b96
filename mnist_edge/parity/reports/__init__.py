"""Verdicts for other eyes: one output format a module, each a function from results to text."""

from __future__ import annotations

from dataclasses import dataclass

from mnist_edge.results import KernelReport, LayerError, ParityReport


def brier_change(report: ParityReport) -> str:
    """The Brier score and its change, as a cell of a table; empty if there is nothing to compare."""
    if report.brier is None or report.brier_increase is None:
        return ""
    return f"{report.brier:.4f} ({report.brier_increase:+.4f})"


def distance(report: ParityReport) -> str:
    """The distance from the float model's probabilities, as a cell of a table."""
    return "" if report.probability_distance is None else f"{report.probability_distance:.2%}"


@dataclass(frozen=True)
class Verdicts:
    """All that a run of ``verify`` found; ``layers`` by file. ``notes`` say what could not be looked at."""

    reports: tuple[ParityReport, ...]
    kernels: tuple[KernelReport, ...] = ()
    layers: tuple[tuple[str, tuple[LayerError, ...]], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether there is a verdict, and every one is a pass."""
        return bool(self.reports) and all(report.passed for report in self.reports)
