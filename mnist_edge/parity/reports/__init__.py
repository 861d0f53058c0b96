"""Verdicts for other eyes: one output format a module, each a function from results to text."""

from __future__ import annotations

from dataclasses import dataclass

from mnist_edge.results import KernelReport, LayerError, ParityReport


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
