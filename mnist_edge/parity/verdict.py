"""The verdict of one run of ``verify``: decided here, printed by the reports, the command line and the exit code.

A check is one file on one engine. Its outcome follows from the gate's report and from the baseline, if one is given.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from mnist_edge.errors import ContentError, MnistEdgeError, UsageError, printable
from mnist_edge.results import SCHEMA_VERSION, KernelReport, LayerError, ParityReport
from mnist_edge.serialize import from_json
from mnist_edge.storage import read_bytes


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


@dataclass(frozen=True)
class Baseline:
    """Reports of an earlier run, and by how many percentage points the accuracy may have fallen since."""

    reports: tuple[ParityReport, ...]
    max_regression_pp: float = 0.1

    @classmethod
    def load(cls, path: Path, max_regression_pp: float) -> Baseline:
        """The reports in the output of an earlier ``mnist-edge verify --json``.

        Raises:
            UsageError: no such file, or a margin that is not finite.
            ContentError: the file is no such output.
        """
        if not math.isfinite(max_regression_pp):
            raise UsageError(f"--max-regression-pp is {max_regression_pp}.", "Name a finite number.")
        try:
            value = json.loads(read_bytes(path))
            if value["schema_version"] != SCHEMA_VERSION or value["command"] != "verify":
                raise ValueError
            reports = tuple(from_json(ParityReport, item) for item in value["results"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ContentError(
                f"{path} is no stored verdict.", "Make one with: mnist-edge verify --json > baseline.json"
            ) from error
        return cls(reports, max_regression_pp)


def judge(reports: Sequence[ParityReport], baseline: Baseline | None = None) -> tuple[Check, ...]:
    """A check for every report, then one for every report of the baseline that was not verified now.

    Worse than the baseline is what passed there and does not now, what lost more accuracy than the baseline allows,
    and what was not verified now.
    """
    earlier = baseline.reports if baseline is not None else ()
    allowed_pp = baseline.max_regression_pp if baseline is not None else 0.0
    checks, found = [], []
    for report in reports:
        before = _counterpart(report, earlier)
        worse = None if before is None else _worse(report, before, allowed_pp)
        outcome = Outcome.FAILED if not report.passed else Outcome.PASSED if worse is None else Outcome.REGRESSION
        checks.append(Check(report.path, report.engine, outcome, report, before, worse))
        found.append(id(before))
    for before in earlier:
        if id(before) not in found:
            gone = Check(before.path, before.engine, Outcome.MISSING, None, before)
            checks.append(replace(gone, regression=f"{gone.name} is in the baseline and was not verified now."))
    return tuple(checks)


def _counterpart(report: ParityReport, baseline: Sequence[ParityReport]) -> ParityReport | None:
    """The baseline's report of the same file name and engine; of several, the one whose path ends most alike."""
    parts = Path(report.path).parts

    def common_end(item: ParityReport) -> int:
        pairs = zip(reversed(parts), reversed(Path(item.path).parts), strict=False)
        return len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))

    same = [
        item for item in baseline if item.engine == report.engine and Path(item.path).name == Path(report.path).name
    ]
    return max(same, key=common_end, default=None)


def _worse(report: ParityReport, before: ParityReport, max_regression_pp: float) -> str | None:
    name = f"{printable(Path(report.path).name)} on {report.engine}"
    fell = 100 * (before.accuracy - report.accuracy)
    if before.passed and not report.passed:
        return f"{name} passed in the baseline: {report.verdict}"
    if fell > max_regression_pp:
        return f"{name} fell by {fell:.2f} pp to {report.accuracy:.2%}; allowed are {max_regression_pp:g} pp."
    return None


def _figures(report: ParityReport | None) -> dict[str, Any] | None:
    if report is None:
        return None
    return {name: getattr(report, name) for name in ("passed", "accuracy", "drop_pp", "size_bytes", "image_us")}
