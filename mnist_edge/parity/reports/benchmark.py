"""The list of ``{name, unit, value}`` that github-action-benchmark reads (tool ``customSmallerIsBetter``)."""

from __future__ import annotations

import json
from pathlib import Path

from mnist_edge.parity.reports import Verdicts


def render(verdicts: Verdicts) -> str:
    """The drop and the share of changed answers of every file on every engine: smaller is better for both."""
    rows = []
    for report in verdicts.reports:
        name = f"{Path(report.path).name} on {report.engine}"
        rows.append({"name": f"{name}: drop", "unit": "pp", "value": report.drop_pp})
        rows.append({"name": f"{name}: changed answers", "unit": "%", "value": 100 * (1 - report.agreement)})
    return json.dumps(rows, indent=1, allow_nan=False) + "\n"
