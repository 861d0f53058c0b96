"""What one run of ``verify`` found, as the reports, the command line and the exit code print it.

A check is one file on one engine. `mnist_edge.parity.verdict` decides its outcome.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from mnist_edge.errors import MnistEdgeError, printable
from mnist_edge.results.judged import KernelReport, LayerError, ParityReport


class Outcome(StrEnum):
    """Outcome of a check, or of the whole run."""

    PASSED = "passed"
    FAILED = "failed"  # the gate's answer is no
    REGRESSION = "regression"  # the gate passed it, and it is worse than in the baseline
    MISSING = "missing"  # it is in the baseline and was not verified now
    ERROR = "error"  # of a run: there is no verdict


@dataclass(frozen=True)
class Check:
    """One file on one engine: the report now and in the baseline, and the outcome of both.

    ``now`` is None if only the baseline has it, ``before`` if the baseline does not have it. ``regression`` says in a
    sentence what is worse than in the baseline; None if nothing is.
    """

    path: str
    engine: str
    outcome: Outcome
    now: ParityReport | None
    before: ParityReport | None = None
    regression: str | None = None

    @property
    def file(self) -> str:
        """The file's name, printable."""
        return printable(Path(self.path).name)

    @property
    def name(self) -> str:
        """File and engine in words."""
        return f"{self.file} on {self.engine}"

    @property
    def passed(self) -> bool:
        """Whether this check lets the run pass."""
        return self.outcome is Outcome.PASSED

    @property
    def rule(self) -> str:
        """The gate's rule if the gate decided, else the outcome."""
        return self.now.rule if self.now is not None and self.now.passed == self.passed else str(self.outcome)

    @property
    def reason(self) -> str:
        """Why the outcome is what it is, in a sentence."""
        if self.now is not None and self.now.passed == self.passed:
            return self.now.verdict
        return self.regression or ""


@dataclass(frozen=True)
class Verdicts:
    """All that a run of ``verify`` found.

    ``layers`` holds the errors of ops by file. ``notes`` are sentences about what could not be looked at. ``error`` is
    what ended the run before there was a verdict.
    """

    checks: tuple[Check, ...]
    kernels: tuple[KernelReport, ...] = ()
    layers: tuple[tuple[str, tuple[LayerError, ...]], ...] = ()
    notes: tuple[str, ...] = ()
    error: MnistEdgeError | None = None

    @property
    def outcome(self) -> Outcome:
        """The outcome of the run. A check that is missing makes it a regression."""
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
        """What is worse than in the baseline, a sentence each."""
        return [check.regression for check in self.checks if check.regression is not None]

    @property
    def has_baseline(self) -> bool:
        """Whether any check has a counterpart in the baseline."""
        return any(check.before is not None for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """The keys of ``verify --json`` that tell the verdict."""
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
    return {name: getattr(report, name) for name in ("passed", "accuracy", "drop_pp", "size_bytes", "image_us")}
