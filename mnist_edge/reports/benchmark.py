"""The list of ``{name, unit, value}`` that github-action-benchmark reads (tool ``customSmallerIsBetter``)."""

from __future__ import annotations

import json
from typing import Any

from mnist_edge.results.verdicts import Verdicts


def render(verdicts: Verdicts) -> str:
    """What did not pass, the drop, the changed answers, the changes of the probabilities, the size: smaller is better.

    The first row counts the checks that did not pass and the error, if one ended the run: 0 is a pass. Times are left
    out: those of a CI machine differ from run to run, and every difference would raise an alert.
    """
    ended = int(verdicts.error is not None)
    rows = [_row("verify: not passed", "checks", sum(not check.passed for check in verdicts.checks) + ended)]
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
