"""Outcomes of one run of ``verify``: the common input of the reports, the command line's output and the exit code.

A check is one file on one engine. `mnist_edge.parity.verdict` decides its outcome.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from mnist_edge.errors import MnistEdgeError, printable
from mnist_edge.results.parity import KernelReport, LayerError, ParityReport


class Outcome(StrEnum):
    """Outcome of a check, or of the whole run."""

    PASSED = "passed"
    FAILED = "failed"  # by the gate
    REGRESSION = "regression"  # passed by the gate, but worse than in the baseline
    MISSING = "missing"  # in the baseline, but not verified in this run
    ERROR = "error"  # of a run only: it ended without a verdict


@dataclass(frozen=True)
class Check:
    """One file on one engine: its report in this run and in the baseline, and the outcome.

    Attributes:
        path: the file.
        engine: the engine.
        outcome: of the gate and of the comparison with the baseline.
        now: the report of this run; None if only the baseline has the check.
        before: the report in the baseline; None if the baseline does not have the check.
        regression: what is worse than in the baseline, in a sentence; None if nothing is.
    """

    path: str
    engine: str
    outcome: Outcome
    now: ParityReport | None
    before: ParityReport | None = None
    regression: str | None = None

    @property
    def file(self) -> str:
        """The file's name, with unprintable characters escaped."""
        return printable(Path(self.path).name)

    @property
    def name(self) -> str:
        """Name of the check: file and engine."""
        return f"{self.file} on {self.engine}"

    @property
    def passed(self) -> bool:
        """Whether this check lets the run pass."""
        return self.outcome is Outcome.PASSED

    @property
    def rule(self) -> str:
        """The gate's rule if the gate decided the outcome, else the outcome."""
        return self.now.rule if self.now is not None and self.now.passed == self.passed else str(self.outcome)

    @property
    def reason(self) -> str:
        """The reason for the outcome, in a sentence; empty if there is none."""
        if self.now is not None and self.now.passed == self.passed:
            return self.now.verdict
        return self.regression or ""


@dataclass(frozen=True)
class Verdicts:
    """Everything that one run of ``verify`` found.

    Attributes:
        checks: one for each file and engine.
        kernels: comparisons of engines with each other.
        layers: for each file its path and the errors of its ops.
        notes: sentences about files or comparisons that were left out, and why.
        error: the error that ended the run before there was a verdict.
    """

    checks: tuple[Check, ...]
    kernels: tuple[KernelReport, ...] = ()
    layers: tuple[tuple[str, tuple[LayerError, ...]], ...] = ()
    notes: tuple[str, ...] = ()
    error: MnistEdgeError | None = None

    @property
    def outcome(self) -> Outcome:
        """The outcome of the run. A missing check makes it a regression."""
        if self.error is not None or not self.checks:
            return Outcome.ERROR
        outcomes = {check.outcome for check in self.checks}
        if Outcome.FAILED in outcomes:
            return Outcome.FAILED
        return Outcome.PASSED if outcomes == {Outcome.PASSED} else Outcome.REGRESSION

    @property
    def passed(self) -> bool:
        """Whether there is a verdict, and every check passed."""
        return self.outcome is Outcome.PASSED

    @property
    def reports(self) -> tuple[ParityReport, ...]:
        """The gate's reports of this run."""
        return tuple(check.now for check in self.checks if check.now is not None)

    @property
    def regressions(self) -> list[str]:
        """Everything that is worse than in the baseline, one sentence for each check."""
        return [check.regression for check in self.checks if check.regression is not None]

    @property
    def has_baseline(self) -> bool:
        """Whether any check has a counterpart in the baseline."""
        return any(check.before is not None for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """The part of ``verify --json`` that describes the verdict."""
        return {
            "passed": self.passed,
            "outcome": str(self.outcome),
            "checks": [
                {
                    "path": check.path, "engine": check.engine, "outcome": str(check.outcome), "rule": check.rule,
                    "reason": check.reason, "now": _figures(check.now), "before": _figures(check.before),
                }
                for check in self.checks
            ],
            "regressions": self.regressions,
        }  # fmt: skip


def _figures(report: ParityReport | None) -> dict[str, Any] | None:
    if report is None:
        return None
    return {
        "passed": report.passed,
        "accuracy": report.accuracy,
        "drop_pp": report.drop_pp,
        "size_bytes": report.size_bytes,
        "image_us": report.image_us,
    }
