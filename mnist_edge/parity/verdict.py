"""The outcome of each check of ``verify``, from the gate's report and the baseline, if there is one."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mnist_edge.errors import ContentError, UsageError, printable
from mnist_edge.results import SCHEMA_VERSION, ParityReport
from mnist_edge.results.serialization import from_json
from mnist_edge.results.verdicts import Check, Outcome
from mnist_edge.store.files import read_bytes


@dataclass(frozen=True)
class Baseline:
    """Reports of an earlier run.

    Attributes:
        reports: of the earlier run.
        max_regression_pp: largest loss of accuracy since then, in percentage points.
    """

    reports: tuple[ParityReport, ...]
    max_regression_pp: float = 0.1

    @classmethod
    def load(cls, path: Path, max_regression_pp: float) -> Baseline:
        """Read the output of an earlier ``mnist-edge verify --json``.

        Raises:
            UsageError: the file does not exist, or the margin is not finite.
            ContentError: the file is not the output of ``verify --json``.
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
                f"{path} is not a stored verdict.", "Make one with: mnist-edge verify --json > baseline.json"
            ) from error
        return cls(reports, max_regression_pp)


def judge(reports: Sequence[ParityReport], baseline: Baseline | None = None) -> tuple[Check, ...]:
    """Compare reports with a baseline.

    A file is worse than the baseline if it passed there and does not pass now, if it lost more accuracy than the
    baseline allows, or if it was not verified now.

    Returns:
        A check for each report, then one for each report of the baseline that has no counterpart now.
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
    """The baseline's report of the same file name and engine; if there are several, the one of the same folders.

    That is the one whose path has the longest common end with the path of the report.
    """
    parts = Path(report.path).parts

    def common_end(item: ParityReport) -> int:
        pairs = zip(reversed(parts), reversed(Path(item.path).parts), strict=False)
        return len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))

    same = [
        item for item in baseline if item.engine == report.engine and Path(item.path).name == Path(report.path).name
    ]
    return max(same, key=common_end, default=None)


def _worse(report: ParityReport, before: ParityReport, max_regression_pp: float) -> str | None:
    """A sentence that says how a report is worse than the earlier one; None if it is not."""
    name = f"{printable(Path(report.path).name)} on {report.engine}"
    fell = 100 * (before.accuracy - report.accuracy)
    if before.passed and not report.passed:
        return f"{name} passed in the baseline: {report.verdict}"
    if fell > max_regression_pp:
        return f"{name} fell by {fell:.2f} pp to {report.accuracy:.2%}; allowed are {max_regression_pp:g} pp."
    return None
