"""Benchmark JSON for github-action-benchmark (tool ``customSmallerIsBetter``): a list of ``{name, unit, value}``."""

from __future__ import annotations

import json
from typing import Any

from mnist_edge.results.verdicts import Verdicts


def render(verdicts: Verdicts) -> str:
    """Render verdicts as values; smaller ones are better.

    The first row counts the failed checks, plus one if an error ended the run: 0 means that all passed. Each check
    is followed by the drop in accuracy, the share of changed answers, the changes of the probabilities, and the size.
    Times are left out, because they differ between runs of a CI machine and each difference would raise an alert.
    """
    has_error = int(verdicts.error is not None)
    rows = [_row("verify: not passed", "checks", sum(not check.passed for check in verdicts.checks) + has_error)]
    for check in verdicts.checks:
        rows.append(_row(f"{check.name}: not passed", "checks", int(not check.passed)))
        report = check.now
        if report is None:
            continue
        rows.append(_row(f"{check.name}: drop", "pp", report.drop_pp))
        rows.append(_row(f"{check.name}: changed answers", "%", 100 * (1 - report.agreement)))
        if report.brier_increase is not None and report.probability_distance is not None:
            rows.append(_row(f"{check.name}: Brier score", "rise", report.brier_increase))
            rows.append(_row(f"{check.name}: distance", "%", 100 * report.probability_distance))
        if report.size_bytes is not None:
            rows.append(_row(f"{check.name}: size", "bytes", report.size_bytes))
    return json.dumps(rows, indent=1, allow_nan=False) + "\n"


def _row(name: str, unit: str, value: float) -> dict[str, Any]:
    return {"name": name, "unit": unit, "value": value}
