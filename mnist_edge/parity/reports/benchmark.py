"""The list of ``{name, unit, value}`` that github-action-benchmark reads (tool ``customSmallerIsBetter``)."""

from __future__ import annotations

import json
from pathlib import Path

from mnist_edge.parity.reports import Verdicts


def render(verdicts: Verdicts) -> str:
    """The drop, the share of changed answers and the changes of the probabilities: smaller is better for all."""
    rows = []
    for report in verdicts.reports:
        name = f"{Path(report.path).name} on {report.engine}"
        rows.append({"name": f"{name}: drop", "unit": "pp", "value": report.drop_pp})
        rows.append({"name": f"{name}: changed answers", "unit": "%", "value": 100 * (1 - report.agreement)})
        if report.brier_increase is not None and report.probability_distance is not None:
            rows.append({"name": f"{name}: Brier score", "unit": "rise", "value": report.brier_increase})
            rows.append({"name": f"{name}: distance", "unit": "%", "value": 100 * report.probability_distance})
    return json.dumps(rows, indent=1, allow_nan=False) + "\n"
